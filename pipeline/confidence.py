"""From similarities to a probability: two small logistic models, fitted by ``bench/calibrate_confidence.py``.

The first ranks candidates by the probability of being the right item. The second takes the best one's similarities
and its lead over the second, and gives the probability that it answers the question at all. Platt scaling:
https://en.wikipedia.org/wiki/Platt_scaling
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from pipeline.search import Candidate
from storage.lexical import normalise


@dataclass(frozen=True)
class Thresholds:
    """Confidence from which an answer is sent as written, and from which a model is asked over the passages."""

    direct: float
    grounded: float


def candidate_features(question: str, candidate: Candidate) -> list[float]:
    """What the ranking model sees. Similarities count differently in Cyrillic, which the packaged model cannot read."""
    own = [candidate.dense, candidate.stems, candidate.trigrams, float(candidate.exact)]
    cyrillic = float(is_cyrillic(question))
    return [*own, cyrillic, *(cyrillic * value for value in own[:3])]


def answer_features(question: str, ranked: Sequence[tuple[Candidate, float]]) -> list[float]:
    """What the confidence model sees of the best candidate and of its lead."""
    best, score = ranked[0]
    second = ranked[1][1] if len(ranked) > 1 else 0.0
    words = min(len(normalise(question).split()), 20)
    return [*candidate_features(question, best), _logit(score), _logit(score) - _logit(second), math.log1p(words)]


def is_cyrillic(text: str) -> bool:
    """Whether most letters of a text are Cyrillic."""
    letters = [letter for letter in text.lower() if letter.isalpha()]
    return 2 * sum("а" <= letter <= "я" or letter in "ёіїєґў" for letter in letters) > len(letters)


@dataclass(frozen=True)
class Calibration:
    """Coefficients (the last one is the intercept) and operating points (threshold, wrong-direct rate)."""

    ranking: tuple[float, ...]
    answering: tuple[float, ...]
    operating_points: tuple[tuple[float, float], ...]
    grounded: float

    def rank(self, question: str, candidates: Sequence[Candidate]) -> list[tuple[Candidate, float]]:
        """Candidates with their scores (0 to 1), best first; ids break ties, so that the order is stable."""
        scored = [(c, _sigmoid(_dot(self.ranking, candidate_features(question, c)))) for c in candidates]
        return sorted(scored, key=lambda pair: (-pair[1], pair[0].id))

    def confidence(self, question: str, ranked: Sequence[tuple[Candidate, float]]) -> float:
        """Probability that the best candidate answers; 0 without candidates."""
        if not ranked:
            return 0.0
        return round(_sigmoid(_dot(self.answering, answer_features(question, ranked))), 6)

    def thresholds(self, max_wrong_direct: float) -> Thresholds:
        """The lowest threshold whose direct answers were wrong at most that often where it was fitted."""
        fitting = [point for point, wrong in self.operating_points if wrong <= max_wrong_direct]
        direct = min(fitting, default=self.operating_points[-1][0])
        return Thresholds(direct=direct, grounded=min(self.grounded, direct))


@lru_cache(maxsize=1)
def calibration() -> Calibration:
    """The calibration in the package."""
    read = json.loads(files("pipeline").joinpath("confidence.json").read_text(encoding="utf-8"))
    return Calibration(
        ranking=tuple(read["ranking"]),
        answering=tuple(read["answering"]),
        operating_points=tuple((float(t), float(w)) for t, w in read["operating_points"]),
        grounded=float(read["grounded"]),
    )


def thresholds(max_wrong_direct: float) -> Thresholds:
    """Thresholds of the packaged calibration."""
    return calibration().thresholds(max_wrong_direct)


def _dot(weights: Sequence[float], features: Sequence[float]) -> float:
    return sum(w * x for w, x in zip(weights, [*features, 1.0], strict=True))


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, value))))


def _logit(probability: float) -> float:
    clipped = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(clipped / (1 - clipped))
