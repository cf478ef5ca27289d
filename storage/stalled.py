"""Work that nobody is doing: what the broker never got, and what a dead process left behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select
from sqlmodel import col

from storage.models import Message, Turn
from storage.rows import turns
from storage.states import move

#: A step whose process died this often is tried with no other such step beside it: one of them may be the killer.
SUSPECT = 2


@dataclass(frozen=True)
class Stalled:
    """Work nobody is doing: conversations to open, and turns to go on with (id, step)."""

    conversations: list[str]
    turns: list[tuple[str, str]]


def stalled(connection: Connection, *, now: datetime, patience: timedelta, limit: int = 500) -> Stalled:
    """Find what waits without an active turn, and turns whose step is overdue.

    An overdue turn is given ``patience`` more, so that a backlog does not gather a task a sweep. Turns whose step
    has killed :data:`SUSPECT` processes go on one at a time: the innocent among them get through, and a poisonous
    one dies alone.
    """
    busy = select(turns.c.conversation_id).where(turns.c.status == "processing")
    waiting = connection.execute(
        select(col(Message.conversation_id))
        .where(
            col(Message.turn_id).is_(None),
            col(Message.answerable).is_(True),
            col(Message.conversation_id).not_in(busy),
        )
        .group_by(col(Message.conversation_id))
        .order_by(func.min(Message.received_at))
        .limit(limit)
    ).scalars()
    replays = connection.execute(
        select(turns.c.conversation_id)
        .where(turns.c.replay_from.is_not(None), turns.c.conversation_id.not_in(busy))
        .distinct()
        .limit(limit)
    ).scalars()
    working = select(turns.c.id).where(
        turns.c.status == "processing", turns.c.crashes >= SUSPECT, turns.c.step.is_not(None), turns.c.due_at >= now
    )
    suspect_at_work = connection.execute(working.limit(1)).first() is not None
    overdue = connection.execute(
        select(turns.c.id, turns.c.step, turns.c.lease, turns.c.crashes)
        .where(turns.c.status == "processing", turns.c.step.is_not(None), turns.c.due_at < now)
        .order_by(turns.c.due_at, turns.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    found: list[tuple[str, str]] = []
    for turn in overdue:
        crashes = turn.crashes + (turn.lease is not None)
        left_alone = crashes >= SUSPECT and suspect_at_work
        changes: dict[str, Any] = {"lease": None, "crashes": crashes}
        if not left_alone:
            suspect_at_work = suspect_at_work or crashes >= SUSPECT
            changes["due_at"] = now + patience
            found.append((turn.id, turn.step))
        move(connection, Turn, turn.id, "processing", "processing", **changes)
    return Stalled(list(dict.fromkeys([*waiting, *replays])), found)
