"""The form of a turn's live text in Redis: a capped stream a turn, which any listener can take up anywhere.

A turn's answer may be written several times (another model begins anew, a text is rejected); each time is a *draft*
with a growing number. Offsets count Unicode code points of the draft's text. SQL stays the truth: nothing here is
needed for the answer to arrive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: Entries a stream keeps at least; Redis cuts off whole blocks of them.
KEPT = 256
#: Each of this many entries holds the whole text, so that what was cut off is missed by nobody.
WHOLE_EVERY = 100
#: Seconds for which a listener counts as watching since it said so.
WATCHED = 60
_TURN = re.compile(r"[0-9a-f-]{36}")
_PLACE = re.compile(rf"-({_TURN.pattern})-(\d{{1,9}})-(\d{{1,9}})")
_LAST_ID = re.compile(r"(\d{1,10})(.*)")


def key(turn_id: str) -> str:
    """The name of a turn's stream."""
    return f"ragline:live:{turn_id}"


def watched_key(conversation_id: str) -> str:
    """What is set while somebody watches a conversation: without it no text is streamed from the model."""
    return f"ragline:watched:{conversation_id}"


def number(round_: int, attempt: int, text: int) -> int:
    """A draft's number: of the turn's ``round``, the step's ``attempt`` and the ``text`` of that attempt."""
    return (min(round_, 999) * 1000 + min(attempt, 999)) * 1000 + min(text, 999)


def entry(draft: int, offset: int, text: str, *, over: bool = False) -> dict[str, str | int]:
    """The fields of an entry: from ``offset`` on the draft reads ``text``. ``over``: nothing is added any more."""
    fields: dict[str, str | int] = {"draft": draft, "offset": offset, "text": text}
    return {**fields, "over": 1} if over else fields


@dataclass(frozen=True)
class Draft:
    """What a turn's stream says so far. ``number`` 0: nothing."""

    number: int = 0
    text: str = ""
    over: bool = False

    def after(self, entries: Iterable[Mapping[Any, Any]]) -> Draft:
        """The draft after further entries. Those of an earlier draft (its writer was taken for dead) and those
        behind a gap change nothing."""
        draft = self
        for fields in entries:
            draft = draft._after(_readable(fields))
        return draft

    def _after(self, fields: Mapping[str, str]) -> Draft:
        number, offset = int(fields["draft"]), int(fields["offset"])
        text = self.text if number == self.number else ""
        if number < self.number or offset > len(text):
            return self
        return Draft(number, text[:offset] + fields["text"], "over" in fields)


@dataclass(frozen=True)
class Place:
    """Where a listener stands: it has ``offset`` characters of a turn's draft."""

    turn: str
    number: int
    offset: int

    def __str__(self) -> str:
        return f"-{self.turn}-{self.number}-{self.offset}"


def parse_event_id(value: str) -> tuple[int, Place | None]:
    """The number of the last message a listener has seen, and its place in the draft after that.

    The id of a message's event is its number; that of a draft's event has the place behind it. What is no id is 0.
    """
    found = _LAST_ID.fullmatch(value) if value.isascii() else None
    if found is None:
        return 0, None
    place = _PLACE.fullmatch(found[2])
    if place is None:
        return (int(found[1]), None) if not found[2] else (0, None)
    return int(found[1]), Place(place[1], int(place[2]), int(place[3]))


def _readable(fields: Mapping[Any, Any]) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in fields.items()}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
