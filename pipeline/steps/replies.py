"""Parts that several kinds of answer share: fixed replies with a red flag, and what an answer cites."""

from __future__ import annotations

from pipeline.prompts import load
from pipeline.steps.retrieve import Passage
from pipeline.turn import Answer, Citation


def unknown(name: str, language: str, *, flag: str, confidence: float = 0.0) -> Answer:
    """The fixed reply ``reply_<name>``, which leaves the question to a person."""
    text = load(f"reply_{name}").render(language=language)
    return Answer(text=text, mode="unknown", confidence=confidence, flag=flag)


def citation(passage: Passage) -> Citation:
    """What is cited of a passage."""
    if passage.question:
        return Citation(id=passage.id, title=passage.question)
    title = passage.heading or passage.answer[:80]
    return Citation(
        id=passage.id, title=title, source=passage.source, heading=passage.heading, page=passage.page
    )  # fmt: skip
