"""What the steps see of a turn, and what each of them returns."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.envelope import Kind
from storage.understanding import Part, Problem

Role = Literal["customer", "assistant", "operator"]
#: What the customer's question came as. Several kinds at once count as the first of: image, video, voice, document.
Modality = Literal["text", "image", "voice", "video", "document"]
Mode = Literal["direct", "grounded", "clarify", "smalltalk", "unknown"]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TurnMessage(Frozen):
    """One of the messages a turn answers, in order. ``data``: what a pressed button carries, where the
    text is its title."""

    kind: Kind
    text: str = ""
    data: str | None = None
    files: int = Field(0, description="Files that came with it.")
    parts: tuple[Part, ...] = Field((), description="What was understood of them.")


class Turn(Frozen):
    """The messages one reply answers. ``locale`` is what the channel says of the customer (BCP 47)."""

    id: str
    messages: tuple[TurnMessage, ...]
    locale: str | None = None
    history: tuple[tuple[Role, str], ...] = ()


class Option(Frozen):
    """One of the items offered to choose from. ``id`` None: none of them."""

    id: str | None
    title: str


class Choice(Frozen):
    """What a press or a typed number says about an offer.

    ``outcome``: item, or none of those offered; repeated: chosen and answered before; over: no such offer in this
    conversation. ``offer``: the turn that offered; ``question``: what was asked before.
    """

    outcome: Literal["item", "none", "repeated", "over"]
    offer: str | None = None
    item: str | None = None
    title: str = ""
    question: str = ""


class Classification(Frozen):
    """``language``: of the reply, ``ru`` or ``en``. ``question``: the messages as one readable text, and for a choice
    what was asked before it. ``attached``: the text of documents that came with it. ``problem``: why a file of theirs
    could not be understood."""

    language: Literal["ru", "en"]
    request: Literal["question", "greeting", "thanks", "farewell", "human", "unreadable", "choice"]
    question: str
    choice: Choice | None = None
    modality: Modality = "text"
    attached: str = ""
    problem: Problem | None = None

    @property
    def asked(self) -> str:
        """The question with the documents it may be about: what a model is shown. A search would drown in them."""
        return f"{self.question}\n\n{self.attached}" if self.attached else self.question


class Citation(Frozen):
    """What an answer rests on. ``source`` (a file's path, an address), ``heading`` and ``page`` are of a document."""

    id: str
    title: str
    source: str | None = None
    heading: str | None = None
    page: int | None = None


class Usage(Frozen):
    """What a model call cost. ``cost`` in the ledger's currency; None for a model without a known price."""

    tokens_in: int = 0
    tokens_out: int = 0
    cost: Decimal | None = Decimal(0)
    model: str | None = None
    template: str | None = None
    template_version: str | None = None

    def __add__(self, later: Usage) -> Usage:
        """What both cost together; unpriced where one of them is. Named after the later one where it has a name."""
        summed: dict[str, Any] = {}
        for name in type(self).model_fields:
            mine, other = getattr(self, name), getattr(later, name)
            counted = isinstance(mine, int | float | Decimal) or name == "cost"
            if counted:
                summed[name] = None if mine is None or other is None else mine + other
            else:
                summed[name] = other or mine
        return Usage(**summed)


class Answer(Frozen):
    """What the customer is told. ``flag`` is the cause of a red flag, where a person should look.

    ``options``: what they may choose from. ``repeated``: they have the answer already, and nothing is to be sent.
    """

    text: str
    mode: Mode
    confidence: float = Field(ge=0, le=1)
    citations: tuple[Citation, ...] = ()
    options: tuple[Option, ...] = ()
    repeated: bool = False
    flag: str | None = None
    usage: Usage = Usage()
