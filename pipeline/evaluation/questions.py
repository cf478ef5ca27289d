"""Files of labelled questions: a question a row, JSONL.

``text`` (blank: a message without words), ``gold`` (ids of the items that answer it; empty: the base has no answer),
``split``, ``kind`` (``in``, or a kind of question outside the base, such as ``near_oos``; ``multi``, ``smalltalk`` and
``human_request`` have a meaning of their own). Any other field with text, a number or true/false is a label.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ragline.errors import ConfigurationError, RaglineError

#: Kinds without an item of their own that are nevertheless no questions outside the base.
ROUTED = ("smalltalk", "human_request")
_KNOWN = {"text", "gold", "split", "kind"}
#: Problems named in an error.
_SHOWN = 5
Row = TypeVar("Row")


class BadQuestion(RaglineError):
    """A row that is no labelled question; the text says why."""


@dataclass(frozen=True)
class Question:
    """A labelled question. ``row`` is its line in the file, from 1."""

    row: int
    text: str
    gold: frozenset[str]
    kind: str
    split: str | None = None
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def outside(self) -> bool:
        """The base has no answer, and small talk or a person is not asked for."""
        return not self.gold and self.kind not in ROUTED


@dataclass(frozen=True)
class Burst:
    """Messages one customer wrote in a row that make one question. ``row`` is its line in the file, from 1."""

    row: int
    messages: tuple[str, ...]
    gold: frozenset[str]


def read_questions(path: Path, split: str | None = None) -> list[Question]:
    """The labelled questions of a file, those of ``split`` where one is named; at least one.

    Raises :class:`ConfigurationError`, naming the rows that are wrong.
    """
    questions = _read(path, _question)
    chosen = [question for question in questions if split is None or question.split == split]
    if not chosen:
        splits = sorted({question.split for question in questions if question.split})
        raise ConfigurationError(f"{path}: has no rows of split {split!r}; it has {', '.join(splits) or 'no splits'}")
    return chosen


def read_bursts(path: Path) -> list[Burst]:
    """The bursts of a file: ``messages`` (texts, or objects with a ``text``) and ``gold``; at least one.

    Raises :class:`ConfigurationError`, naming the rows that are wrong.
    """
    return _read(path, _burst)


def read_texts(path: Path) -> list[str]:
    """Questions without labels: ``text`` of each row of a JSONL file, or each line of another; at least one.

    Raises :class:`ConfigurationError`, naming the rows that are wrong.
    """
    if path.suffix.lower() == ".jsonl":
        found = [text for text in _read(path, lambda number, row: _text(row.get("text"), "text")) if text.strip()]
    else:
        found = [line.strip() for line in _lines(path) if line.strip()]
    if not found:
        raise ConfigurationError(f"{path}: holds no questions")
    return list(dict.fromkeys(found))


def check_gold(path: Path, rows: Sequence[Question] | Sequence[Burst], known: Collection[str]) -> None:
    """Raise :class:`ConfigurationError` when a label names an item that the base does not hold."""
    wrong = [(row.row, sorted(row.gold - set(known))) for row in rows if not row.gold <= set(known)]
    _refuse(path, [f"row {number}: gold names {', '.join(ids)}, which the base does not hold" for number, ids in wrong])


def _read(path: Path, parse: Callable[[int, dict[str, Any]], Row]) -> list[Row]:
    found: list[Row] = []
    problems: list[str] = []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            found.append(parse(number, _object(line)))
        except BadQuestion as error:
            problems.append(f"row {number}: {error}")
    _refuse(path, problems)
    if not found:
        raise ConfigurationError(f"{path}: holds no rows")
    return found


def _refuse(path: Path, problems: Sequence[str]) -> None:
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise ConfigurationError(f"{path}: " + "; ".join(problems[:_SHOWN]) + more)


def _lines(path: Path) -> Iterator[str]:
    try:
        return iter(path.read_text(encoding="utf-8-sig").split("\n"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8 text; save it as UTF-8") from error


def _object(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadQuestion(f"is not JSON ({error})") from error
    if not isinstance(row, dict):
        raise BadQuestion("is not a JSON object")
    return row


def _question(number: int, row: dict[str, Any]) -> Question:
    gold = _gold(row)
    kind, split = row.get("kind", "in" if gold else "oos"), row.get("split")
    if not isinstance(kind, str) or not kind or not isinstance(split, str | None):
        raise BadQuestion("has a kind or a split that is not text")
    if kind in ("in", "multi") and not gold:
        raise BadQuestion(f"is of kind {kind} and its gold is empty")
    if kind in ROUTED and gold:
        raise BadQuestion(f"is of kind {kind} and its gold is not empty")
    labels = {name: str(value) for name, value in row.items() if name not in _KNOWN and isinstance(value, str | int)}
    return Question(number, _text(row.get("text"), "text"), gold, kind, split, labels)


def _burst(number: int, row: dict[str, Any]) -> Burst:
    messages, gold = row.get("messages"), _gold(row)
    if not isinstance(messages, list) or not messages:
        raise BadQuestion("has no list of messages")
    texts = [message.get("text") if isinstance(message, dict) else message for message in messages]
    if not gold:
        raise BadQuestion("has an empty gold")
    return Burst(number, tuple(_text(text, "message") for text in texts), gold)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise BadQuestion(f"has no {name}")
    return value


def _gold(row: dict[str, Any]) -> frozenset[str]:
    gold = row.get("gold")
    if not isinstance(gold, list) or any(isinstance(one, bool) or not isinstance(one, str | int) for one in gold):
        raise BadQuestion("has no gold: a list of item ids, empty where the base has no answer")
    return frozenset(str(one) for one in gold)
