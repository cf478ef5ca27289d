"""What a model is shown of the earlier conversation: its newest lines word for word, and notes on what came before.

The notes are written by a model, and only once the lines that are not in them have outgrown the window by half: then
the older ones go into the notes, and nothing is paid again until as many have come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pipeline.llm import LanguageModel
from pipeline.prompts import as_data, block_key, ledger_version, load
from pipeline.turn import Role, Usage
from ragline.errors import RaglineError
from ragline.logs import get_logger

log = get_logger(__name__)

#: By what share of the window lines may outgrow it before the older ones are summed up.
MARGIN = 0.5
#: Lines that are read at most; of so many the older third goes into the notes, short as they are.
LINES = 60
#: Tokens of the notes at most.
SUMMARY_TOKENS = 500
#: Of what is summed up at once: windows in all, characters of one line.
_WINDOWS, _LINE = 4, 4000


class Line(NamedTuple):
    """One line of a conversation; ``seq`` is its place in it."""

    seq: int
    role: Role
    text: str


@dataclass(frozen=True)
class Past:
    """A conversation so far: notes on its lines up to ``upto``, and the lines after that, oldest first."""

    summary: str = ""
    upto: int = 0
    lines: Sequence[Line] = ()


class Memory(Protocol):
    """The past of one conversation."""

    def read(self) -> Past: ...

    def keep(self, summary: str, upto: int) -> None:
        """Notes on the lines up to ``upto``, in the place of earlier ones."""
        ...


_NOTHING = Usage()


@dataclass(frozen=True)
class Remembered:
    """What goes into a prompt. ``usage``: of the notes, where they were written anew."""

    summary: str = ""
    lines: Sequence[tuple[Role, str]] = ()
    usage: Usage = _NOTHING

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.lines] + ([self.summary] if self.summary else [])


def remember(memory: Memory | None, *, tokens: int, model: LanguageModel) -> Remembered:
    """The past that fits into about ``tokens`` tokens. Without notes where they cannot be written."""
    if memory is None or tokens <= 0:
        return Remembered()
    past = memory.read()
    costs = [model.count_tokens(f"{line.role}: {line.text}\n") for line in past.lines]
    full = len(costs) >= LINES
    if sum(costs) <= tokens * (1 + MARGIN) and not full:
        return Remembered(past.summary, [(line.role, line.text) for line in past.lines])
    first = len(costs)
    while first and sum(costs[first - 1 :]) <= tokens:
        first -= 1
    first = max(first, len(costs) // 3 if full else 0)
    shown = [(line.role, line.text) for line in past.lines[first:]]
    try:
        summary, usage = _summed_up(past.summary, _newest(past.lines[:first], costs[:first], tokens * _WINDOWS), model)
    except RaglineError as error:
        log.warning("history_not_summarised", error=type(error).__name__)
        return Remembered(past.summary, shown)
    memory.keep(summary, past.lines[first - 1].seq)
    return Remembered(summary, shown, usage)


def _newest(lines: Sequence[Line], costs: Sequence[int], tokens: int) -> Sequence[Line]:
    first = len(lines)
    while first and (sum(costs[first - 1 :]) <= tokens or first == len(lines)):
        first -= 1
    return lines[first:]


def _summed_up(summary: str, lines: Sequence[Line], model: LanguageModel) -> tuple[str, Usage]:
    template = load("history_summary")
    before, said = as_data(summary), [(line.role, as_data(line.text[:_LINE])) for line in lines]
    key = block_key(before, *(text for _, text in said))
    completion = model.complete(
        template.messages(key=key, summary=before, history=said), max_tokens=SUMMARY_TOKENS, purpose="summary"
    )
    named = {"template": template.name, "template_version": ledger_version(template)}
    return completion.text.strip(), completion.usage.model_copy(update=named)
