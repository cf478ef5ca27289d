"""Classify: the language to answer in, and what kind of request this is. No model needed.

Small talk and the wish for a person are recognised only where the whole message says nothing else: a
question that begins with "hello" is a question.
"""

from __future__ import annotations

import re
from typing import Literal

from pipeline.handlers.text import as_question
from pipeline.steps.clarify import Offers, choose
from pipeline.turn import Classification, Turn

SmallTalk = Literal["greeting", "thanks", "farewell"]
Request = Literal["question", "greeting", "thanks", "farewell", "human", "unreadable"]

_CYRILLIC = re.compile(r"[а-яёіїєґў]", re.IGNORECASE)
_LATIN = re.compile(r"[a-z]", re.IGNORECASE)
_NOT_WORDS = re.compile(r"[^\w\s'-]+|_+")
_CYRILLIC_LOCALES = ("ru", "uk", "be", "kk", "ky", "bg", "sr")

_GREETING = (
    r"(?:hi|hello|hey|hiya|good (?:morning|afternoon|evening|day)|greetings|привет(?:ик|ствую)?|здравствуй(?:те)?|"
    r"добр(?:ый|ое|ой) (?:день|утро|вечер|ночи)|доброго (?:дня|времени суток)|хай|салют|вітаю|добрий день|start)"
)
_THANKS = (
    r"(?:thanks?|thank you|thx|ty|cheers|many thanks|thanks a lot|thank you (?:so|very) much|great|perfect|ok(?:ay)?|"
    r"got it|спасибо|спс|благодарю|большое спасибо|спасибо большое|спасибо за помощь|отлично|супер|ясно|понятно|"
    r"понял|поняла|хорошо|ок|окей|дякую|класс)"
)
_FAREWELL = (
    r"(?:bye|goodbye|bye bye|see you|see ya|have a (?:nice|good|great) day|пока|до свидания|до встречи|"
    r"всего (?:доброго|хорошего)|хорошего дня|прощайте)"
)
_FILLER = r"(?:there|everyone|team|all|you|guys|вам|вас|всем|большое|огромное|again|ещё раз|еще раз|очень)"
_REST = rf"(?:\s+(?:{_FILLER}|{_GREETING}|{_THANKS}|{_FAREWELL}))*"
_SMALL_TALK: dict[SmallTalk, re.Pattern[str]] = {
    "farewell": re.compile(_FAREWELL + _REST),
    "thanks": re.compile(_THANKS + _REST),
    "greeting": re.compile(_GREETING + _REST),
}

_PERSON_EN = r"(?:human|person|operator|agent|representative|manager|someone|somebody|consultant|support)"
_PERSON_RU = r"(?:оператор\w*|человек\w*|менеджер\w*|специалист\w*|консультант\w*|сотрудник\w*|людьми|поддержк\w+)"
_CALLING_RU = r"(?:позов\w+|соедин\w+|переключ\w+|перевед\w+|свяжите|пригласи\w+|(?:поговор|пообща|связа)\w+ (?:с|со))"
_WISHING_RU = r"(?:дайте|нужен|нужна|хочу|можно|надо)(?: мне)?(?: с| со| к)?(?: живого| реального| вашего| любого)?"
_HUMAN = re.compile(
    rf"(?:(?:talk|speak|chat|connect|transfer|switch|put|pass|get|give)\b.{{0,30}}\b{_PERSON_EN}\b"
    rf"|\b(?:need|want)\s+(?:a\s+)?(?:real |live |actual )?(?:human|person|operator)\b"
    rf"|\b(?:real|live|actual)\s+(?:human|person|operator|agent)\b"
    rf"|\b{_CALLING_RU}(?: \w+){{0,2}} {_PERSON_RU}\b"
    rf"|\b{_WISHING_RU} {_PERSON_RU}\b"
    rf"|\bживо(?:й|го|му|м|ым)\s+(?:человек\w*|оператор\w*|сотрудник\w*|специалист\w*))"
)
#: Beyond this many words the message says more than "give me a person".
_HUMAN_WORDS = 14


def language_of(text: str, locale: str | None) -> Literal["ru", "en"]:
    """The language to answer in, by script; by the customer's locale where the text has no letters."""
    cyrillic, latin = len(_CYRILLIC.findall(text)), len(_LATIN.findall(text))
    if cyrillic == latin == 0:
        return "ru" if (locale or "").lower().startswith(_CYRILLIC_LOCALES) else "en"
    # Russian questions name foreign brands and codes; English ones hold no Cyrillic.
    return "ru" if cyrillic * 3 >= latin else "en"


def classify(turn: Turn, *, offers: Offers = lambda _: None) -> Classification:
    """Language, kind of request, and the messages as one question.

    ``offers`` finds what the customer was offered to choose from; a choice needs no search.
    """
    question = as_question(turn.messages)
    if choice := choose(turn, offers):
        spoken = language_of(choice.question or question, turn.locale)
        return Classification(language=spoken, request="choice", question=choice.question, choice=choice)
    language = language_of(question, turn.locale)
    return Classification(language=language, request=_request(turn, question), question=question)


def _request(turn: Turn, question: str) -> Literal["question", "greeting", "thanks", "farewell", "human", "unreadable"]:
    if not question:
        if all(message.kind == "command" for message in turn.messages):
            return "greeting"  # /start, /help
        return "thanks" if all(message.kind == "sticker" for message in turn.messages) else "unreadable"
    words = " ".join(_NOT_WORDS.sub(" ", question.lower()).split())
    for name, pattern in _SMALL_TALK.items():
        if pattern.fullmatch(words):
            return name
    if not any(character.isalnum() for character in question):
        return "thanks"  # an emoji or a lone bracket
    if len(words.split()) <= _HUMAN_WORDS and (
        _HUMAN.search(words) or re.fullmatch(rf"(?:{_PERSON_RU}|operator|human|agent)(?: пожалуйста| please)?", words)
    ):
        return "human"
    return "question"
