"""The outbox: what is to be sent, claimed by one sender at a time, and what became of it.

The states are in :mod:`storage.states`. A row whose sender died in
``sending`` is ambiguous, and so is a connection broken after the request was written: it is sent again once
where the account says ``resend``, and kept for a person where it says ``hold``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, Update, bindparam, func, or_
from sqlalchemy import select as core_select
from sqlmodel import Session, col, select

from ragline.errors import safe_text
from storage import flags, rows, turns
from storage.models import Conversation, FloodWait, Outbox, Turn
from storage.rows import ConversationRow, OutboxRow, columns, conversations, insert_ignoring, messages, outbox_rows
from storage.states import move

_waits: Any = FloodWait.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Sending:
    """A claimed row with what its sender needs. ``reply_to``: the channel's id of the newest message answered."""

    row: OutboxRow
    conversation: ConversationRow
    reply_to: str | None


@dataclass(frozen=True)
class Closed:
    """A turn that is over. ``more``: its conversation holds unanswered messages or a replay to begin."""

    turn_id: str
    conversation_id: str
    status: str
    more: bool


_flood = (
    core_select(func.max(_waits.c.until, type_=_waits.c.until.type))
    .where(
        _waits.c.channel == conversations.c.channel,
        _waits.c.account == conversations.c.account,
        or_(_waits.c.chat == "", _waits.c.chat == conversations.c.key),
        _waits.c.until > bindparam("now"),
    )
    .scalar_subquery()
)
_reply_to = (
    core_select(messages.c.external_id)
    .where(messages.c.turn_id == outbox_rows.c.turn_id)
    .order_by(messages.c.seq.desc())
    .limit(1)
    .scalar_subquery()
)
#: What a sender has to know of a row that waits: itself, its conversation, a flood wait's end, the message answered.
_READY: Select[Any] = (
    core_select(
        *columns(outbox_rows, OutboxRow), *columns(conversations, ConversationRow), _flood.label("wait"),
        _reply_to.label("reply_to"),
    )
    .join_from(outbox_rows, conversations, conversations.c.id == outbox_rows.c.conversation_id)
    .where(
        outbox_rows.c.id == bindparam("row_id"), outbox_rows.c.status == "pending",
        outbox_rows.c.due_at <= bindparam("now"),
    )
)  # fmt: skip
_ROW: Select[Any] = core_select(*columns(outbox_rows, OutboxRow)).where(outbox_rows.c.id == bindparam("row_id"))
_OF_REPLY = (
    outbox_rows.c.turn_id == bindparam("of_turn"),
    outbox_rows.c.kind == bindparam("of_kind"),
    outbox_rows.c.round == bindparam("of_round"),
)
_EARLIER: Select[Any] = (
    core_select(outbox_rows.c.id)
    .where(*_OF_REPLY, outbox_rows.c.part < bindparam("before"), outbox_rows.c.status.in_(("pending", "sending")))
    .limit(1)
)
_PARTS: Select[Any] = (
    core_select(outbox_rows.c.id, outbox_rows.c.status, outbox_rows.c.error, outbox_rows.c.error_class)
    .where(*_OF_REPLY)
    .order_by(outbox_rows.c.part)
)
#: The same, with what whoever closes the turn has to know: flags to settle, and whether something else waits.
_CLOSING: Select[Any] = _PARTS.add_columns(flags.SAID_UNANSWERED.label("flagged"), turns.SOMETHING_WAITS.label("more"))
_HOLD: Update = (
    outbox_rows.update()
    .where(outbox_rows.c.id == bindparam("row_id"), outbox_rows.c.status == "pending")
    .values(due_at=bindparam("until"))
)
_WAIT_LONGER: Update = (
    _waits.update()
    .where(
        _waits.c.channel == bindparam("the_channel"),
        _waits.c.account == bindparam("the_account"),
        _waits.c.chat == bindparam("the_chat"),
        _waits.c.until < bindparam("the_until"),
    )
    .values(until=bindparam("the_until"))
)
_EXTEND: Update = (
    outbox_rows.update()
    .where(
        outbox_rows.c.id == bindparam("row_id"),
        outbox_rows.c.status == "sending",
        outbox_rows.c.attempts == bindparam("mine"),
    )
    .values(due_at=bindparam("until"))
)
_LAST_MESSAGE: Select[Any] = (
    core_select(messages.c.id, messages.c.text)
    .where(messages.c.turn_id == bindparam("of_turn"))
    .order_by(messages.c.seq.desc())
    .limit(1)
)


def claim(connection: Connection, row_id: str, *, now: datetime, lease: timedelta) -> Sending | None:
    """Take a row for sending. None: not pending, not due, behind an earlier part, or under a flood wait."""
    found = connection.execute(_READY, {"row_id": row_id, "now": now}).first()
    if found is None:
        return None
    width = len(OutboxRow._fields)
    row, conversation = OutboxRow._make(found[:width]), ConversationRow._make(found[width:-2])
    wait, reply_to = found[-2:]
    if conversation.mode == "human" and row.kind != "operator":
        _withdraw(connection, row, now)
        return None
    if wait is not None:
        connection.execute(_HOLD, {"row_id": row_id, "until": wait})
        return None
    if row.part and connection.execute(_EARLIER, {**_reply(row), "before": row.part}).first():
        return None
    row = row._replace(attempts=row.attempts + 1)
    taken = {"attempts": row.attempts, "due_at": now + lease}
    if not move(connection, Outbox, row_id, "pending", "sending", where={"attempts": row.attempts - 1}, **taken):
        return None
    return Sending(row, conversation, reply_to)


def extend(connection: Connection, sending: Sending, *, now: datetime, lease: timedelta) -> bool:
    """Keep the row of a sender that lives. False when it was taken away."""
    row = sending.row
    kept = connection.execute(_EXTEND, {"row_id": row.id, "mine": row.attempts, "until": now + lease})
    return kept.rowcount == 1


def sent(connection: Connection, sending: Sending, external_id: str | None, *, now: datetime) -> Closed | None:
    """Commit a delivery; the row gets the conversation's next number. Closes the turn after its last row.

    A sender that was taken for dead and was not is heard as long as nobody has begun to send the row again.
    """
    row = sending.row
    seq = rows.next_number(connection, row.conversation_id)  # a number left out where this comes to nothing
    values = {"external_id": external_id, "sent_at": now, "error": None, "error_class": None, "seq": seq}
    mine = {"attempts": row.attempts}
    if not (
        move(connection, Outbox, row.id, "sending", "sent", where=mine, **values)
        or move(connection, Outbox, row.id, "pending", "sent", where={**mine, "resent": True}, **values)
    ):
        return None
    return close_turn(connection, row, now)


def postpone(connection: Connection, sending: Sending, error: Exception, *, due: datetime, counts: bool = True) -> bool:
    """It certainly was not sent: try again at ``due``. An attempt that does not count is as if it had not been."""
    row = sending.row
    values: dict[str, Any] = {"due_at": due, "error": safe_text(error), "error_class": type(error).__name__}
    if not counts:
        values["attempts"] = row.attempts - 1
    return move(connection, Outbox, row.id, "sending", "pending", where={"attempts": row.attempts}, **values)


def flood(connection: Connection, sending: Sending, error: Exception, *, until: datetime, whole_account: bool) -> None:
    """The channel asked for a wait: note it for everybody who sends there, and put the row back."""
    conversation = sending.conversation
    chat = "" if whole_account else conversation.key
    wait = {"channel": conversation.channel, "account": conversation.account, "chat": chat, "until": until}
    insert_ignoring(connection, _waits, [wait])
    connection.execute(_WAIT_LONGER, {f"the_{name}": value for name, value in wait.items()})
    postpone(connection, sending, error, due=until, counts=False)


def fail(
    connection: Connection, sending: Sending, error: Exception, *, now: datetime, undeliverable: bool
) -> Closed | None:
    """It can never be sent: the reason is kept, later parts are given up, the turn ends."""
    row = sending.row
    rows.conversation(connection, row.conversation_id, lock=True)
    why = {"error": safe_text(error), "error_class": type(error).__name__}
    if not move(connection, Outbox, row.id, "sending", "failed", where={"attempts": row.attempts}, **why):
        return None
    _give_up(connection, row, why)
    return close_turn(connection, row, now, undeliverable=undeliverable)


def ambiguous(
    connection: Connection, row_id: str, attempt: int, error: Exception, *, now: datetime, resend: bool
) -> tuple[Closed | None, str | None]:
    """Nobody can say whether it arrived: send once more if that is the account's rule, else keep it so.

    Returns the turn this closed, and the state the row has now; None where somebody else has settled it.
    """
    found = connection.execute(_ROW, {"row_id": row_id}).first()
    if found is None:
        return None, None
    row = OutboxRow._make(found)
    rows.conversation(connection, row.conversation_id, lock=True)
    again = resend and not row.resent
    end = "pending" if again else "ambiguous"
    why = {"error": safe_text(error), "error_class": type(error).__name__}
    also: dict[str, Any] = {"resent": True, "due_at": now} if again else {}
    mine = {"attempts": attempt, "resent": row.resent}
    if not move(connection, Outbox, row_id, "sending", end, where=mine, **why, **also):
        return None, None
    return (None if again else close_turn(connection, row, now)), end


def close_turn(connection: Connection, row: OutboxRow, now: datetime, *, undeliverable: bool = False) -> Closed | None:
    """End the row's turn if every answer row is final. A notice closes nothing: its turn has failed already."""
    if row.kind != "answer":
        return None
    # The conversation's row is locked, so a message accepted meanwhile is seen here or sees the closed turn.
    parts = connection.execute(_CLOSING, {**_reply(row), "talk": row.conversation_id}).all()
    if any(part.status in ("pending", "sending") for part in parts):
        return None
    bad = next((part for part in parts if part.status != "sent"), None)
    status = "answered" if bad is None else "undeliverable" if undeliverable else "failed"
    values: dict[str, Any] = {"closed_at": now, "step": None}
    if bad is not None:
        values |= {"step": "deliver", "error": bad.error, "error_class": bad.error_class}
    if not move(connection, Turn, row.turn_id, "processing", status, **values):
        return None
    if bad is None and parts[0].flagged:
        flags.settle(connection, row.turn_id)
    elif bad is not None:
        _flag(connection, row, "undeliverable" if undeliverable else "step_failed", now)
    return Closed(row.turn_id, row.conversation_id, status, parts[0].more)


def parts_from(session: Session, row_id: str) -> list[str]:
    """An outbox row and the later parts of its reply that are still to be sent, in order."""
    row = session.get(Outbox, row_id)
    if row is None:
        return []
    later = select(Outbox.id).where(
        Outbox.turn_id == row.turn_id,
        Outbox.kind == row.kind,
        Outbox.round == row.round,
        Outbox.part >= row.part,
        Outbox.status == "pending",
    )
    return list(session.exec(later.order_by(col(Outbox.part))))


def due(session: Session, *, now: datetime, limit: int = 500) -> list[str]:
    """Rows that wait to be sent and whose time has come."""
    return list(
        session.exec(
            select(Outbox.id)
            .where(Outbox.status == "pending", col(Outbox.due_at) <= now)
            .order_by(col(Outbox.due_at), col(Outbox.part))
            .limit(limit)
        )
    )


def abandoned(session: Session, *, now: datetime, limit: int = 500) -> list[tuple[str, int, str, str]]:
    """Rows whose sender died in ``sending``: (row id, attempt, channel, account)."""
    return list(
        session.exec(
            select(Outbox.id, Outbox.attempts, Conversation.channel, Conversation.account)
            .join(Conversation, col(Conversation.id) == Outbox.conversation_id)
            .where(Outbox.status == "sending", col(Outbox.due_at) < now)
            .limit(limit)
        ).all()
    )


def pending_of(session: Session, turn_id: str) -> list[str]:
    """A turn's rows that wait to be sent, in order."""
    rows = select(Outbox.id).where(Outbox.turn_id == turn_id, Outbox.status == "pending")
    return list(session.exec(rows.order_by(col(Outbox.round), col(Outbox.part))))


def _reply(row: OutboxRow) -> dict[str, Any]:
    return {"of_turn": row.turn_id, "of_kind": row.kind, "of_round": row.round}


def _parts(connection: Connection, row: OutboxRow) -> Sequence[Row[Any]]:
    return connection.execute(_PARTS, _reply(row)).all()


def _give_up(connection: Connection, row: OutboxRow, why: dict[str, Any]) -> None:
    for part in _parts(connection, row):
        if part.status == "pending":
            move(connection, Outbox, part.id, "pending", "failed", **why)


def _flag(connection: Connection, row: OutboxRow, cause: str, now: datetime) -> None:
    turn = rows.turn(connection, row.turn_id)
    assert turn is not None
    message = connection.execute(_LAST_MESSAGE, {"of_turn": row.turn_id}).first()
    question, message_id = (message.text, message.id) if message else ("", None)
    flags.raise_flag(connection, turn, cause, question=question, message_id=message_id, now=now)


def _withdraw(connection: Connection, row: OutboxRow, now: datetime) -> None:
    """A person has taken the conversation over: the answer stays with them as a suggestion."""
    _give_up(connection, row, {"error": "a person took the conversation over", "error_class": "Withdrawn"})
    move(connection, Turn, row.turn_id, "processing", "suggested", closed_at=now, step=None)
