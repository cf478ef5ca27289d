"""What the hot path reads of a row: tuples by statements that are built once.

A turn takes thirty-four statements. Built anew, and loaded as objects with identity and change tracking, one of them
costs about three times as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Table, Update, and_, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from storage.models import Conversation, Label, Message, Outbox, RedFlag, StepRun, Turn

conversations: Table = Conversation.__table__  # type: ignore[attr-defined]
labels: Table = Label.__table__  # type: ignore[attr-defined]
messages: Table = Message.__table__  # type: ignore[attr-defined]
outbox_rows: Table = Outbox.__table__  # type: ignore[attr-defined]
red_flags: Table = RedFlag.__table__  # type: ignore[attr-defined]
step_runs: Table = StepRun.__table__  # type: ignore[attr-defined]
turns: Table = Turn.__table__  # type: ignore[attr-defined]


class ConversationRow(NamedTuple):
    """Whom a step or a sender works for. ``mode``: bot | human. ``offered``: what comes may be a choice."""

    id: str
    channel: str
    account: str
    key: str
    last_seq: int
    mode: str
    offered: bool
    locale: str | None
    address: dict[str, Any]


class MessageRow(NamedTuple):
    """A message of the turn at work. ``envelope`` is as it was accepted, ``text`` as it stands after edits,
    ``understood`` what its files say (:mod:`storage.understanding`), None while nobody has read them."""

    id: str
    seq: int
    text: str
    envelope: dict[str, Any]
    understood: list[dict[str, Any]] | None = None


class TurnRow(NamedTuple):
    """Where a turn stands. ``step`` None: its answer is written."""

    id: str
    conversation_id: str
    status: str
    step: str | None
    attempt: int
    crashes: int
    round: int


class OutboxRow(NamedTuple):
    """A part to be sent."""

    id: str
    turn_id: str
    conversation_id: str
    kind: str
    round: int
    part: int
    body: dict[str, Any]
    attempts: int
    resent: bool


def columns(table: Table, row: type[tuple[Any, ...]]) -> list[Any]:
    """The columns of ``table`` that ``row`` names, in its order."""
    return [table.c[name] for name in row._fields]  # type: ignore[attr-defined]


_CONVERSATION: Select[Any] = select(*columns(conversations, ConversationRow)).where(
    conversations.c.id == bindparam("id")
)
_LOCKED = _CONVERSATION.with_for_update()
_COUNT_ON: Update = (
    conversations.update()
    .where(conversations.c.id == bindparam("talk"))
    .values(last_seq=conversations.c.last_seq + 1)
    .returning(conversations.c.last_seq)
)
#: What a turn answers: a row a message, as often as there are results of the turn's steps, and with one of them.
ASKED: Select[Any] = (
    select(
        *columns(conversations, ConversationRow), *columns(messages, MessageRow), step_runs.c.step, step_runs.c.result
    )
    .join_from(messages, conversations, conversations.c.id == messages.c.conversation_id)
    .outerjoin(step_runs, and_(step_runs.c.turn_id == messages.c.turn_id, step_runs.c.outcome == "ok"))
    .order_by(messages.c.seq, step_runs.c.started_at)
)
_MESSAGES: Select[Any] = (
    select(*columns(messages, MessageRow)).where(messages.c.turn_id == bindparam("turn_id")).order_by(messages.c.seq)
)
_TURN: Select[Any] = select(*columns(turns, TurnRow)).where(turns.c.id == bindparam("id"))


def conversation(connection: Connection, conversation_id: str, *, lock: bool = False) -> ConversationRow | None:
    """A conversation. ``lock`` holds its row until the transaction ends: what orders everything in it."""
    found = connection.execute(_LOCKED if lock else _CONVERSATION, {"id": conversation_id}).first()
    return ConversationRow._make(found) if found else None


def next_number(connection: Connection, conversation_id: str) -> int:
    """The conversation's next ``seq``; holds its row as ``conversation(lock=True)`` does."""
    return int(connection.execute(_COUNT_ON, {"talk": conversation_id}).scalar_one())


class Asked(NamedTuple):
    """A turn's conversation, its messages in order of receipt (at least one), and the results of its steps so far."""

    conversation: ConversationRow
    messages: list[MessageRow]
    results: dict[str, dict[str, Any]]


def asked(found: Sequence[Sequence[Any]]) -> Asked:
    """The rows of :data:`ASKED` put together."""
    width, end = len(ConversationRow._fields), len(ConversationRow._fields) + len(MessageRow._fields)
    said = {message.seq: message for message in (MessageRow._make(row[width:end]) for row in found)}
    results = {step: dict(result) for *_, step, result in found if step}
    return Asked(ConversationRow._make(found[0][:width]), list(said.values()), results)


def messages_of(connection: Connection, turn_id: str) -> Sequence[MessageRow]:
    """A turn's messages in order of receipt."""
    return [MessageRow._make(row) for row in connection.execute(_MESSAGES, {"turn_id": turn_id})]


def turn(connection: Connection, turn_id: str) -> TurnRow | None:
    """A turn."""
    found = connection.execute(_TURN, {"id": turn_id}).first()
    return TurnRow._make(found) if found else None


def insert_ignoring(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> int:
    """``INSERT ... ON CONFLICT DO NOTHING`` on either database; how many rows were new."""
    if not rows:
        return 0
    dialect = connection.dialect.name
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    # Returned keys are counted: with them SQLAlchemy sends many rows in one statement.
    statement = insert.on_conflict_do_nothing().returning(*table.primary_key.columns)
    return len(connection.execute(statement, list(rows)).all())
