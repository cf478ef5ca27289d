"""A conversation as its customer sees it: what was written and what was sent, in one order."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import exists
from sqlmodel import Session, col, select

from storage.answers import citations
from storage.models import Conversation, Message, Outbox, StepRun, Turn

#: Lines read at once at most.
PAGE = 200


@dataclass(frozen=True)
class Line:
    """One message of either side. ``client_id`` is the id the visitor's page gave it; ``buttons`` [{"title", "data"}]
    are what the visitor may choose from; ``files`` [{"type", "name", "size"}] what came with it."""

    seq: int
    id: str
    role: Literal["visitor", "assistant", "operator"]
    text: str
    sent_at: datetime
    client_id: str | None = None
    citations: list[dict[str, Any]] = field(default_factory=list)
    buttons: list[dict[str, Any]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Look:
    """What is new in a conversation. ``more``: the page is full, look again after its last line. ``turn``: the one
    at work, whose text may be shown as it is written."""

    conversation_id: str
    lines: list[Line]
    typing: bool
    more: bool
    turn: str | None = None


def look(session: Session, *, channel: str, account: str, key: str, after: int, newest: bool = False) -> Look | None:
    """The lines numbered above ``after``, oldest first, and whether an answer is on its way.

    At most :data:`PAGE` lines: the first ones, or with ``newest`` the last ones. None: no such conversation.
    """
    conversation = session.exec(
        select(Conversation.id, Conversation.last_seq, Conversation.mode).where(
            Conversation.channel == channel, Conversation.account == account, Conversation.key == key
        )
    ).first()
    if conversation is None:
        return None
    conversation_id, last_seq, mode = conversation
    lines = _lines(session, conversation_id, after, newest) if last_seq > after else []
    # In human mode what is at work is a suggestion for the operator.
    turn, waiting = _at_work(session, conversation_id) if mode == "bot" else (None, False)
    shown = lines[:PAGE] if not newest else lines[-PAGE:]
    return Look(conversation_id, shown, bool(turn or waiting), len(lines) > PAGE, turn)


def _lines(session: Session, conversation_id: str, after: int, newest: bool) -> list[Line]:
    written = select(Message).where(
        Message.conversation_id == conversation_id, Message.seq > after, col(Message.kind).not_in(("edit", "event"))
    )
    sent = select(Outbox).where(
        Outbox.conversation_id == conversation_id, col(Outbox.seq) > after, Outbox.status == "sent"
    )
    if newest:
        written, sent = written.order_by(col(Message.seq).desc()), sent.order_by(col(Outbox.seq).desc())
    else:
        written, sent = written.order_by(col(Message.seq)), sent.order_by(col(Outbox.seq))
    lines = [
        Line(
            row.seq,
            row.id,
            "operator" if row.kind == "outgoing" else "visitor",
            row.text,
            row.received_at,
            row.external_id,
            files=[{name: one.get(name) for name in ("type", "name", "size")} for one in row.envelope.get("media", ())],
        )
        for row in session.exec(written.limit(PAGE + 1))
    ]
    rows = session.exec(sent.limit(PAGE + 1)).all()
    cited = _citations(session, {row.turn_id for row in rows if row.kind == "answer"})
    lines += [
        Line(
            row.seq or 0,
            row.id,
            "operator" if row.kind == "operator" else "assistant",
            str(row.body.get("text", "")),
            row.sent_at or row.created_at,
            citations=cited.get(row.turn_id, []) if row.kind == "answer" else [],
            buttons=row.body.get("buttons") or [],
        )
        for row in rows
    ]
    return sorted(lines, key=lambda line: line.seq)


def _citations(session: Session, turns: set[str]) -> dict[str, list[dict[str, Any]]]:
    if not turns:
        return {}
    runs = session.exec(
        select(StepRun.turn_id, StepRun.result)
        .where(col(StepRun.turn_id).in_(sorted(turns)), StepRun.step == "generate", StepRun.outcome == "ok")
        .order_by(col(StepRun.started_at))
    )
    return {turn_id: citations(result) for turn_id, result in runs}


def turn_at_work(session: Session, conversation_id: str) -> str | None:
    """The turn whose text its customer may be shown as it is written; None in ``human`` mode too."""
    talk = select(Conversation.mode).where(Conversation.id == conversation_id)
    return _at_work(session, conversation_id)[0] if session.exec(talk).first() == "bot" else None


def _at_work(session: Session, conversation_id: str) -> tuple[str | None, bool]:
    """The active turn, and whether messages wait for one."""
    active = select(Turn.id).where(Turn.conversation_id == conversation_id, Turn.status == "processing")
    waiting = exists().where(
        col(Message.conversation_id) == conversation_id,
        col(Message.turn_id).is_(None),
        col(Message.answerable).is_(True),
    )
    turn, waits = session.exec(select(active.scalar_subquery(), waiting)).one()
    return turn, bool(waits)
