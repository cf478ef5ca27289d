"""Text form of a turn's messages: what their kinds carry in themselves, and what was understood of their files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pipeline.turn import Modality, TurnMessage
from storage.understanding import Part, Problem

#: What stands before content that is no sentence, by language.
_LABELS = {
    "location": {"ru": "Местоположение", "en": "Location"},
    "contact": {"ru": "Контакт", "en": "Contact"},
    "photo": {"ru": "На фото", "en": "In the photo"},
    "video": {"ru": "В видео", "en": "In the video"},
    "document": {"ru": "Документ", "en": "Document"},
}
#: How ingress writes content that it has no words for: ``[story]``, ``[poll] Which one?``.
_NAMED = re.compile(r"\[[^\]\n]{1,60}\]\s*")
#: Characters of a document that stand for it where its customer wrote nothing.
_BEGINNING = 300
_MODALITIES: tuple[tuple[Modality, frozenset[str]], ...] = (
    ("image", frozenset({"photo"})),
    ("video", frozenset({"video"})),
    ("voice", frozenset({"voice", "audio"})),
    ("document", frozenset({"document"})),
)


def own_words(messages: Sequence[TurnMessage]) -> str:
    """What the customer wrote and said, one message a line; empty when there is nothing.

    Names of places and people are no words of theirs.
    """
    lines: list[str] = []
    for message in messages:
        lines += ["" if message.kind in ("location", "contact") else _written(message)]
        lines += [part.heard for part in message.parts]
    return _joined(lines)


def as_question(messages: Sequence[TurnMessage], language: str = "en") -> str:
    """The messages of a burst as one text, a line each; empty when nothing can be read in them.

    A caption counts as words, and so does speech. A leading bot command is dropped when words follow it
    (``/ask how ...``). A sticker says nothing. A document is named and begun where nothing was written about it.
    """
    lines: list[str] = []
    for message in messages:
        written = _written(message)
        if message.kind in ("location", "contact") and written:
            written = f"{_LABELS[message.kind][language]}: {written}"
        lines.append(written)
        for part in message.parts:
            lines.append(part.heard)
            if part.seen:
                lines.append(f"{_LABELS['video' if part.kind == 'video' else 'photo'][language]}: {part.seen}")
    question = _joined(lines)
    if question:
        return question
    begun = (_begun(part, language) for message in messages for part in message.parts if part.read)
    return _joined(begun)


def attached(messages: Sequence[TurnMessage]) -> str:
    """The text of the documents that came with the messages, each under its name."""
    parts = [part for message in messages for part in message.parts if part.read]
    return "\n\n".join(f"{part.name}\n{part.read}" if part.name else part.read for part in parts)


def modality_of(messages: Sequence[TurnMessage]) -> Modality:
    """What the messages came as."""
    kinds = {part.kind for message in messages for part in message.parts if not part.problem}
    return next((modality for modality, own in _MODALITIES if kinds & own), "text")


def problem_of(messages: Sequence[TurnMessage]) -> Problem | None:
    """Why one of the files could not be understood; None where all were."""
    return next((part.problem for message in messages for part in message.parts if part.problem), None)


def _written(message: TurnMessage) -> str:
    text = message.text.strip()
    if message.kind == "command":
        return text.partition(" ")[2].strip()
    if message.kind == "sticker":
        return ""
    return _NAMED.sub("", text, count=1).strip() if message.kind == "other" else text


def _begun(part: Part, language: str) -> str:
    beginning = " ".join(part.read[:_BEGINNING].split())
    return f"{_LABELS['document'][language]}: {part.name or ''} {beginning}"


def _joined(lines: Iterable[str]) -> str:
    return "\n".join(line.strip() for line in lines if line.strip())
