"""What a model call costs: the call before it is made, what came of it, and the meter it is paid from."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, Protocol

Purpose = Literal["answer", "classify", "check", "summary", "draft", "caption", "transcribe", "embed"]
#: What a call is written down as: those of commands that try models out are apart from those for customers.
Booked = Purpose | Literal["probe", "evaluate"]
Modality = Literal["text", "image", "voice", "video"]


@dataclass(frozen=True)
class Quote:
    """A call that is about to be made, and the most that it can use. ``model`` is LiteLLM's name of it."""

    model: str
    purpose: Booked
    modality: Modality = "text"
    tokens_in: int = 0
    max_tokens_out: int = 0
    audio_seconds: float = 0.0
    images: int = 0


@dataclass(frozen=True)
class Used:
    """What a call used, as its provider counted it.

    Of ``tokens_in``, ``tokens_cached`` were read from the provider's cache and ``tokens_cache_write`` written into it.
    ``cost`` is in US dollars, None for a
    model without a known price; ``price_source`` says where the price is from.
    """

    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    audio_seconds: float = 0.0
    images: int = 0
    cost: Decimal | None = field(default_factory=Decimal)
    price_source: str | None = None
    tokens_cache_write: int = 0


class Reservation(Protocol):
    """Money set aside for one call. Ends by exactly one of both."""

    def settle(self, used: Used, *, ms: float) -> Decimal | None:
        """The call was answered and used this. Returns its cost in the ledger's currency; None: it is unpriced."""
        ...

    def release(self, error: str, *, ms: float, charged: bool = False) -> None:
        """The call failed with an error of this class. ``charged``: it may have been paid for all the same."""
        ...


class Meter(Protocol):
    """What calls are paid from: the budgets of one turn's account, conversation and sender."""

    def reserve(self, quote: Quote) -> Reservation:
        """Set the most that the call can cost aside. Raises ``BudgetSpent`` where a budget does not hold it."""
        ...
