"""The steps of a turn: who may do which, by compare-and-set; what a step leaves behind; the ledger.

A turn's ``step`` is the step to do next; None while its answer is being sent. ``lease`` names the attempt
that holds the step, ``due_at`` is when that lease ends, or (no lease) when the step should have begun.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Select, Update, bindparam, case, or_, select

from ragline.errors import RaglineError, safe_text
from ragline.ids import new_id
from storage import rows
from storage.flags import raise_flag
from storage.models import Turn
from storage.offers import NewLabel, keep_label, note_offer
from storage.rows import ConversationRow, MessageRow, TurnRow, columns, messages, outbox_rows, step_runs, turns
from storage.states import move_and_insert

#: The steps of every turn.
STEPS = ("classify", "retrieve", "generate", "deliver")
#: The first step of a turn whose messages came with files, and of no other: it would cost a task and two commits.
UNDERSTAND = "understand"
ALL_STEPS = (UNDERSTAND, *STEPS)
#: Kinds of messages whose files are read.
MEDIA_KINDS = frozenset({"photo", "voice", "audio", "video", "document"})


class LeaseLost(RaglineError):
    """Another attempt has taken the step over; this one's result is thrown away."""


@dataclass(frozen=True)
class Claim:
    """The right to do one step, and everything the step needs to know."""

    turn: TurnRow
    conversation: ConversationRow
    messages: Sequence[MessageRow]
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
    """What a step leaves behind: its result, and for some steps rows for others to act on.

    ``silent``: the turn is answered without a word. ``offers``: its answer is a choice of items. ``label``: what its
    customer chose of one.
    """

    result: dict[str, Any]
    parts: Sequence[dict[str, Any]] = ()
    mode: str | None = None
    flag: str | None = None
    suggested: bool = False
    silent: bool = False
    offers: bool = False
    label: NewLabel | None = None
    question: str = field(default="", repr=False)

    @property
    def single(self) -> bool:
        """Whether moving the turn on and the ledger's row are all there is to write: one statement on PostgreSQL."""
        return not (self.flag or self.parts or self.label or self.offers)


_TAKE: Update = (
    turns.update()
    .where(
        turns.c.id == bindparam("turn_id"),
        turns.c.status == "processing",
        turns.c.step == bindparam("wanted"),
        or_(turns.c.lease.is_(None), turns.c.due_at < bindparam("now")),
    )
    .values(
        lease=bindparam("token"),
        attempt=turns.c.attempt + 1,
        # A lease that ran out: the process that held it died, or stood still for as long.
        crashes=case((turns.c.lease.is_not(None), turns.c.crashes + 1), else_=turns.c.crashes),
        due_at=bindparam("until"),
    )
    .returning(*columns(turns, TurnRow))
)
_ASKED: Select[Any] = rows.ASKED.where(messages.c.turn_id == bindparam("turn_id"))
_taken = _TAKE.cte("taken")
#: Both in one statement, which SQLite does not know: the turn's columns after what it is asked.
_TAKE_AND_ASK: Select[Any] = rows.ASKED.add_columns(*_taken.c).where(messages.c.turn_id == _taken.c.id)
_EXTEND: Update = (
    turns.update()
    .where(turns.c.id == bindparam("turn_id"), turns.c.lease == bindparam("token"))
    .values(due_at=bindparam("until"))
)
_TOLD: Select[Any] = select(outbox_rows.c.id).where(
    outbox_rows.c.turn_id == bindparam("turn_id"), outbox_rows.c.kind == "notice"
)


def following(step: str) -> str | None:
    """The step after ``step``; None after the last."""
    position = ALL_STEPS.index(step) + 1
    return ALL_STEPS[position] if position < len(ALL_STEPS) else None


def first_step(kinds: Iterable[str]) -> str:
    """The step a turn of messages of these kinds begins with."""
    return STEPS[0] if MEDIA_KINDS.isdisjoint(kinds) else UNDERSTAND


def claim(
    connection: Connection, turn_id: str, step: str, *, now: datetime, lease: timedelta
) -> Claim | TurnRow | None:
    """Take ``step`` of a turn, and read what it needs.

    Returns the claim; or the turn where the step is done already (the caller goes on to the next one); or
    None where another attempt holds it, or the turn is gone.
    """
    token = new_id()
    values = {"turn_id": turn_id, "wanted": step, "now": now, "token": token, "until": now + lease}
    found: Sequence[Sequence[Any]]
    if connection.dialect.name == "postgresql":
        found = connection.execute(_TAKE_AND_ASK, values).all()
        width = len(TurnRow._fields)
        taken, found = (found[0][-width:], [row[:-width] for row in found]) if found else (None, [])
    else:
        taken = connection.execute(_TAKE, values).first()
        found = connection.execute(_ASKED, {"turn_id": turn_id}).all() if taken else []
    if taken is None:
        turn = rows.turn(connection, turn_id)
        return None if turn is None or (turn.status == "processing" and turn.step == step) else turn
    turn = TurnRow._make(taken)
    return Claim(turn, *rows.asked(found), step, turn.attempt, token)


def extend(connection: Connection, held: Claim, *, now: datetime, lease: timedelta) -> bool:
    """Keep a long step's lease. False when it is lost."""
    kept = connection.execute(
        _EXTEND, {"turn_id": held.turn.id, "token": held.token, "until": now + lease}
    )  # fmt: skip
    return kept.rowcount == 1


def finish(
    connection: Connection, held: Claim, done: Done, ledger: Ledger, *, now: datetime, patience: timedelta
) -> list[str]:
    """Write the step's result, its ledger row and what follows from it, and move the turn on.

    Returns the ids of the outbox rows made. Raises :class:`LeaseLost`.
    """
    after: dict[str, Any] = {
        "step": following(held.step), "attempt": 0, "crashes": 0, "lease": None, "due_at": now + patience,
    }  # fmt: skip
    if done.mode:
        after["mode"] = done.mode
    end = "suggested" if done.suggested else "answered" if done.silent else "processing"
    if end != "processing":
        after |= {"closed_at": now, "step": None}
    _release(connection, held, end, _run(held, ledger, done=done), **after)
    if done.offers:
        note_offer(connection, held.conversation.id)
    if done.label:
        keep_label(connection, held.turn, done.label, now)
    if done.flag:
        _flag(connection, held, done.flag, done.question, now)
    return add_parts(connection, held.turn, "answer", done.parts, now)


def retry_later(
    connection: Connection, held: Claim, error: RaglineError, ledger: Ledger, *, now: datetime, delay: timedelta
) -> None:
    """Note a failed attempt and free the step for the next one, due after ``delay``."""
    _release(connection, held, "processing", _run(held, ledger, error, "retry"), lease=None, due_at=now + delay)


def fail(
    connection: Connection,
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
    why = {"error": safe_text(error), "error_class": type(error).__name__}
    _release(connection, held, "failed", _run(held, ledger, error, "failed"), lease=None, closed_at=now, **why)
    _flag(connection, held, "step_failed", question, now)
    told = connection.execute(_TOLD, {"turn_id": held.turn.id}).first()
    if told is not None or held.conversation.mode == "human":
        return []
    return add_parts(connection, held.turn, "notice", notice, now)


def add_parts(
    connection: Connection, turn: TurnRow, kind: str, bodies: Sequence[dict[str, Any]], now: datetime
) -> list[str]:
    """Put the parts of a reply into the outbox; their ids, in order."""
    parts: list[dict[str, Any]] = [
        {
            "id": new_id(), "turn_id": turn.id, "conversation_id": turn.conversation_id, "kind": kind,
            "round": turn.round, "part": part, "body": body, "status": "pending", "attempts": 0, "resent": False,
            "due_at": now, "created_at": now,
        }
        for part, body in enumerate(bodies)
    ]  # fmt: skip
    if parts:
        connection.execute(outbox_rows.insert(), parts)
    return [part["id"] for part in parts]


def _release(connection: Connection, held: Claim, end: str, run: dict[str, Any], **values: Any) -> None:
    """Move the turn on and write what the attempt cost. Raises :class:`LeaseLost`."""
    mine = {"lease": held.token}
    if not move_and_insert(connection, Turn, held.turn.id, "processing", end, step_runs, run, where=mine, **values):
        raise LeaseLost(f"step {held.step} of turn {held.turn.id} was taken over by another attempt")


def _flag(connection: Connection, held: Claim, cause: str, question: str, now: datetime) -> None:
    last = held.messages[-1].id if held.messages else None
    raise_flag(connection, held.turn, cause, question=question, message_id=last, now=now)


def _run(
    held: Claim, ledger: Ledger, error: Exception | None = None, outcome: str = "ok", *, done: Done | None = None
) -> dict[str, Any]:
    return {
        "id": new_id(),
        "turn_id": held.turn.id,
        "step": held.step,
        "round": held.turn.round,
        "attempt": held.attempt,
        "outcome": outcome,
        **vars(ledger),
        "result": done.result if done else {},
        "error": safe_text(error) if error else None,
        "error_class": type(error).__name__ if error else None,
    }
