"""Words that say nothing of what a sentence is about: function words and courtesies, Russian and English, as stems."""

from __future__ import annotations

from collections import Counter

from storage.words import normalise, stem

_ENGLISH = """
    a about above after again all also although am an and any are as at be because been before being below between
    both but by can could did do does doing don't during each either else ever every few for from further get gets
    got had has have having he her here hers him his how however i if in into is isn't it it's its just least less
    let like made make makes many may me might more most much must my no nor not now of off on once one only or
    other our ours out over own per same shall she should since so some such than that that's the their them then
    there these they this those though through to too under until unless up us very via was we well were what when
    where which while who whom whose why will with within without would yes yet you you're you'd you'll your yours
"""
_RUSSIAN = """
    а без более бы был была были было быть в вам вами вас весь во вот все всего всей всех всю вы где да даже для до
    его ее если есть еще ж же за здесь и из или им их к как какая какие какой каких когда кто ли либо между меня мне
    много может можете могут можно мой мочь моя мы на над надо нам нами нас наш наша наше наши нашего нашей нашему
    наших не него нее нельзя нет ни них но ну нужно о об один одна одно однако около он она они оно от очень перед
    по под пока после потом поэтому при про раз с сам сама сами самый свой своя свое свои своего своей своих себе
    себя сейчас со так также такая такие такой там то тогда того тоже той только том тот ту тут ты у уже хотя чего
    чей чем через что чтобы чье эта эти это этого этой этом этот эту я является являются ваш ваша ваше ваши вашего
    вашей вашему ваших вашу всегда лишь будет будут будете будем
"""
_COURTESY = """
    hello hi dear good day morning evening afternoon please thank thanks sorry hear happy glad pleased help helps
    anything question questions know welcome nice course sure certainly simply feel free contact reach problem thing
    way need want ask assist further здравствуйте добрый день вечер утро пожалуйста спасибо извините конечно рады
    рад рада помочь поможем помощь вопрос вопросы вопросов останутся возникнут появятся пишите напишите обращайтесь
    обратитесь сообщите всегда видеть приходите ждем хорошего подскажите уточните просто нужен нужна хотите
"""
EMPTY = frozenset(
    stem(word) for words in (_ENGLISH, _RUSSIAN, _COURTESY) for word in normalise(words.replace("\n", " ")).split()
)
_FUNCTION_WORDS = frozenset(normalise(_ENGLISH).split())
#: From this share of function words on a text in Latin letters is English; below it, from so many words on, it is not.
_ENGLISH_SHARE, _ENOUGH = 0.15, 5
#: Letters that tell a Cyrillic language from Russian.
_OWN_LETTERS = {"uk": "іїєґ", "be": "ў", "kk": "әғқңөұүһ", "sr": "јљњћђџѓќ"}
#: Bulgarian writes its commonest vowel with a letter that Russian hardly uses.
_BULGARIAN, _BULGARIAN_SHARE = "ъ", 0.012


def script(text: str) -> str | None:
    """The script most words begin in: latin, cyrillic, or the name of a block of Unicode. None without a word."""
    found = Counter(_script(word[0]) for word in normalise(text).split() if word[0].isalpha())
    return found.most_common(1)[0][0] if found else None


def language(text: str) -> str | None:
    """The language of a text, as far as letters and function words tell it: a code, or a script that is not English's.

    None for a text too short to tell.
    """
    written = script(text)
    lowered = text.lower()
    if written == "cyrillic":
        for code, letters in _OWN_LETTERS.items():
            if any(letter in lowered for letter in letters):
                return code
        return "bg" if lowered.count(_BULGARIAN) > _BULGARIAN_SHARE * len(lowered) else "ru"
    if written != "latin":
        return written
    words = normalise(text).split()
    if sum(word in _FUNCTION_WORDS for word in words) >= _ENGLISH_SHARE * len(words):
        return "en"
    return "latin" if len(words) >= _ENOUGH else None


def _script(letter: str) -> str:
    if "a" <= letter <= "z" or "\u00c0" <= letter <= "\u024f":
        return "latin"
    if "\u0400" <= letter <= "\u052f":
        return "cyrillic"
    return f"u{ord(letter) >> 8:02x}"
