"""What a search finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """One item with its best similarities to the question, all 0 to 1.

    ``dense``: cosine of its nearest text; ``near``: mean over its nearest ones. ``stems`` and ``letters``: of its
    phrasings (or passage); ``whole_…``: of its phrasings and answer together; ``part_…``: of the best sentence of its
    answer. ``unlisted``: of the words of a Russian question that the glossary does not list, mostly names and terms.
    ``exact``: a phrasing has the same words. ``known``: share of the question's words that the base has.
    ``source``, ``heading`` and ``page`` are of a document passage: what is cited.
    """

    id: str
    question: str | None
    answer: str
    locale: str | None
    dense: float
    near: float
    stems: float
    letters: float
    whole_stems: float
    whole_letters: float
    part_stems: float
    part_letters: float
    unlisted: float
    exact: bool
    passage: bool
    known: float
    source: str | None = None
    heading: str | None = None
    page: int | None = None


@dataclass(frozen=True)
class Thresholds:
    """Confidence from which an answer is sent as written, and from which a model is asked over the passages."""

    direct: float = 1.0
    grounded: float = 1.0

    @classmethod
    def of(cls, points: Sequence[tuple[float, float]], grounded: float, max_wrong_direct: float) -> Thresholds:
        """The lowest threshold at which direct answers were wrong at most that often where it was fitted.

        ``points``: thresholds in ascending order, and the share of answers at or above each that were wrong.
        """
        fitting = [threshold for threshold, wrong in points if wrong <= max_wrong_direct]
        direct = min(fitting, default=points[-1][0] if points else 1.0)
        return cls(direct=direct, grounded=min(grounded, direct))


@dataclass(frozen=True)
class Found:
    """Candidates with their scores (0 to 1), best first, and the probability that the first one answers."""

    ranked: tuple[tuple[Candidate, float], ...] = ()
    confidence: float = 0.0
    thresholds: Thresholds = Thresholds()
