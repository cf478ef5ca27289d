"""Asking for a turn to be answered again. The workers do it (:func:`storage.turns.open_turn`), one after the other in
each conversation, and resume at the step that failed: what earlier steps found is kept, and paid for once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from storage.models import Conversation, Message, Outbox, StepRun, Turn
from storage.states import move
from storage.steps import ALL_STEPS, STEPS, UNDERSTAND, first_step
from storage.turns import SEND

#: Turns a replay takes up without being forced.
DEAD = ("failed", "undeliverable")


@dataclass(frozen=True)
class Wish:
    """What to do with the turns that were found. ``from_step`` None: the step that failed."""

    from_step: str | None = None
    force: bool = False
    ambiguous: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class Verdict:
    """What is to happen with one turn. ``from_step`` None: it is left alone, for ``reason``."""

    turn_id: str
    from_step: str | None
    reason: str | None = None

    @property
    def shown(self) -> dict[str, str | None]:
        """As commands and the API show it. Sending what is written already is part of deliver."""
        step = STEPS[-1] if self.from_step == SEND else self.from_step
        return {"turn_id": self.turn_id, "from_step": step, "outcome": self.reason or "asked"}


def find(
    session: Session,
    *,
    ids: Collection[str] = (),
    failed: bool = False,
    since: datetime | None = None,
    channel: str | None = None,
) -> list[str]:
    """Turns by their own ids or those of their messages, or all that match the filters; in order of receipt."""
    query = select(Turn.id).join(Conversation, col(Conversation.id) == Turn.conversation_id)
    if ids:
        of_messages = select(Message.turn_id).where(col(Message.id).in_(ids))
        query = query.where(col(Turn.id).in_(ids) | col(Turn.id).in_(of_messages))
    if failed:
        query = query.where(Turn.status == "failed")
    if since:
        query = query.where(Turn.created_at >= since)
    if channel:
        query = query.where(Conversation.channel == channel)
    return list(session.exec(query.order_by(col(Turn.created_at), col(Turn.id))))


def request(session: Session, turn_id: str, wish: Wish) -> Verdict:
    """Ask for a replay of one turn, or say why not. Under ``dry_run`` nothing is written."""
    turn = session.exec(select(Turn).where(Turn.id == turn_id).with_for_update()).one_or_none()
    if turn is None:
        return Verdict(turn_id, None, "there is no such turn")
    verdict = _judge(session, turn, wish)
    if verdict.from_step is None or wish.dry_run:
        return verdict
    for row in _answer_rows(session, turn):
        if row.status == "ambiguous":
            move(session.connection(), Outbox, row.id, "ambiguous", "failed", resent=True)
    turn.replay_from = verdict.from_step
    session.add(turn)
    return verdict


def statuses(session: Session, turn_ids: Sequence[str]) -> dict[str, str]:
    """Where turns stand; ``asked`` for one whose replay has not begun."""
    found: dict[str, str] = {}
    for start in range(0, len(turn_ids), 500):
        part = turn_ids[start : start + 500]
        rows = session.exec(select(Turn.id, Turn.status, Turn.replay_from).where(col(Turn.id).in_(part)))
        found |= {turn_id: "asked" if asked else status for turn_id, status, asked in rows}
    return found


def _judge(session: Session, turn: Turn, wish: Wish) -> Verdict:
    if turn.status == "processing":
        return Verdict(turn.id, None, "is at work")
    if turn.replay_from is not None:
        return Verdict(turn.id, None, "was asked for already")
    if turn.status not in DEAD and not wish.force:
        why = "was delivered" if turn.status == "answered" else "is with a person"
        return Verdict(turn.id, None, f"{why}; --force answers it again")
    rows = _answer_rows(session, turn)
    if any(row.status == "ambiguous" for row in rows) and not (wish.ambiguous or wish.force):
        return Verdict(turn.id, None, "the customer may have the answer; --ambiguous sends it again")
    if wish.from_step is None:
        if rows and turn.status in DEAD:
            return Verdict(turn.id, SEND)
        return Verdict(turn.id, turn.step or _first(session, turn))
    if any(row.status == "sent" for row in rows) and not wish.force:
        return Verdict(turn.id, None, "part of its answer was delivered; --force makes a new one")
    done = set(session.exec(select(StepRun.step).where(StepRun.turn_id == turn.id, StepRun.outcome == "ok")))
    first = _first(session, turn)
    # A turn without files has nothing to understand.
    start = first if wish.from_step == UNDERSTAND else wish.from_step
    before = ALL_STEPS[ALL_STEPS.index(first) : ALL_STEPS.index(start)]
    missing = [step for step in before if step not in done]
    if missing:
        return Verdict(turn.id, None, f"has no result of {missing[0]} yet; begin there")
    return Verdict(turn.id, start)


def _first(session: Session, turn: Turn) -> str:
    return first_step(session.exec(select(Message.kind).where(Message.turn_id == turn.id)))


def _answer_rows(session: Session, turn: Turn) -> Sequence[Outbox]:
    rows = select(Outbox).where(Outbox.turn_id == turn.id, Outbox.kind == "answer", Outbox.round == turn.round)
    return session.exec(rows.order_by(col(Outbox.part))).all()
