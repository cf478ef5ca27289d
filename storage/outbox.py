"""The outbox: what is to be sent, claimed by one sender at a time, and what became of it.

pending -> sending -> sent | pending (not sent, flood wait) | failed | ambiguous. A row whose sender died in
``sending`` is ambiguous, and so is a connection broken after the request was written: it is sent again once
where the account says ``resend``, and kept for a person where it says ``hold``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update as sql_update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from storage.models import Conversation, FloodWait, Message, Outbox, RedFlag, Turn
from storage.turns import rowcount


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
    taken = session.exec(
        sql_update(Outbox)
        .where(
            col(Outbox.id) == row_id,
            col(Outbox.status) == "pending",
            ~select(earlier.id)
            .where(
                earlier.turn_id == row.turn_id,
                earlier.kind == row.kind,
                earlier.part < row.part,
                col(earlier.status).in_(("pending", "sending")),
            )
            .exists(),
        )
        .values(status="sending", attempts=Outbox.attempts + 1, due_at=now + lease)
        .execution_options(synchronize_session=False)
    )
    if rowcount(taken) == 0:
        return None
    session.refresh(row)
    last = select(Message.external_id).where(Message.turn_id == row.turn_id).order_by(col(Message.seq).desc())
    return Sending(row, conversation, session.exec(last).first())


def sent(session: Session, row_id: str, external_id: str | None, *, now: datetime) -> Closed | None:
    """Commit a delivery; the row gets the conversation's next number. Closes the turn after its last row."""
    row = _held(session, row_id)
    if row is None:
        return None
    conversation = session.exec(
        select(Conversation).where(Conversation.id == row.conversation_id).with_for_update()
        .execution_options(populate_existing=True)
    ).one()  # fmt: skip
    conversation.last_seq += 1
    row.seq = conversation.last_seq
    row.status, row.external_id, row.sent_at, row.error, row.error_class = "sent", external_id, now, None, None
    session.add_all([row, conversation])
    return close_turn(session, row, now)


def postpone(session: Session, row_id: str, error: Exception, *, due: datetime) -> None:
    """It certainly was not sent: try again at ``due``."""
    row = _held(session, row_id)
    if row is not None:
        row.status, row.due_at, row.error, row.error_class = "pending", due, str(error), type(error).__name__
        session.add(row)


def flood(session: Session, sending: Sending, error: Exception, *, until: datetime, whole_account: bool) -> None:
    """The channel asked for a wait: note it for everybody who sends there, and put the row back."""
    conversation = sending.conversation
    chat = "" if whole_account else conversation.key
    wait = session.get(FloodWait, (conversation.channel, conversation.account, chat))
    if wait is None:
        wait = FloodWait(channel=conversation.channel, account=conversation.account, chat=chat, until=until)
    wait.until = max(wait.until, until)
    session.add(wait)
    postpone(session, sending.row.id, error, due=until)


def fail(session: Session, row_id: str, error: Exception, *, now: datetime, undeliverable: bool) -> Closed | None:
    """It can never be sent: the reason is kept, later parts are given up, the turn ends."""
    row = _held(session, row_id)
    if row is None:
        return None
    for part in _rows(session, row):
        if part.status in ("pending", "sending"):
            part.status, part.error, part.error_class = "failed", str(error), type(error).__name__
            session.add(part)
    return close_turn(session, row, now, undeliverable=undeliverable)


def ambiguous(session: Session, row_id: str, error: Exception, *, now: datetime, resend: bool) -> Closed | None:
    """Nobody can say whether it arrived: send once more if that is the account's rule, else keep it so."""
    row = _held(session, row_id)
    if row is None:
        return None
    row.error, row.error_class = str(error), type(error).__name__
    if resend and not row.resent:
        row.status, row.resent, row.due_at = "pending", True, now
        session.add(row)
        return None
    row.status = "ambiguous"
    session.add(row)
    return close_turn(session, row, now)


def close_turn(session: Session, row: Outbox, now: datetime, *, undeliverable: bool = False) -> Closed | None:
    """End the row's turn if every answer row is final. A notice closes nothing: its turn has failed already."""
    session.flush()
    rows = _rows(session, row)
    if row.kind != "answer" or any(part.status in ("pending", "sending") for part in rows):
        return None
    values: dict[str, Any] = {"closed_at": now, "status": "answered", "step": None}
    bad = next((part for part in rows if part.status != "sent"), None)
    if bad is not None:
        values |= {
            "status": "undeliverable" if undeliverable else "failed",
            "step": "deliver",
            "error": bad.error,
            "error_class": bad.error_class,
        }
    closed = session.exec(
        sql_update(Turn).where(col(Turn.id) == row.turn_id, col(Turn.status) == "processing").values(**values)
    )
    if rowcount(closed) == 0:
        return None
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
    return Closed(row.turn_id, row.conversation_id, values["status"])


def parts_from(session: Session, row_id: str) -> list[str]:
    """An outbox row and the later parts of its reply that are still to be sent, in order."""
    row = session.get(Outbox, row_id)
    if row is None:
        return []
    later = select(Outbox.id).where(
        Outbox.turn_id == row.turn_id, Outbox.kind == row.kind, Outbox.part >= row.part, Outbox.status == "pending"
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


def abandoned(session: Session, *, now: datetime, limit: int = 500) -> list[tuple[str, str, str]]:
    """Rows whose sender died in ``sending``: (row id, channel, account)."""
    return list(
        session.exec(
            select(Outbox.id, Conversation.channel, Conversation.account)
            .join(Conversation, col(Conversation.id) == Outbox.conversation_id)
            .where(Outbox.status == "sending", col(Outbox.due_at) < now)
            .limit(limit)
        ).all()
    )


def status_of(session: Session, row_id: str) -> str | None:
    """Where a row stands."""
    return session.exec(select(Outbox.status).where(Outbox.id == row_id)).first()


def _held(session: Session, row_id: str) -> Outbox | None:
    """The row if it is being sent; None when somebody else has settled it meanwhile."""
    row = session.exec(
        select(Outbox).where(Outbox.id == row_id).with_for_update().execution_options(populate_existing=True)
    ).one_or_none()
    return row if row is not None and row.status == "sending" else None


def _rows(session: Session, row: Outbox) -> Sequence[Outbox]:
    return session.exec(
        select(Outbox).where(Outbox.turn_id == row.turn_id, Outbox.kind == row.kind).order_by(col(Outbox.part))
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
            part.status, part.error, part.error_class = "failed", "a person took the conversation over", "Withdrawn"
            session.add(part)
    session.exec(
        sql_update(Turn)
        .where(col(Turn.id) == row.turn_id, col(Turn.status) == "processing")
        .values(status="suggested", closed_at=now, step=None)
    )
