"""Whether the database serves, and the counts that the gauges show."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from storage.models import Conversation, Message, Outbox, Quarantine, RedFlag, Turn
from storage.session import Database, DatabaseUnavailable


@dataclass(frozen=True)
class Counts:
    """How much of what there is. ``turns`` and ``outbox`` are by status."""

    waiting: int
    turns: dict[str, int]
    outbox: dict[str, int]
    open_flags: int
    quarantined: int


def check(database: Database) -> None:
    """Raise :class:`DatabaseUnavailable` unless the database answers and has its tables."""
    database.ping()
    try:
        with database.engine.connect() as connection:
            connection.execute(select(Conversation.id).limit(1))
    except SQLAlchemyError as error:
        raise DatabaseUnavailable("the tables are missing or of another version; run `ragline db upgrade`") from error


def counts(session: Session) -> Counts:
    """One look at everything the gauges show."""
    waiting = select(func.count()).where(col(Message.turn_id).is_(None), col(Message.answerable).is_(True))
    turns = select(Turn.status, func.count()).group_by(Turn.status)
    outbox = select(Outbox.status, func.count()).group_by(Outbox.status)
    flags = select(func.count()).where(RedFlag.status == "open")
    return Counts(
        session.exec(waiting).one(),
        dict(session.exec(turns).all()),
        dict(session.exec(outbox).all()),
        session.exec(flags).one(),
        session.exec(select(func.count()).select_from(Quarantine)).one(),
    )
