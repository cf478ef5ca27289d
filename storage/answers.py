"""What became of a message: where it stands, the answer, and what the answer cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any

from sqlmodel import Session, col, select

from storage.models import Message, ModelCall, Outbox, StepRun, Turn


@dataclass(frozen=True)
class Answer:
    """The text that was sent, and how the engine came to it: see :func:`citations`, :func:`options`."""

    text: str
    mode: str | None
    confidence: float | None
    citations: list[dict[str, Any]]
    options: list[dict[str, Any]]


@dataclass(frozen=True)
class Usage:
    """Tokens and cost of all calls of a turn, failed ones too; ``cost``: None where one of them has no known price."""

    tokens_in: int
    tokens_out: int
    cost: Decimal | None
    currency: str = "USD"


@dataclass(frozen=True)
class Said:
    """A line of a person of the company."""

    text: str
    sent_at: datetime | None


@dataclass(frozen=True)
class MessageState:
    """Where a message stands.

    ``status``: accepted | processing | answered | failed | undeliverable | suggested. ``step`` is the step
    at work, or the one that failed. ``notice`` is the line that told the customer about a failure. ``answer``
    and ``usage`` are None until the turn is over.
    """

    message_id: str
    conversation_id: str
    channel: str
    account: str
    status: str
    step: str | None = None
    answer: Answer | None = None
    notice: str | None = None
    operator: tuple[Said, ...] = ()
    usage: Usage | None = None

    @property
    def final(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.status not in ("accepted", "processing")


def message_state(session: Session, message_id: str) -> MessageState | None:
    """Where a message stands; None when there is none of this id."""
    found = session.exec(
        select(Message, Turn).join(Turn, col(Turn.id) == Message.turn_id, isouter=True).where(Message.id == message_id)
    ).first()
    if found is None:
        return None
    message: Message = found[0]
    turn: Turn | None = found[1]
    who = (message_id, message.conversation_id, message.channel, message.account)
    if turn is None:
        return MessageState(*who, status="accepted")
    if turn.status == "processing":
        return MessageState(*who, status=turn.status, step=turn.step)
    sent = session.exec(
        select(Outbox).where(Outbox.turn_id == turn.id, Outbox.status == "sent").order_by(col(Outbox.seq))
    ).all()
    runs = session.exec(select(StepRun).where(StepRun.turn_id == turn.id).order_by(col(StepRun.started_at))).all()
    return MessageState(
        *who,
        status=turn.status,
        step=turn.step,
        answer=_answer(sent, runs, turn.mode),
        notice=_text(sent, "notice"),
        operator=tuple(Said(_line(row), row.sent_at) for row in sent if row.kind == "operator"),
        usage=_usage(session.exec(select(ModelCall).where(ModelCall.turn_id == turn.id)).all(), runs),
    )


def _answer(sent: Sequence[Outbox], runs: Sequence[StepRun], mode: str | None) -> Answer | None:
    text = _text(sent, "answer")
    if text is None:
        return None
    made: Mapping[str, Any] = {}
    for run in runs:
        if run.step == "generate" and run.outcome == "ok":
            made = run.result
    return Answer(text, made.get("mode") or mode, made.get("confidence"), citations(made), options(made))


def citations(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The citations of a generate step's result: [{"id", "title"}], of documents with "source", "heading", "page"."""
    return [
        {"id": item.get("id"), "title": item.get("title")}
        | {name: item[name] for name in ("source", "heading", "page") if item.get(name) is not None}
        for item in result.get("citations") or []
    ]


def options(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a generate step's result offers to choose from: [{"id", "title"}]; id None: none of them."""
    return [{"id": item.get("id"), "title": item.get("title")} for item in result.get("options") or []]


def _line(row: Outbox) -> str:
    return str(row.body.get("text", ""))


def _text(sent: Sequence[Outbox], kind: str) -> str | None:
    parts = [_line(row) for row in sent if row.kind == kind]
    return "\n\n".join(parts) if parts else None


def _usage(calls: Sequence[ModelCall], runs: Sequence[StepRun]) -> Usage:
    """By the ledger of calls; a turn that has none there (it is older, or asked no provider) by its steps."""
    parts: Sequence[ModelCall | StepRun] = calls or runs
    cost: Decimal | None = Decimal(0)
    with localcontext() as context:
        context.prec = 60  # a sum is not rounded
        for part in parts:
            cost = None if cost is None or part.cost is None else cost + part.cost
    currencies = {call.currency for call in calls} or {"USD"}
    tokens = sum(part.tokens_in for part in parts), sum(part.tokens_out for part in parts)
    return Usage(*tokens, cost if len(currencies) == 1 else None, min(currencies))
