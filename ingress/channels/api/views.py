"""What a caller of the JSON channel is shown of a message."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from storage.answers import MessageState

#: What is said of a failure. The reason itself, which may name providers and models, is for the console.
FAILED = "the answer could not be made or sent (step {step}); the message is kept, and a person has been told"
UNDELIVERABLE = "the customer could not be reached; the answer is kept"


class Citation(BaseModel):
    """What the answer rests on; the last three where it is a passage of a document."""

    id: str | None
    title: str | None
    source: str | None = Field(None, description="Path of the file in its folder, or address of the page.")
    heading: str | None = Field(None, description="Title and headings the passage stands under.")
    page: int | None = Field(None, description="Page of the document, from 1.")


class OptionView(BaseModel):
    id: str | None = Field(description="Of the knowledge item; null: none of them.")
    title: str | None


class AnswerView(BaseModel):
    text: str
    mode: Literal["direct", "grounded", "clarify", "smalltalk", "unknown"] | None
    confidence: float | None
    citations: list[Citation]
    options: list[OptionView] = Field(
        [], description="Mode clarify: the numbered list of the text. Its number as the next message chooses."
    )


class UsageView(BaseModel):
    tokens_in: int
    tokens_out: int
    cost: str | None = Field(description="Unrounded; null where what a call cost is not known.")
    currency: str = Field(description="What the cost is in: llm.currency.")


class OperatorLine(BaseModel):
    text: str
    sent_at: str | None


class MessageView(BaseModel):
    """Where a message stands. ``answer`` and ``usage`` come when it is over, ``error`` when it failed."""

    message_id: str
    status: Literal["accepted", "processing", "answered", "failed", "undeliverable", "suggested"]
    step: Literal["understand", "classify", "retrieve", "generate", "deliver"] | None = None
    duplicate: bool = Field(False, description="This id was accepted before.")
    answer: AnswerView | None = None
    usage: UsageView | None = None
    error: str | None = None
    notice: str | None = Field(None, description="What the customer was told about the failure.")
    operator: list[OperatorLine] = Field([], description="What a person of the company answered.")


def view(state: MessageState) -> dict[str, Any]:
    """The message as JSON; what there is nothing to say about is left out."""
    shown: dict[str, Any] = {"message_id": state.message_id, "status": state.status}
    if state.status in ("processing", "failed", "undeliverable"):
        shown["step"] = state.step
    if state.answer:
        answer = state.answer
        shown["answer"] = {
            "text": answer.text,
            "mode": answer.mode,
            "confidence": answer.confidence,
            "citations": answer.citations,
        }
        if answer.options:
            shown["answer"]["options"] = answer.options
    if state.usage:
        usage = state.usage
        shown["usage"] = {
            "tokens_in": usage.tokens_in,
            "tokens_out": usage.tokens_out,
            "cost": None if usage.cost is None else format(usage.cost, "f"),
            "currency": usage.currency,
        }
    if state.status == "failed":
        shown["error"] = FAILED.format(step=state.step)
    if state.status == "undeliverable":
        shown["error"] = UNDELIVERABLE
    if state.notice:
        shown["notice"] = state.notice
    if state.operator:
        shown["operator"] = [
            {"text": line.text, "sent_at": line.sent_at.isoformat() if line.sent_at else None}
            for line in state.operator
        ]
    return shown
