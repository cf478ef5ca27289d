"""Retrieve: passages of the knowledge base, best first, and the probability that the best one answers."""

from __future__ import annotations

from pydantic import Field

from pipeline.confidence import Calibration, calibration
from pipeline.search import Searcher
from pipeline.turn import Frozen


class Passage(Frozen):
    """One knowledge item. ``question`` is its phrasing nearest to what was asked; None for a document passage.

    ``score``: the probability that this item is the right one, before the question of whether any is.
    """

    id: str
    score: float = Field(ge=0, le=1)
    question: str | None
    answer: str
    locale: str | None = None


class Retrieval(Frozen):
    """``confidence``: calibrated probability (0 to 1) that the first passage answers the question."""

    passages: tuple[Passage, ...] = ()
    confidence: float = Field(0.0, ge=0, le=1)


def retrieve(question: str, *, searcher: Searcher, k: int, fitted: Calibration | None = None) -> Retrieval:
    """The at most ``k`` best items. ``fitted`` defaults to the calibration in the package."""
    fitted = fitted or calibration()
    ranked = fitted.rank(question, searcher.search(question))
    passages = tuple(
        Passage(id=c.id, score=round(score, 6), question=c.question, answer=c.answer, locale=c.locale)
        for c, score in ranked[:k]
    )
    return Retrieval(passages=passages, confidence=fitted.confidence(question, ranked))
