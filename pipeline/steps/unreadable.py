"""What is said about files that could not be understood: nothing is tried again, so the customer hears why."""

from __future__ import annotations

from typing import Protocol

from pipeline.prompts import load
from pipeline.turn import Answer, Classification
from storage.understanding import Problem


class Limits(Protocol):
    """What of the answer policy a customer may have to know: megabytes and minutes."""

    @property
    def largest(self) -> int: ...
    @property
    def longest(self) -> int: ...


def unreadable(classification: Classification, limits: Limits) -> Answer:
    """The answer where nothing of a turn could be read."""
    text = _text(classification, limits, alone=True)
    return Answer(text=text, mode="unknown", confidence=0.0, flag=flag_of(classification.problem))


def told(answer: Answer, classification: Classification, limits: Limits) -> Answer:
    """The answer to what could be read, with a line about what could not."""
    if classification.problem is None or classification.request == "unreadable" or answer.repeated:
        return answer
    text = f"{answer.text}\n\n{_text(classification, limits, alone=False)}"
    return answer.model_copy(update={"text": text, "flag": answer.flag or flag_of(classification.problem)})


def flag_of(problem: Problem | None) -> str:
    """The cause of the red flag."""
    return "budget" if problem == "budget" else "unreadable"


def _text(classification: Classification, limits: Limits, *, alone: bool) -> str:
    return load("reply_unreadable").render(
        language=classification.language,
        problem=classification.problem or "",
        largest=limits.largest,
        longest=limits.longest,
        alone=alone,
    )
