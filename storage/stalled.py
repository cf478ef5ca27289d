"""Work that nobody is doing: what the broker never got, and what a dead process left behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func
from sqlmodel import Session, col, select

from storage.models import Message, Turn
from storage.steps import STEPS

#: A step whose process died this often is tried with no other such step beside it: one of them may be the killer.
SUSPECT = 2


@dataclass(frozen=True)
class Stalled:
    """Work nobody is doing: conversations to open, and turns to go on with (id, step)."""

    conversations: list[str]
    turns: list[tuple[str, str]]


def stalled(session: Session, *, now: datetime, patience: timedelta, limit: int = 500) -> Stalled:
    """Find what waits without an active turn, and turns whose step is overdue.

    An overdue turn is given ``patience`` more, so that a backlog does not gather a task a sweep. Turns whose step
    has killed :data:`SUSPECT` processes go on one at a time: the innocent among them get through, and a poisonous
    one dies alone.
    """
    busy = select(Turn.conversation_id).where(Turn.status == "processing")
    waiting = session.exec(
        select(Message.conversation_id)
        .where(
            col(Message.turn_id).is_(None),
            col(Message.answerable).is_(True),
            col(Message.conversation_id).not_in(busy),
        )
        .group_by(col(Message.conversation_id))
        .order_by(func.min(Message.received_at))
        .limit(limit)
    ).all()
    replays = session.exec(
        select(Turn.conversation_id)
        .where(col(Turn.replay_from).is_not(None), col(Turn.conversation_id).not_in(busy))
        .distinct()
        .limit(limit)
    ).all()
    working = select(Turn.id).where(
        Turn.status == "processing", Turn.crashes >= SUSPECT, col(Turn.step).is_not(None), col(Turn.due_at) >= now
    )
    suspect_at_work = session.exec(working.limit(1)).first() is not None
    overdue = session.exec(
        select(Turn)
        .where(Turn.status == "processing", col(Turn.step).is_not(None), col(Turn.due_at) < now)
        .order_by(col(Turn.due_at), col(Turn.id))
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    found: list[tuple[str, str]] = []
    for turn in overdue:
        if turn.lease is not None:
            turn.crashes, turn.lease = turn.crashes + 1, None
        session.add(turn)
        if turn.crashes >= SUSPECT:
            if suspect_at_work:
                continue
            suspect_at_work = True
        turn.due_at = now + patience
        found.append((turn.id, turn.step or STEPS[0]))
    return Stalled(list(dict.fromkeys([*waiting, *replays])), found)
