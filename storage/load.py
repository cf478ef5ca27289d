"""How much waits for an answer, and how often somebody was answered of late."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import Select, bindparam, func, literal, or_
from sqlalchemy import select as core_select
from sqlmodel import Session, col, select

from ragline.settings import LoadSettings
from storage.models import Message, Turn
from storage.rows import turns

#: normal; short_history: models are shown no earlier conversation; direct_only: no model is asked.
Level = Literal["normal", "short_history", "direct_only"]
#: ``error_class`` of a turn that the rate limit closed unanswered.
LIMITED = "RateLimited"


#: Turns opened in a conversation (``talk``) since a time (``since``), without those the limit closed.
OPENED: Select[Any] = (
    core_select(func.count())
    .select_from(turns)
    .where(
        turns.c.conversation_id == bindparam("talk"),
        turns.c.created_at > bindparam("since"),
        or_(turns.c.error_class.is_(None), turns.c.error_class != LIMITED),
    )
)


def backlog(session: Session, *, most: int) -> int:
    """Messages without a turn and turns at work; counting ends at ``most``."""
    waiting = select(literal(1)).where(col(Message.turn_id).is_(None), col(Message.answerable).is_(True)).limit(most)
    active = select(literal(1)).where(Turn.status == "processing").limit(most)
    counts = [select(func.count()).select_from(part.subquery()) for part in (waiting, active)]
    return min(most, sum(session.exec(count).one() for count in counts))


def level_of(waiting: int, settings: LoadSettings) -> Level:
    """The step of degradation a backlog asks for."""
    if waiting >= settings.direct_only:
        return "direct_only"
    return "short_history" if waiting >= settings.short_history else "normal"


def load_level(session: Session, settings: LoadSettings) -> tuple[int, Level]:
    """The backlog (counted up to the last step) and the level it asks for."""
    found = backlog(session, most=max(settings.direct_only, settings.short_history))
    return found, level_of(found, settings)


def last_was_limited(session: Session, conversation_id: str, *, before: str) -> bool:
    """Whether the turn before ``before`` was closed by the limit: its customer has been told."""
    last = select(Turn.error_class).where(Turn.conversation_id == conversation_id, Turn.id != before)
    return session.exec(last.order_by(col(Turn.created_at).desc(), col(Turn.id).desc()).limit(1)).first() == LIMITED
