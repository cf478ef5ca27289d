"""Turns: who may do which step, by compare-and-set; the ledger; what closes a turn.

A turn's ``step`` is the step to do next; None while its answer is being sent. ``lease`` names the attempt
that holds the step, ``due_at`` is when that lease ends, or (no lease) when the step should have begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import CursorResult, case, exists, or_
from sqlalchemy import update as sql_update
from sqlmodel import Session, col, select

from pipeline.envelope import Envelope
from ragline.errors import RaglineError, safe_text
from ragline.ids import new_id
from storage.load import LIMITED
from storage.models import Conversation, Message, Outbox, RedFlag, StepRun, Turn
from storage.states import move

Role = Literal["customer", "assistant", "operator"]
STEPS = ("classify", "retrieve", "generate", "deliver")
#: Where a replay begins whose answer is written and was not sent.
SEND = "send"


class LeaseLost(RaglineError):
    """Another attempt has taken the step over; this one's result is thrown away."""


@dataclass(frozen=True)
class NotYet:
    """The burst may still go on; look again at ``due``."""

    due: datetime


@dataclass(frozen=True)
class Claim:
    """The right to do one step, and everything the step needs to know."""

    turn: Turn
    conversation: Conversation
    messages: Sequence[Message]
    results: dict[str, dict[str, Any]]
    step: str
    attempt: int
    token: str


@dataclass(frozen=True)
class Ledger:
    """What one attempt cost. ``ms`` is wall time; ``cost`` is None for a model without a known price."""

    ms: float
    started_at: datetime
    tokens_in: int = 0
    tokens_out: int = 0
    cost: Decimal | None = Decimal(0)
    model: str | None = None
    template: str | None = None
    template_version: str | None = None


@dataclass(frozen=True)
class Done:
    """What a step leaves behind: its result, and for some steps rows for others to act on."""

    result: dict[str, Any]
    parts: Sequence[dict[str, Any]] = ()
    mode: str | None = None
    flag: str | None = None
    suggested: bool = False
    question: str = field(default="", repr=False)


def following(step: str) -> str | None:
    """The step after ``step``; None after the last."""
    position = STEPS.index(step) + 1
    return STEPS[position] if position < len(STEPS) else None


def rowcount(result: Any) -> int:
    """Rows an UPDATE touched."""
    assert isinstance(result, CursorResult)
    return result.rowcount


def open_turn(
    session: Session,
    conversation_id: str,
    *,
    now: datetime,
    quiet: timedelta,
    longest_wait: timedelta,
    max_messages: int,
    patience: timedelta,
) -> Turn | NotYet | None:
    """Gather the unanswered messages of a conversation into a turn, if their burst is over; replays come first.

    None: nothing waits, or a turn is active already; whoever closes that one looks again.
    """
    conversation = session.exec(
        select(Conversation).where(Conversation.id == conversation_id).with_for_update()
    ).one_or_none()
    if conversation is None:
        return None
    active = select(Turn.id).where(Turn.conversation_id == conversation_id, Turn.status == "processing")
    if session.exec(active).first() is not None:
        return None
    asked = select(Turn).where(Turn.conversation_id == conversation_id, col(Turn.replay_from).is_not(None))
    again = session.exec(asked.order_by(col(Turn.created_at), col(Turn.id)).limit(1)).first()
    if again is not None:
        return _restart(session, again, now=now, patience=patience)
    waiting = session.exec(
        select(Message.id, Message.received_at)
        .where(
            Message.conversation_id == conversation_id,
            col(Message.turn_id).is_(None),
            col(Message.answerable).is_(True),
        )
        .order_by(col(Message.seq))
        .limit(max_messages)
    ).all()
    if not waiting:
        return None
    times = [received_at for _, received_at in waiting]
    due = min(max(times) + quiet, min(times) + longest_wait)
    if due > now and len(waiting) < max_messages:
        return NotYet(due)
    turn = Turn(conversation_id=conversation_id, due_at=now + patience, created_at=now)
    session.add(turn)
    session.flush()
    session.exec(
        sql_update(Message)
        .where(col(Message.id).in_([message_id for message_id, _ in waiting]))
        .values(turn_id=turn.id)
    )
    return turn


def _restart(session: Session, turn: Turn, *, now: datetime, patience: timedelta) -> Turn:
    """Begin the replay that was asked for. The turn comes back with the step to do; None: its answer is to be sent."""
    start, rows = turn.replay_from, []
    if start == SEND:
        unsent = select(Outbox.id).where(
            Outbox.turn_id == turn.id, Outbox.kind == "answer", Outbox.round == turn.round, Outbox.status == "failed"
        )
        rows = list(session.exec(unsent))
        start = SEND if rows else STEPS[-1]
    values: dict[str, Any] = {
        "replay_from": None, "lease": None, "attempt": 0, "crashes": 0, "due_at": now + patience,
        "closed_at": None, "error": None, "error_class": None, "step": None if start == SEND else start,
    }  # fmt: skip
    if start == SEND:
        for row_id in rows:
            move(session, Outbox, row_id, "failed", "pending", due_at=now, attempts=0)
    else:
        values["round"] = turn.round + 1
    move(session, Turn, turn.id, turn.status, "processing", **values)
    session.refresh(turn)
    return turn


def claim(session: Session, turn_id: str, step: str, *, now: datetime, lease: timedelta) -> Claim | Turn | None:
    """Take ``step`` of a turn.

    Returns the claim; or the turn where the step is done already (the caller goes on to the next one); or
    None where another attempt holds it, or the turn is gone.
    """
    token = new_id()
    taken = session.exec(
        sql_update(Turn)
        .where(
            col(Turn.id) == turn_id,
            col(Turn.status) == "processing",
            col(Turn.step) == step,
            or_(col(Turn.lease).is_(None), col(Turn.due_at) < now),
        )
        .values(
            lease=token,
            attempt=Turn.attempt + 1,
            # A lease that ran out: the process that held it died, or stood still for as long.
            crashes=case((col(Turn.lease).is_not(None), Turn.crashes + 1), else_=Turn.crashes),
            due_at=now + lease,
        )
        .execution_options(synchronize_session=False)
    )
    turn = session.get(Turn, turn_id)
    if turn is None:
        return None
    if rowcount(taken) == 0:
        return None if turn.status == "processing" and turn.step == step else turn
    conversation = session.get_one(Conversation, turn.conversation_id)
    messages = session.exec(select(Message).where(Message.turn_id == turn_id).order_by(col(Message.seq))).all()
    earlier = session.exec(
        select(StepRun.step, StepRun.result)
        .where(StepRun.turn_id == turn_id, StepRun.outcome == "ok")
        .order_by(col(StepRun.started_at))
    )
    return Claim(
        turn, conversation, messages, {name: dict(result) for name, result in earlier}, step, turn.attempt, token
    )


def extend(session: Session, held: Claim, *, now: datetime, lease: timedelta) -> bool:
    """Keep a long step's lease. False when it is lost."""
    kept = session.exec(
        sql_update(Turn).where(col(Turn.id) == held.turn.id, col(Turn.lease) == held.token).values(due_at=now + lease)
    )
    return rowcount(kept) == 1


def finish(
    session: Session, held: Claim, done: Done, ledger: Ledger, *, now: datetime, patience: timedelta
) -> list[str]:
    """Write the step's result, its ledger row and what follows from it, and move the turn on.

    Returns the ids of the outbox rows made. Raises :class:`LeaseLost`.
    """
    after: dict[str, Any] = {
        "step": following(held.step), "attempt": 0, "crashes": 0, "lease": None, "due_at": now + patience,
    }  # fmt: skip
    if done.mode:
        after["mode"] = done.mode
    if done.suggested:
        _release(session, held, "suggested", **{**after, "closed_at": now, "step": None})
    else:
        _release(session, held, "processing", **after)
    session.add(_run(held, ledger, "ok", result=done.result))
    if done.flag:
        raise_flag(session, held, done.flag, done.question, now)
    rows = [_row(held.turn, "answer", part, body, now) for part, body in enumerate(done.parts)]
    session.add_all(rows)
    return [row.id for row in rows]


def retry_later(
    session: Session, held: Claim, error: RaglineError, ledger: Ledger, *, now: datetime, delay: timedelta
) -> None:
    """Note a failed attempt and free the step for the next one, due after ``delay``."""
    _release(session, held, "processing", lease=None, due_at=now + delay)
    session.add(_run(held, ledger, "retry", error=error))


def fail(
    session: Session,
    held: Claim,
    error: Exception,
    ledger: Ledger,
    *,
    now: datetime,
    notice: Sequence[dict[str, Any]],
    question: str,
) -> list[str]:
    """End the turn as failed: it keeps its step and reason, a red flag is raised, one notice goes out.

    Returns the ids of the notice's outbox rows. Raises :class:`LeaseLost`.
    """
    _release(
        session,
        held,
        "failed",
        lease=None,
        closed_at=now,
        error=safe_text(error),
        error_class=type(error).__name__,
    )
    session.add(_run(held, ledger, "failed", error=error))
    raise_flag(session, held, "step_failed", question, now)
    told = session.exec(select(Outbox.id).where(Outbox.turn_id == held.turn.id, Outbox.kind == "notice")).first()
    if told is not None or held.conversation.mode == "human":
        return []
    rows = [_row(held.turn, "notice", part, body, now) for part, body in enumerate(notice)]
    session.add_all(rows)
    return [row.id for row in rows]


def limit(session: Session, turn_id: str, *, why: str, now: datetime, notice: Sequence[dict[str, Any]]) -> Turn:
    """Close a turn that has just been opened, unanswered; its messages stay with it and a replay answers them."""
    turn = session.get_one(Turn, turn_id)
    move(session, Turn, turn_id, "processing", "failed", closed_at=now, error=why, error_class=LIMITED)
    session.add_all(_row(turn, "notice", part, body, now) for part, body in enumerate(notice))
    session.flush()
    session.refresh(turn)
    return turn


def raise_flag(session: Session, held: Claim, cause: str, question: str, now: datetime) -> None:
    """One red flag a turn and cause; one that was closed is open again."""
    present = session.exec(select(RedFlag).where(RedFlag.turn_id == held.turn.id, RedFlag.cause == cause)).first()
    if present is not None:
        present.status = "open"
        session.add(present)
        return
    session.add(
        RedFlag(
            turn_id=held.turn.id,
            conversation_id=held.conversation.id,
            message_id=held.messages[-1].id if held.messages else None,
            cause=cause,
            question=question,
            created_at=now,
        )
    )


def history(session: Session, conversation_id: str, *, before_seq: int, limit: int = 40) -> list[tuple[Role, str]]:
    """The newest lines before ``before_seq``, oldest first: ("customer" | "assistant" | "operator", text)."""
    said = session.exec(
        select(Message.seq, Message.kind, Message.text)
        .where(
            Message.conversation_id == conversation_id,
            Message.seq < before_seq,
            col(Message.kind).not_in(("edit", "event")),
            Message.text != "",
        )
        .order_by(col(Message.seq).desc())
        .limit(limit)
    ).all()
    sent = session.exec(
        select(Outbox.seq, Outbox.kind, Outbox.body)
        .where(Outbox.conversation_id == conversation_id, col(Outbox.seq) < before_seq)
        .order_by(col(Outbox.seq).desc())
        .limit(limit)
    ).all()
    lines: list[tuple[int, Role, str]] = [
        (seq, "operator" if kind == "outgoing" else "customer", text) for seq, kind, text in said
    ]
    lines += [
        (seq or 0, "operator" if kind == "operator" else "assistant", str(body.get("text", "")))
        for seq, kind, body in sent
    ]
    return [(role, text) for _, role, text in sorted(lines)[-limit:]]


def has_waiting(session: Session, conversation_id: str) -> bool:
    """Whether messages of the conversation wait for a turn, or a turn for its replay."""
    message = exists().where(
        col(Message.conversation_id) == conversation_id,
        col(Message.turn_id).is_(None),
        col(Message.answerable).is_(True),
    )
    replay = exists().where(col(Turn.conversation_id) == conversation_id, col(Turn.replay_from).is_not(None))
    return bool(session.exec(select(message | replay)).one())


def envelope_of(message: Message) -> Envelope:
    """The envelope as it was accepted, with the text as it stands after edits."""
    return Envelope.model_validate({**message.envelope, "text": message.text})


def _release(session: Session, held: Claim, end: str, **values: Any) -> None:
    if not move(session, Turn, held.turn.id, "processing", end, col(Turn.lease) == held.token, **values):
        raise LeaseLost(f"step {held.step} of turn {held.turn.id} was taken over by another attempt")


def _row(turn: Turn, kind: str, part: int, body: dict[str, Any], now: datetime) -> Outbox:
    return Outbox(
        turn_id=turn.id,
        conversation_id=turn.conversation_id,
        kind=kind,
        round=turn.round,
        part=part,
        body=body,
        due_at=now,
    )


def _run(
    held: Claim,
    ledger: Ledger,
    outcome: str,
    *,
    result: dict[str, Any] | None = None,
    error: Exception | None = None,
) -> StepRun:
    return StepRun(
        turn_id=held.turn.id,
        step=held.step,
        round=held.turn.round,
        attempt=held.attempt,
        outcome=outcome,
        ms=ledger.ms,
        tokens_in=ledger.tokens_in,
        tokens_out=ledger.tokens_out,
        cost=ledger.cost,
        model=ledger.model,
        template=ledger.template,
        template_version=ledger.template_version,
        result=result or {},
        error=safe_text(error) if error else None,
        error_class=type(error).__name__ if error else None,
        started_at=ledger.started_at,
    )
