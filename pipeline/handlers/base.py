"""What a handler is given, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal, Protocol

from pipeline.errors import NotUnderstood, ProviderRefused, ProviderUnavailable
from pipeline.llm import Audio, LanguageModel, Transcript
from pipeline.turn import Usage
from ragline.settings import MediaSettings
from storage.understanding import Part

FileKind = Literal["photo", "voice", "audio", "video", "document"]
#: What transcribes a recording: raises as ``LanguageModel.transcribe`` does.
Transcribe = Callable[[Audio, str | None], Transcript]


@dataclass(frozen=True)
class File:
    """A file of a customer on this machine's disk. ``kind`` is what the channel calls it, ``parser`` a document's.

    ``message_id``: the message it came with. ``known``: what an earlier attempt found, where it could not read it all.
    """

    path: Path
    kind: FileKind
    name: str | None = None
    parser: str = ""
    message_id: str = ""
    known: Part | None = None


@dataclass(frozen=True)
class Tools:
    """The collaborators of a handler. ``language``: of the customer, ``ru`` or ``en``; ``words``: what they wrote.

    ``paid_for``: the same tools, whose calls are booked on the message of this id.
    """

    settings: MediaSettings
    model: LanguageModel | None
    transcribe: Transcribe | None
    language: str
    words: str = ""
    paid_for: Callable[[str], Tools] | None = None

    def of(self, file: File) -> Tools:
        """The tools whose calls are booked on the message of a file."""
        return self.paid_for(file.message_id) if self.paid_for else self

    def seeing(self) -> LanguageModel:
        """The model that looks at pictures. Raises ``NotUnderstood`` where there is none."""
        if self.model is None:
            raise NotUnderstood("no_model")
        return self.model

    def hearing(self) -> Transcribe:
        """What transcribes. Raises ``NotUnderstood`` where there is nothing that does."""
        if self.transcribe is None:
            raise NotUnderstood("no_model")
        return self.transcribe


class OnlyHeard(Exception):
    """A film without a word whose pictures no model described. ``part``: what was paid for; ``error``: why."""

    def __init__(self, part: Part, error: ProviderUnavailable | ProviderRefused) -> None:
        super().__init__(str(error))
        self.part, self.error = part, error


class Handler(Protocol):
    """Reads files of one content; several at once where one call can."""

    def __call__(self, files: Sequence[File], tools: Tools) -> list[Part]:
        """A part for each file, in order.

        Raises ``NotUnderstood`` or ``BudgetSpent`` (the customer is told), a ``TransientError`` (worth a retry), or
        :class:`OnlyHeard`.
        """
        ...


def with_cost(part: Part, *usages: Usage) -> Part:
    """The part with what was paid for it; of an unpriced call the cost of all is not known."""
    costs = [usage.cost for usage in usages]
    known = [cost for cost in costs if cost is not None]
    return part.model_copy(
        update={
            "tokens_in": sum(usage.tokens_in for usage in usages),
            "tokens_out": sum(usage.tokens_out for usage in usages),
            "cost": sum(known, Decimal(0)) if len(known) == len(costs) else None,
            "model": next((usage.model for usage in usages if usage.model), None),
        }
    )


def usage_of(part: Part) -> Usage:
    """What was paid for a part."""
    return Usage(tokens_in=part.tokens_in, tokens_out=part.tokens_out, cost=part.cost, model=part.model)
