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

from sqlalchemy import CursorResult
from sqlalchemy import update as sql_update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from ragline.errors import safe_text
from storage.models import Conversation, FloodWait, Message, Outbox, RedFlag, Turn
from storage.states import move


@dataclass(frozen=True)
class Sending:
    """A claimed row with what its sender needs."""

    row: Outbox
    conversation: Conversation
    reply_to: str | None


@dataclass(frozen=True)
class Closed:
    """A turn that is over, and whose conversation may hold unanswered messages."""

    turn_id: str
    conversation_id: str
    status: str


def claim(session: Session, row_id: str, *, now: datetime, lease: timedelta) -> Sending | None:
    """Take a row for sending. None: not pending, not due, behind an earlier part, or under a flood wait."""
    row = session.get(Outbox, row_id)
    if row is None or row.status != "pending" or row.due_at > now:
        return None
    conversation = session.get_one(Conversation, row.conversation_id)
    if conversation.mode == "human" and row.kind != "operator":
        _withdraw(session, row, now)
        return None
    wait = _flood_until(session, conversation, now)
    if wait is not None:
        row.due_at = wait
        session.add(row)
        return None
    earlier = aliased(Outbox)
    in_front = (
        select(earlier.id)
        .where(
            earlier.turn_id == row.turn_id,
            earlier.kind == row.kind,
            earlier.round == row.round,
            earlier.part < row.part,
            col(earlier.status).in_(("pending", "sending")),
        )
        .exists()
    )
    values = {"attempts": Outbox.attempts + 1, "due_at": now + lease}
    if not move(session, Outbox, row_id, "pending", "sending", ~in_front, **values):
        return None
    session.refresh(row)
    last = select(Message.external_id).where(Message.turn_id == row.turn_id).order_by(col(Message.seq).desc())
    return Sending(row, conversation, session.exec(last).first())


def extend(session: Session, sending: Sending, *, now: datetime, lease: timedelta) -> bool:
    """Keep the row of a sender that lives. False when it was taken away."""
    mine = (col(Outbox.attempts) == sending.row.attempts,)
    kept = session.exec(
        sql_update(Outbox)
        .where(col(Outbox.id) == sending.row.id, col(Outbox.status) == "sending", *mine)
        .values(due_at=now + lease)
    )
    assert isinstance(kept, CursorResult)
    return kept.rowcount == 1


def sent(session: Session, sending: Sending, external_id: str | None, *, now: datetime) -> Closed | None:
    """Commit a delivery; the row gets the conversation's next number. Closes the turn after its last row.

    A sender that was taken for dead and was not is heard as long as nobody has begun to send the row again.
    """
    conversation = session.exec(
        select(Conversation).where(Conversation.id == sending.conversation.id).with_for_update()
        .execution_options(populate_existing=True)
    ).one()  # fmt: skip
    seq = conversation.last_seq + 1
    values = {"external_id": external_id, "sent_at": now, "error": None, "error_class": None, "seq": seq}
    mine = col(Outbox.attempts) == sending.row.attempts
    back = mine & col(Outbox.resent).is_(True)
    if not (
        move(session, Outbox, sending.row.id, "sending", "sent", mine, **values)
        or move(session, Outbox, sending.row.id, "pending", "sent", back, **values)
    ):
        return None
    conversation.last_seq = seq
    session.add(conversation)
    return close_turn(session, session.get_one(Outbox, sending.row.id, populate_existing=True), now)


def postpone(session: Session, sending: Sending, error: Exception, *, due: datetime, counts: bool = True) -> bool:
    """It certainly was not sent: try again at ``due``. An attempt that does not count is as if it had not been."""
    row = sending.row
    values = {"due_at": due, "error": safe_text(error), "error_class": type(error).__name__}
    if not counts:
        values["attempts"] = row.attempts - 1
    return move(session, Outbox, row.id, "sending", "pending", col(Outbox.attempts) == row.attempts, **values)


def flood(session: Session, sending: Sending, error: Exception, *, until: datetime, whole_account: bool) -> None:
    """The channel asked for a wait: note it for everybody who sends there, and put the row back."""
    conversation = sending.conversation
    chat = "" if whole_account else conversation.key
    wait = session.get(FloodWait, (conversation.channel, conversation.account, chat))
    if wait is None:
        wait = FloodWait(channel=conversation.channel, account=conversation.account, chat=chat, until=until)
    wait.until = max(wait.until, until)
    session.add(wait)
    postpone(session, sending, error, due=until, counts=False)


def fail(session: Session, sending: Sending, error: Exception, *, now: datetime, undeliverable: bool) -> Closed | None:
    """It can never be sent: the reason is kept, later parts are given up, the turn ends."""
    row = sending.row
    why = {"error": safe_text(error), "error_class": type(error).__name__}
    if not move(session, Outbox, row.id, "sending", "failed", col(Outbox.attempts) == row.attempts, **why):
        return None
    for part in _rows(session, row):
        if part.status == "pending":
            move(session, Outbox, part.id, "pending", "failed", **why)
    return close_turn(session, row, now, undeliverable=undeliverable)


def ambiguous(
    session: Session, row_id: str, attempt: int, error: Exception, *, now: datetime, resend: bool
) -> tuple[Closed | None, str | None]:
    """Nobody can say whether it arrived: send once more if that is the account's rule, else keep it so.

    Returns the turn this closed, and the state the row has now; None where somebody else has settled it.
    """
    row = session.get(Outbox, row_id, with_for_update=True, populate_existing=True)
    if row is None or row.attempts != attempt:
        return None, None
    again = resend and not row.resent
    end = "pending" if again else "ambiguous"
    why = {"error": safe_text(error), "error_class": type(error).__name__}
    also: dict[str, Any] = {"resent": True, "due_at": now} if again else {}
    if not move(session, Outbox, row_id, "sending", end, **why, **also):
        return None, None
    return (None if again else close_turn(session, row, now)), end


def close_turn(session: Session, row: Outbox, now: datetime, *, undeliverable: bool = False) -> Closed | None:
    """End the row's turn if every answer row is final. A notice closes nothing: its turn has failed already."""
    session.flush()
    rows = _rows(session, row)
    if row.kind != "answer" or any(part.status in ("pending", "sending") for part in rows):
        return None
    bad = next((part for part in rows if part.status != "sent"), None)
    status = "answered" if bad is None else "undeliverable" if undeliverable else "failed"
    values: dict[str, Any] = {"closed_at": now, "step": None}
    if bad is not None:
        values |= {"step": "deliver", "error": bad.error, "error_class": bad.error_class}
    if not move(session, Turn, row.turn_id, "processing", status, **values):
        return None
    if bad is None:
        settled = ("step_failed", "undeliverable")
        session.exec(
            sql_update(RedFlag)
            .where(col(RedFlag.turn_id) == row.turn_id, col(RedFlag.cause).in_(settled), col(RedFlag.status) == "open")
            .values(status="resolved")
        )
    if bad is not None:
        message = select(Message).where(Message.turn_id == row.turn_id).order_by(col(Message.seq).desc())
        last = session.exec(message).first()
        session.add(
            RedFlag(
                turn_id=row.turn_id,
                conversation_id=row.conversation_id,
                message_id=last.id if last else None,
                cause="undeliverable" if undeliverable else "step_failed",
                question=last.text if last else "",
                created_at=now,
            )
        )
    return Closed(row.turn_id, row.conversation_id, status)


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


def _rows(session: Session, row: Outbox) -> Sequence[Outbox]:
    return session.exec(
        select(Outbox)
        .where(Outbox.turn_id == row.turn_id, Outbox.kind == row.kind, Outbox.round == row.round)
        .order_by(col(Outbox.part))
        .execution_options(populate_existing=True)
    ).all()


def _flood_until(session: Session, conversation: Conversation, now: datetime) -> datetime | None:
    waits = session.exec(
        select(FloodWait.until).where(
            FloodWait.channel == conversation.channel,
            FloodWait.account == conversation.account,
            col(FloodWait.chat).in_(("", conversation.key)),
            col(FloodWait.until) > now,
        )
    ).all()
    return max(waits, default=None)


def _withdraw(session: Session, row: Outbox, now: datetime) -> None:
    """A person has taken the conversation over: the answer stays with them as a suggestion."""
    for part in _rows(session, row):
        if part.status == "pending":
            why = {"error": "a person took the conversation over", "error_class": "Withdrawn"}
            move(session, Outbox, part.id, "pending", "failed", **why)
    move(session, Turn, row.turn_id, "processing", "suggested", closed_at=now, step=None)
