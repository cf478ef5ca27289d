"""Red flags: a question nobody answered well, for a person to look at."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Update, bindparam, exists, select

from ragline.ids import new_id
from storage.rows import TurnRow, red_flags

_PRESENT: Select[Any] = select(red_flags.c.id, red_flags.c.status).where(
    red_flags.c.turn_id == bindparam("turn_id"), red_flags.c.cause == bindparam("cause")
)
_REOPEN: Update = red_flags.update().where(red_flags.c.id == bindparam("flag_id")).values(status="open")
#: What an answer that arrives after all settles.
_unanswered = (
    red_flags.c.turn_id == bindparam("of_turn"),
    red_flags.c.cause.in_(("step_failed", "undeliverable")),
    red_flags.c.status == "open",
)
#: Whether a turn (``of_turn``) has flags for :func:`settle`.
SAID_UNANSWERED: ColumnElement[bool] = exists().where(*_unanswered)
_SETTLE: Update = red_flags.update().where(*_unanswered).values(status="resolved")


def raise_flag(
    connection: Connection, turn: TurnRow, cause: str, *, question: str, message_id: str | None, now: datetime
) -> None:
    """One red flag a turn and cause; one that was closed is open again."""
    present = connection.execute(_PRESENT, {"turn_id": turn.id, "cause": cause}).first()
    if present is not None:
        connection.execute(_REOPEN, {"flag_id": present.id})
        return
    flag = {
        "id": new_id(), "turn_id": turn.id, "conversation_id": turn.conversation_id, "message_id": message_id,
        "cause": cause, "status": "open", "question": question, "created_at": now,
    }  # fmt: skip
    connection.execute(red_flags.insert(), flag)


def settle(connection: Connection, turn_id: str) -> None:
    """Close the flags that said the customer had got no answer."""
    connection.execute(_SETTLE, {"of_turn": turn_id})
