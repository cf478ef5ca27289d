"""Classify: the language to answer in, and what kind of request this is. No model needed.

Small talk and the wish for a person are recognised only where the whole message says nothing else: a
question that begins with "hello" is a question.
"""

from __future__ import annotations

import re
from typing import Literal

from pipeline.handlers.text import as_question
from pipeline.steps.clarify import Offers, choose
from pipeline.steps.requests import request_of
from pipeline.turn import Classification, Modality, Turn

_MODALITIES: dict[str, Modality] = {
    "voice": "voice", "audio": "voice", "video": "video", "document": "document", "photo": "image",
}  # fmt: skip
_CYRILLIC = re.compile(r"[а-яёіїєґў]", re.IGNORECASE)
_LATIN = re.compile(r"[a-z]", re.IGNORECASE)
_CYRILLIC_LOCALES = ("ru", "uk", "be", "kk", "ky", "bg", "sr")


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
    question, modality = as_question(turn.messages), _modality(turn)
    if choice := choose(turn, offers):
        spoken = language_of(choice.question or question, turn.locale)
        return Classification(language=spoken, request="choice", question=choice.question, choice=choice)
    language = language_of(question, turn.locale)
    request = _request(turn, question)
    return Classification(language=language, request=request, question=question, modality=modality)


def _modality(turn: Turn) -> Modality:
    """What the messages came as."""
    sent = {_MODALITIES.get(message.kind, "text") for message in turn.messages}
    order: tuple[Modality, ...] = ("image", "video", "voice", "document")
    return next((one for one in order if one in sent), "text")


def _request(turn: Turn, question: str) -> Literal["question", "greeting", "thanks", "farewell", "human", "unreadable"]:
    if not question:
        if all(message.kind == "command" for message in turn.messages):
            return "greeting"  # /start, /help
        return "thanks" if all(message.kind == "sticker" for message in turn.messages) else "unreadable"
    if not any(character.isalnum() for character in question):
        return "thanks"  # an emoji or a lone bracket
    return request_of(question)
