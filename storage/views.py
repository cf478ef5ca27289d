"""What commands and the console list."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import func
from sqlmodel import Session, col, select

from storage.models import Conversation, Message, RedFlag, Turn


def list_messages(
    session: Session, *, failed: bool = False, conversation: str | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """The newest ``limit`` messages (0: all), oldest first, with where each stands.

    ``conversation`` is a conversation's id or the channel's own key of it.
    """
    query = (
        select(Message, Conversation, Turn)
        .join(Conversation, col(Conversation.id) == Message.conversation_id)
        .outerjoin(Turn, col(Turn.id) == Message.turn_id)
        .order_by(col(Message.received_at).desc(), col(Message.id).desc())
    )
    if failed:
        query = query.where(col(Turn.status).in_(("failed", "undeliverable")))
    if conversation:
        query = query.where((col(Conversation.id) == conversation) | (col(Conversation.key) == conversation))
    rows = session.exec(query.limit(limit) if limit else query).all()
    return [_message(message, found, turn) for message, found, turn in reversed(rows)]


def _message(message: Message, conversation: Conversation, turn: Turn | None) -> dict[str, Any]:
    return {
        "id": message.id,
        "channel": message.channel,
        "account": message.account,
        "conversation": conversation.key,
        "conversation_id": conversation.id,
        "external_id": message.external_id,
        "seq": message.seq,
        "kind": message.kind,
        "turn_id": message.turn_id,
        "status": turn.status if turn else "accepted",
        "step": turn.step if turn else None,
        "error": turn.error if turn else None,
        "received_at": message.received_at.isoformat(),
        "answered_at": turn.closed_at.isoformat() if turn and turn.closed_at and turn.status == "answered" else None,
    }


def list_flags(session: Session, *, status: str = "open", limit: int = 0) -> list[dict[str, Any]]:
    """Red flags, oldest first; ``limit`` 0: all."""
    query = (
        select(RedFlag, Conversation.key)
        .join(Conversation, col(Conversation.id) == RedFlag.conversation_id)
        .where(RedFlag.status == status)
        .order_by(col(RedFlag.created_at), col(RedFlag.id))
    )
    return [
        {
            "id": flag.id,
            "cause": flag.cause,
            "status": flag.status,
            "question": flag.question,
            "conversation": key,
            "conversation_id": flag.conversation_id,
            "message_id": flag.message_id,
            "created_at": flag.created_at.isoformat(),
        }
        for flag, key in session.exec(query.limit(limit) if limit else query).all()
    ]


def answered_questions(session: Session, limit: int) -> list[tuple[str, ...]]:
    """The newest ``limit`` distinct questions that got an answer, newest first: the texts of each turn's messages.

    Looked for among twenty times as many turns: many customers ask the same.
    """
    answered = select(Turn.id).where(Turn.status == "answered")
    newest = answered.order_by(col(Turn.created_at).desc(), col(Turn.id).desc())
    turns = session.exec(newest.limit(20 * limit)).all()
    found: dict[tuple[str, ...], None] = {}
    for start in range(0, len(turns), 500):
        chunk = turns[start : start + 500]
        texts: dict[str, list[str]] = {}
        messages = select(Message.turn_id, Message.text).where(col(Message.turn_id).in_(chunk), Message.text != "")
        for turn_id, text in session.exec(messages.order_by(col(Message.seq))):
            texts.setdefault(str(turn_id), []).append(text)
        for turn_id in chunk:
            if turn_id in texts and len(found) < limit:
                found[tuple(texts[turn_id])] = None
        if len(found) == limit:
            break
    return list(found)


class FlagContext(NamedTuple):
    """A red flag's question and where it was asked. ``before_seq``: the first line of its turn."""

    question: str
    conversation_id: str
    channel: str
    account: str
    before_seq: int


def flag_context(session: Session, flag_id: str) -> FlagContext | None:
    """What a draft of an answer to a flagged question needs to know; None for a flag that is not there."""
    found = session.exec(
        select(RedFlag, Conversation)
        .join(Conversation, col(Conversation.id) == RedFlag.conversation_id)
        .where(RedFlag.id == flag_id)
    ).first()
    if found is None:
        return None
    flag, talk = found
    first = session.exec(select(func.min(Message.seq)).where(Message.turn_id == flag.turn_id)).one()
    return FlagContext(flag.question, talk.id, talk.channel, talk.account, first or 0)
