"""Whom a turn's model calls are paid for."""

from __future__ import annotations

from pipeline.llm import LanguageModel
from pipeline.metering import metered
from storage.spending import Payer
from storage.steps import Claim
from workers.runtime import Runtime


def payer_of(held: Claim, message_id: str | None = None) -> Payer:
    """Who pays for calls of this attempt; ``message_id``: the message that a call makes readable."""
    talk, turn = held.conversation, held.turn
    sender = held.messages[-1].envelope["sender"]["id"] if held.messages else None
    return Payer(
        turn_id=turn.id, step=held.step, round=turn.round, attempt=held.attempt, message_id=message_id,
        conversation_id=talk.id, channel=talk.channel, account=talk.account, sender=sender and sender[:200],
    )  # fmt: skip


def paid_model(runtime: Runtime, held: Claim, message_id: str | None = None) -> LanguageModel | None:
    """The language model whose calls are paid from this turn's budgets; None where there is none."""
    if runtime.model is None:
        return None
    return metered(runtime.model, runtime.spending.meter(payer_of(held, message_id)))
