"""Turns: gathering the messages of a conversation into one, beginning a replay, and what a turn may look back on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, bindparam, exists, literal, select, true
from sqlmodel import Session, col
from sqlmodel import select as orm_select

from pipeline.envelope import Envelope
from ragline.ids import new_id
from storage import rows
from storage.load import LIMITED, OPENED
from storage.models import Message, Outbox, Turn
from storage.rows import ConversationRow, MessageRow, TurnRow, messages, outbox_rows, turns
from storage.states import move
from storage.steps import STEPS, add_parts, first_step
from storage.understanding import as_line

Role = Literal["customer", "assistant", "operator"]
#: Where a replay begins whose answer is written and was not sent.
SEND = "send"
#: The kind of a pressed button's message.
PRESS = "callback"


@dataclass(frozen=True)
class NotYet:
    """The burst may still go on; look again at ``due``."""

    due: datetime


class Opened(NamedTuple):
    """A turn to be worked on. ``recent``: how many were opened in its conversation in the limit's window, this one
    included; 0 for a replay, which no limit is for."""

    turn: TurnRow
    recent: int


_waits = (
    messages.c.conversation_id == bindparam("talk"),
    messages.c.turn_id.is_(None),
    messages.c.answerable.is_(True),
)
_asked = (turns.c.conversation_id == bindparam("talk"), turns.c.replay_from.is_not(None))
_active = select(turns.c.id).where(turns.c.conversation_id == bindparam("talk"), turns.c.status == "processing")
_replay = select(turns.c.id).where(*_asked).order_by(turns.c.created_at, turns.c.id).limit(1)
_waiting = (
    select(messages.c.id, messages.c.received_at, messages.c.seq, messages.c.kind)
    .where(*_waits)
    .order_by(messages.c.seq)
    .limit(bindparam("most"))
    .subquery()
)
#: The turn at work, the oldest one whose replay was asked for, how many were opened since a time, and the messages that
#: wait: a row each, and one row with neither id nor time where there is none.
_NEXT: Select[Any] = (
    select(
        _active.scalar_subquery(), _replay.scalar_subquery(), OPENED.scalar_subquery(), _waiting.c.id,
        _waiting.c.received_at, _waiting.c.kind,
    )
    .select_from(select(literal(1)).subquery().outerjoin(_waiting, true()))
    .order_by(_waiting.c.seq)
)  # fmt: skip
#: Whether messages of a conversation (``talk``) wait for a turn, or a turn for its replay.
SOMETHING_WAITS: ColumnElement[bool] = exists().where(*_waits) | exists().where(*_asked)
_HAS_WAITING: Select[Any] = select(SOMETHING_WAITS)
_REPLAYED: Select[Any] = select(turns.c.replay_from, turns.c.round, turns.c.status).where(
    turns.c.id == bindparam("turn_id")
)
_UNSENT: Select[Any] = select(outbox_rows.c.id).where(
    outbox_rows.c.turn_id == bindparam("of_turn"),
    outbox_rows.c.kind == "answer",
    outbox_rows.c.round == bindparam("of_round"),
    outbox_rows.c.status == "failed",
)
_GATHER = (
    messages.update()
    .where(messages.c.id.in_(bindparam("message_ids", expanding=True)))
    .values(turn_id=bindparam("of_turn"))
)


def open_turn(
    connection: Connection,
    conversation: ConversationRow,
    *,
    now: datetime,
    quiet: timedelta,
    longest_wait: timedelta,
    max_messages: int,
    patience: timedelta,
    window: timedelta,
) -> Opened | NotYet | None:
    """Gather the unanswered messages of a locked conversation into a turn, if their burst is over; replays come first.

    A press of a button is no part of a burst: presses make a turn of their own, at once, and so what was written
    before them. None: nothing waits, or a turn is active already; whoever closes that one looks again.
    """
    asked = {"talk": conversation.id, "since": now - window, "most": max_messages}
    found = connection.execute(_NEXT, asked).all()
    active, again, recent = found[0][:3]
    if active is not None:
        return None
    if again is not None:
        return Opened(_restart(connection, again, now=now, patience=patience), recent=0)
    arrived = [(message_id, received_at, kind) for *_, message_id, received_at, kind in found if message_id]
    if not arrived:
        return None
    pressed = arrived[0][2] == PRESS
    waiting = list(takewhile(lambda message: (message[2] == PRESS) == pressed, arrived))
    times = [received_at for _, received_at, _ in waiting]
    due = min(max(times) + quiet, min(times) + longest_wait)
    if due > now and not pressed and len(waiting) == len(arrived) < max_messages:
        return NotYet(due)
    first = first_step(kind for *_, kind in waiting)
    turn = TurnRow(new_id(), conversation.id, "processing", first, attempt=0, crashes=0, round=0)
    connection.execute(turns.insert(), {**turn._asdict(), "due_at": now + patience, "created_at": now})
    connection.execute(_GATHER, {"of_turn": turn.id, "message_ids": [message_id for message_id, *_ in waiting]})
    return Opened(turn, recent + 1)


def _restart(connection: Connection, turn_id: str, *, now: datetime, patience: timedelta) -> TurnRow:
    """Begin the replay that was asked for. The turn comes back with the step to do; None: its answer is to be sent."""
    turn = connection.execute(_REPLAYED, {"turn_id": turn_id}).one()
    start, parts = turn.replay_from, []
    if start == SEND:
        parts = list(connection.execute(_UNSENT, {"of_turn": turn_id, "of_round": turn.round}).scalars())
        start = SEND if parts else STEPS[-1]
    values: dict[str, Any] = {
        "replay_from": None, "lease": None, "attempt": 0, "crashes": 0, "due_at": now + patience,
        "closed_at": None, "error": None, "error_class": None, "step": None if start == SEND else start,
    }  # fmt: skip
    if start == SEND:
        for row_id in parts:
            move(connection, Outbox, row_id, "failed", "pending", due_at=now, attempts=0)
    else:
        values["round"] = turn.round + 1
    move(connection, Turn, turn_id, turn.status, "processing", **values)
    restarted = rows.turn(connection, turn_id)
    assert restarted is not None
    return restarted


def limit(connection: Connection, turn: TurnRow, *, why: str, now: datetime, notice: list[dict[str, Any]]) -> TurnRow:
    """Close a turn that has just been opened, unanswered; its messages stay with it and a replay answers them."""
    move(connection, Turn, turn.id, "processing", "failed", closed_at=now, error=why, error_class=LIMITED)
    add_parts(connection, turn, "notice", notice, now)
    return turn._replace(status="failed")


def history(
    session: Session, conversation_id: str, *, before_seq: int, after_seq: int = 0, limit: int = 60
) -> list[tuple[int, Role, str]]:
    """The newest lines between both, oldest first: (seq, "customer" | "assistant" | "operator", text)."""
    said = session.exec(
        orm_select(Message.seq, Message.kind, Message.text, Message.understood)
        .where(
            Message.conversation_id == conversation_id,
            Message.seq > after_seq,
            Message.seq < before_seq,
            col(Message.kind).not_in(("edit", "event")),
            (col(Message.text) != "") | col(Message.understood).is_not(None),
        )
        .order_by(col(Message.seq).desc())
        .limit(limit)
    ).all()
    sent = session.exec(
        orm_select(Outbox.seq, Outbox.kind, Outbox.body)
        .where(Outbox.conversation_id == conversation_id, col(Outbox.seq) > after_seq, col(Outbox.seq) < before_seq)
        .order_by(col(Outbox.seq).desc())
        .limit(limit)
    ).all()
    lines: list[tuple[int, Role, str]] = [
        (seq, "operator" if kind == "outgoing" else "customer", line)
        for seq, kind, text, understood in said
        if (line := as_line(text, understood))
    ]
    lines += [
        (seq or 0, "operator" if kind == "operator" else "assistant", str(body.get("text", "")))
        for seq, kind, body in sent
    ]
    return sorted(lines)[-limit:]


def has_waiting(connection: Connection, conversation_id: str) -> bool:
    """Whether messages of the conversation wait for a turn, or a turn for its replay."""
    return bool(connection.execute(_HAS_WAITING, {"talk": conversation_id}).scalar())


def envelope_of(message: MessageRow) -> Envelope:
    """The envelope as it was accepted, with the text as it stands after edits."""
    return Envelope.model_validate({**message.envelope, "text": message.text})
