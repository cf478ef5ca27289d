"""Notes on the older part of a conversation, of that conversation alone."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session

from storage.models import ConversationSummary

_notes = ConversationSummary.__table__  # type: ignore[attr-defined]


def read(session: Session, conversation_id: str, *, before_seq: int) -> tuple[str, int]:
    """The notes and the seq they go up to; empty and 0 where there are none, or where they tell of ``before_seq`` and
    after: a replay answers from what was known then."""
    found = session.get(ConversationSummary, conversation_id)
    return (found.text, found.upto) if found and found.upto < before_seq else ("", 0)


def keep(connection: Connection, conversation_id: str, text: str, upto: int, *, now: datetime) -> None:
    """Put notes in the place of those that go less far."""
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(_notes)
    values = {"text": text, "upto": upto, "updated_at": now}
    connection.execute(
        insert.values(conversation_id=conversation_id, **values).on_conflict_do_update(
            index_elements=["conversation_id"], set_=values, where=_notes.c.upto < upto
        )
    )
