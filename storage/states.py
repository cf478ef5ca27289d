"""The states of a turn and of an outbox row, and every transition there is.

Each is taken by compare-and-set (:func:`move`): an UPDATE that names the state it starts from. The diagram in
docs/delivery.md is :func:`diagram`; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, Connection, Insert, Table, Update, bindparam, select
from sqlmodel import SQLModel

from storage.models import Turn

#: State -> state it may go to -> what makes it. The first state is where a row begins.
Transitions = Mapping[str, Mapping[str, str]]

TURN: Transitions = {
    "processing": {
        "processing": "a step is claimed, done, or tried again",
        "answered": "the last part is sent, or there is nothing new to say",
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


def move(
    connection: Connection,
    row: type[SQLModel],
    row_id: str,
    start: str,
    end: str,
    *,
    where: Mapping[str, Any] | None = None,
    **values: Any,
) -> bool:
    """Take one row from ``start`` to ``end`` with ``values``; ``where`` are columns it must have besides.

    False when it is in another state by now, or a column differs: somebody else was first.
    """
    given = _given(row, row_id, start, end, where or {}, values)
    moved = connection.execute(_statement(row, tuple(where or {}), tuple(values)), given)
    return moved.rowcount == 1


def move_and_insert(
    connection: Connection,
    row: type[SQLModel],
    row_id: str,
    start: str,
    end: str,
    table: Table,
    new: Mapping[str, Any],
    *,
    where: Mapping[str, Any] | None = None,
    **values: Any,
) -> bool:
    """:func:`move`, and ``new`` into ``table`` if that was done. On PostgreSQL both are one statement."""
    if connection.dialect.name != "postgresql":
        moved = move(connection, row, row_id, start, end, where=where, **values)
        if moved:
            connection.execute(table.insert(), new)
        return moved
    given = _given(row, row_id, start, end, where or {}, values)
    statement = _statement_inserting(row, tuple(where or {}), tuple(values), table, tuple(new))
    inserted = connection.execute(statement, given | {f"new_{name}": value for name, value in new.items()})
    return inserted.rowcount == 1


def _given(
    row: type[SQLModel], row_id: str, start: str, end: str, where: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, Any]:
    if end not in (TURN if row is Turn else OUTBOX)[start]:
        raise NoSuchTransition(f"{row.__name__}: {start} -> {end}")
    known = {"row_id": row_id, "start": start, "end": end}
    return known | {f"if_{name}": value for name, value in where.items()} | {f"to_{k}": v for k, v in values.items()}


@lru_cache(maxsize=256)
def _statement(row: type[SQLModel], where: tuple[str, ...], values: tuple[str, ...]) -> Update:
    # Built once each: building costs more than executing, and a turn moves a dozen times.
    table: Table = row.__table__  # type: ignore[attr-defined]
    conditions = [table.c.id == bindparam("row_id"), table.c.status == bindparam("start")]
    conditions += [table.c[name] == bindparam(f"if_{name}") for name in where]
    changes: dict[str, Any] = {"status": bindparam("end"), **{name: bindparam(f"to_{name}") for name in values}}
    return table.update().where(*conditions).values(changes)


@lru_cache(maxsize=64)
def _statement_inserting(
    row: type[SQLModel], where: tuple[str, ...], values: tuple[str, ...], table: Table, names: tuple[str, ...]
) -> Insert:
    key: Column[Any] = row.__table__.c.id  # type: ignore[attr-defined]
    moved = _statement(row, where, values).returning(key).cte("moved")
    new = select(*(bindparam(f"new_{name}", type_=table.c[name].type) for name in names)).select_from(moved)
    return table.insert().from_select(list(names), new).execution_options(preserve_rowcount=True)


def diagram(transitions: Transitions) -> str:
    """The transitions as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {next(iter(transitions))}"]
    lines += [f"    {start} --> {end}: {why}" for start, ends in transitions.items() for end, why in ends.items()]
    return "\n".join(lines)
