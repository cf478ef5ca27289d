"""Retrieve: passages of the knowledge base, best first, and the probability that the best one answers."""

from __future__ import annotations

from pydantic import Field

from pipeline.confidence import Calibration, calibration
from pipeline.search import Candidate, Searcher
from pipeline.turn import Frozen
from storage.visibility import EVERYWHERE, Scope


class Passage(Frozen):
    """One knowledge item. ``question`` is its phrasing nearest to what was asked; None for a document passage.

    ``score``: the probability that this item is the right one, before the question of whether any is. ``source``,
    ``heading`` and ``page`` say where a document passage stands.
    """

    id: str
    score: float = Field(ge=0, le=1)
    question: str | None
    answer: str
    locale: str | None = None
    source: str | None = None
    heading: str | None = None
    page: int | None = None


class Retrieval(Frozen):
    """``confidence``: calibrated probability (0 to 1) that the first passage answers the question."""

    passages: tuple[Passage, ...] = ()
    confidence: float = Field(0.0, ge=0, le=1)


def retrieve(
    question: str, *, searcher: Searcher, k: int, scope: Scope = EVERYWHERE, fitted: Calibration | None = None
) -> Retrieval:
    """The at most ``k`` best items that ``scope`` may see now.

    ``fitted`` defaults to the calibration in the package.
    """
    fitted = fitted or calibration()
    ranked = fitted.rank(question, searcher.search(question, scope))
    passages = tuple(_passage(candidate, score) for candidate, score in ranked[:k])
    return Retrieval(passages=passages, confidence=fitted.confidence(question, ranked))


def _passage(found: Candidate, score: float) -> Passage:
    return Passage(
        id=found.id,
        score=round(score, 6),
        question=found.question,
        answer=found.answer,
        locale=found.locale,
        source=found.source,
        heading=found.heading,
        page=found.page,
    )
