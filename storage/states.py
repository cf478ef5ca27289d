"""The states of a turn and of an outbox row, and every transition there is.

Each is taken by compare-and-set (:func:`move`): an UPDATE that names the state it starts from. The diagram in
docs/delivery.md is :func:`diagram`; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, CursorResult
from sqlalchemy import update as sql_update
from sqlmodel import Session, SQLModel, col

from storage.models import Turn

#: State -> state it may go to -> what makes it. The first state is where a row begins.
Transitions = Mapping[str, Mapping[str, str]]

TURN: Transitions = {
    "processing": {
        "processing": "a step is claimed, done, or tried again",
        "answered": "the last part is sent",
        "failed": "a step or a part failed for good",
        "undeliverable": "the channel cannot reach this customer",
        "suggested": "a person has the conversation",
    },
    "answered": {"processing": "replay --force"},
    "failed": {"processing": "replay"},
    "undeliverable": {"processing": "replay"},
    "suggested": {"processing": "replay --force"},
}
OUTBOX: Transitions = {
    "pending": {
        "sending": "claimed by one sender",
        "sent": "a sender taken for dead is heard after all",
        "failed": "an earlier part failed, or a person took over",
    },
    "sending": {
        "sent": "the channel took it",
        "pending": "certainly not sent, flood wait, or ambiguous and resent once",
        "failed": "refused for good",
        "ambiguous": "nobody can say whether it arrived",
    },
    "sent": {},
    "failed": {"pending": "replay"},
    "ambiguous": {"failed": "replay --ambiguous"},
}


class NoSuchTransition(AssertionError):
    """A fault of ours: the table above does not know this change of state."""


def move(session: Session, row: type[SQLModel], row_id: str, start: str, end: str, *also: Any, **values: Any) -> bool:
    """Take one row from ``start`` to ``end`` with ``values``; ``also`` are further conditions.

    False when it is in another state by now, or a condition does not hold: somebody else was first.
    """
    table: Any = row
    if end not in (TURN if row is Turn else OUTBOX)[start]:
        raise NoSuchTransition(f"{row.__name__}: {start} -> {end}")
    conditions: list[ColumnElement[bool]] = [col(table.id) == row_id, col(table.status) == start, *also]
    moved = session.exec(
        sql_update(row).where(*conditions).values(status=end, **values).execution_options(synchronize_session=False)
    )
    assert isinstance(moved, CursorResult)
    return moved.rowcount == 1


def diagram(transitions: Transitions) -> str:
    """The transitions as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {next(iter(transitions))}"]
    lines += [f"    {start} --> {end}: {why}" for start, ends in transitions.items() for end, why in ends.items()]
    return "\n".join(lines)
