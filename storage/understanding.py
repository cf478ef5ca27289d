"""What was understood of a message's files: kept on the message, one part a file, and read by every later turn.

It is paid for once: a part without a problem is never made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, Update, bindparam

from ragline.errors import PermanentError
from storage.rows import messages

#: Characters of a document shown among the earlier lines of a conversation.
LONGEST_LINE = 1500

#: Why a file could not be understood. ``too_large``: bytes; ``too_long``: seconds; ``type``: of a kind nobody reads;
#: ``gone``: the channel no longer has it; ``silent``: nothing can be heard or seen in it; ``no_model``: none is set
#: for it; ``budget``: it is spent.
Problem = Literal["too_large", "too_long", "type", "broken", "locked", "gone", "silent", "no_model", "budget"]


class NotUnderstood(PermanentError):
    """A customer's file that cannot be read. No failure of the turn: the customer is told why, and what to do."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"a file cannot be understood: {problem}")
        self.problem = problem

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.problem,)


class Part(BaseModel):
    """What one file says. ``heard``: speech, word for word; ``seen``: what a model says of pictures; ``read``: text of
    a document.

    ``wordless``: its sound was transcribed, and held not a word. ``shared``: a picture described together with others,
    in the part of the first of them. ``cost`` is in the ledger's currency, None for a model without a known price.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["photo", "voice", "audio", "video", "document"]
    name: str | None = None
    heard: str = ""
    seen: str = ""
    read: str = ""
    shared: bool = False
    wordless: bool = False
    language: str | None = None
    problem: Problem | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    cost: Decimal | None = Decimal(0)
    model: str | None = None


_KEEP: Update = (
    messages.update().where(messages.c.id == bindparam("message_id")).values(understood=bindparam("understood"))
)


def keep(connection: Connection, message_id: str, parts: Sequence[Part | None]) -> None:
    """Store what the files of a message say, in their order; None: not read yet."""
    values = [part.model_dump(mode="json", exclude_defaults=True) if part else {} for part in parts]
    connection.execute(_KEEP, {"message_id": message_id, "understood": values})


def parts_of(understood: Sequence[dict[str, Any]] | None) -> list[Part | None]:
    """The parts as they were kept; None for a file nobody has read yet."""
    return [Part.model_validate(part) if part else None for part in understood or ()]


def as_line(text: str, understood: Sequence[dict[str, Any]] | None) -> str:
    """A message with files as one line of a conversation: its words, and what its files say in square brackets.

    Speech counts as the customer's words.
    """
    lines = [text]
    for part in parts_of(understood):
        if part is None or part.shared:
            continue
        label = f"{part.kind} {part.name}" if part.name and part.kind == "document" else part.kind
        read = part.read if len(part.read) <= LONGEST_LINE else f"{part.read[:LONGEST_LINE]}…"
        lines.append(part.heard)
        if part.seen or read:
            lines.append(f"[{label}: {part.seen or read}]")
        elif part.problem:
            lines.append(f"[{label}, not understood]")
    return "\n".join(line for line in lines if line.strip())
