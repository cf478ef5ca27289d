"""What kind of request a message is by its words: small talk, the wish for a person, or a question.

A text is read as it was typed, as typed on the other keyboard layout, and as Russian in Latin letters; each reading
also with its misspelt words as they sound.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from pipeline.steps.small_talk import small_talk
from pipeline.steps.wishes import asks_for_person, calls_by_name
from storage.slips import in_russian_letters, on_the_other_layout
from storage.words import normalise, stem

Request = Literal["question", "greeting", "thanks", "farewell", "human"]

_CYRILLIC = re.compile(r"[а-яёіїєґў]", re.IGNORECASE)
_SENTENCE = re.compile(r"[.!?…\n]+")
_STRETCHED = re.compile(r"(\w)\1{2,}")
#: One word said twice with a hyphen: "пока-пока".
_TWICE = re.compile(r"(?<![\w-])(\w+)-\1(?![\w-])")
#: Words of courtesy with more ways to misspell them than a slip.
_MISSPELT = (
    (re.compile(r"пр[еиы]в[еэи]т\w{0,4}"), "привет"),
    (re.compile(r"з[дт]р[ао][вс]\w{2,5}т[еи]"), "здравствуйте"),
    (re.compile(r"с?п[ао]с[иеы]б\w{0,4}"), "спасибо"),
    (re.compile(r"бл[ао]г[оа]д[ао]р\w{1,7}"), "благодарю"),
    (re.compile(r"бол?шо[ей]"), "большое"),
    (re.compile(r"свидан[ьи]я"), "свидания"),
)
#: Whom one calls: understood with a slip of the fingers.
_CALLED = """
    оператор менеджер консультант специалист сотрудник человек руководитель начальник директор здравствуйте спасибо
    пожалуйста operator agent human manager person representative support customer service talk
"""
#: How one calls: understood as it sounds. One letter more or less is another form of the verb, or a noun.
_CALLING = "соедините переключите позовите переведите свяжите подключите нужен нужна хочу говорить разговаривать"
#: How unstressed vowels and soft signs are heard, and misspelt.
_HEARD = str.maketrans("оеэыяю", "аиииау", "ъь")
_DOUBLED = re.compile(r"(\w)\1+")
#: Shorter words are too near to each other for a slip to be told from another word.
_LEAST_LETTERS = 6
#: Beyond this many words a message has something to ask.
_MOST_WORDS = 40


def request_of(text: str) -> Request:
    """What kind of request a text is; ``question`` unless it is plainly something else."""
    readings = [text, on_the_other_layout(text)]
    if not _CYRILLIC.search(text):
        readings.append(in_russian_letters(text))
    for read in readings:
        words = _TWICE.sub(r"\1", _STRETCHED.sub(r"\1", normalise(read.replace("’", "'"))))
        meant = [_meant(word) for word in words.split()[: _MOST_WORDS + 1]]
        if not 0 < len(meant) <= _MOST_WORDS:
            continue
        if kind := small_talk(meant):
            return kind
        last = normalise(_SENTENCE.split(read.strip(" .!\n"))[-1])
        if calls_by_name(words, last) or asks_for_person(words) or asks_for_person(" ".join(meant)):
            return "human"
    return "question"


@lru_cache(maxsize=50_000)
def _meant(word: str) -> str:
    """The word of courtesy or of calling that a misspelt one stands for; any other word as it is."""
    if courtesy := next((meant for pattern, meant in _MISSPELT if pattern.fullmatch(word)), None):
        return courtesy
    if stem(word) in _ROOTS or not word[0].isalpha():
        return word
    return next((_BY_SOUND[shape] for form in _forms(word) for shape in _shapes(form) if shape in _BY_SOUND), word)


def _forms(word: str) -> tuple[str, ...]:
    """The word, and its stem where the language inflects it."""
    return (word, stem(word)) if _CYRILLIC.match(word) else (word,)


def _sound(form: str) -> str:
    return _DOUBLED.sub(r"\1", form.translate(_HEARD))


def _shapes(form: str) -> list[str]:
    """How a word sounds; that with each one of its letters lost, or of a short word with its letters in any order."""
    sound = _sound(form)
    if len(sound) < _LEAST_LETTERS:
        return [sound, "any order: " + "".join(sorted(sound))]
    return [sound, *(sound[:i] + sound[i + 1 :] for i in range(len(sound)))]


_ROOTS = {stem(word) for word in f"{_CALLED} {_CALLING}".split()}
_BY_SOUND = {_sound(form): word for word in _CALLING.split() for form in _forms(word)} | {
    shape: word for word in reversed(_CALLED.split()) for form in _forms(word) for shape in _shapes(form)
}
