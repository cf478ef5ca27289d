"""How much of what identifies somebody is found, and how much else is taken for it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.masking.recognise import recognise
from tests.support.personal_data import Message

_MARKED = re.compile(r"\{([A-Z]*)\|([^}]*)\}")


@dataclass
class Score:
    """Counts by kind; ``missed`` and ``overmasked``: what went wrong, as (kind or empty, value, text)."""

    seen: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    missed: list[tuple[str, str, str]] = field(default_factory=list)
    overmasked: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """Share of the identifiers of which no letter and no digit is left."""
        return self.found.total() / self.seen.total()


def score(messages: Iterable[Message]) -> Score:
    """The recognisers on labelled messages."""
    result = Score()
    for message in messages:
        hidden = {at for one in recognise(message.text) for at in range(one.start, one.end)}
        for kind, value in message.identifiers:
            begin = message.text.index(value)
            result.seen[kind] += 1
            if all(at in hidden for at in range(begin, begin + len(value)) if message.text[at].isalnum()):
                result.found[kind] += 1
            else:
                result.missed.append((kind, value, message.text))
        for value in message.kept:
            begin = message.text.index(value)
            result.kept += 1
            if hidden & set(range(begin, begin + len(value))):
                result.overmasked.append(("", value, message.text))
    return result


def read_written(path: Path) -> list[Message]:
    """Messages of a file in which ``{KIND|value}`` is an identifier and ``{|value}`` is not."""
    made = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        whole = line.replace("\\n", "\n")
        parts = [(kind, value) for kind, value in _MARKED.findall(whole)]
        text = _MARKED.sub(r"\2", whole)
        identifiers = tuple((kind, value) for kind, value in parts if kind)
        language = "ru" if re.search("[а-яё]", text.lower()) else "en"
        made.append(Message(language, text, identifiers, tuple(value for kind, value in parts if not kind)))
    return made
