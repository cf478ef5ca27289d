"""From similarities to a ranking and a probability that its first item answers.

Items the trained head knows are ranked by it, others by a packaged model (fitted by ``bench/calibrate_confidence.py``)
that weighs similarities: one set of weights for questions in Cyrillic, which the packaged embedding model cannot read,
one for others, one for Cyrillic questions to passages. Both give probabilities, so that the two lists join into one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from operator import mul
from typing import Literal

import numpy as np

from pipeline.found import Candidate, Found, Thresholds
from pipeline.head import Array, Head, Points, dot, sigmoid
from storage.words import normalise

Group = Literal["latin", "cyrillic", "cyrillic_passage"]
#: A question in the very words of one item's phrasing is that item's.
SAME_WORDS = 0.995


@dataclass(frozen=True)
class Calibration:
    """Weights by group: of the ranking, and of the confidence (its last one the intercept); operating points."""

    ranking: Mapping[str, tuple[float, ...]]
    answering: Mapping[str, tuple[float, ...]]
    operating_points: Mapping[str, Points]
    grounded: float

    def rank(self, question: str, candidates: Sequence[Candidate]) -> list[tuple[Candidate, float]]:
        """Candidates with their logits, best first; ids break ties, so that the order is stable."""
        scored = [(c, _sum(self.ranking[group_of(question, c)], candidate_features(c))) for c in candidates]
        return sorted(scored, key=lambda pair: (-pair[1], pair[0].id))

    def confidence(self, question: str, ranked: Sequence[tuple[Candidate, float]]) -> float:
        """Probability that the best candidate answers; 0 without candidates."""
        if not ranked:
            return 0.0
        weights = self.answering[group_of(question, ranked[0][0])]
        return sigmoid(dot(weights, answer_features(question, ranked)))


def group_of(question: str, candidate: Candidate) -> Group:
    """Which weights count for a candidate."""
    if not is_cyrillic(question):
        return "latin"
    return "cyrillic_passage" if candidate.passage else "cyrillic"


def candidate_features(candidate: Candidate) -> list[float]:
    """What the ranking sees."""
    return [
        candidate.dense,
        candidate.near,
        candidate.stems,
        candidate.letters,
        candidate.whole_stems,
        candidate.whole_letters,
        candidate.part_stems,
        candidate.part_letters,
        candidate.unlisted,
        float(candidate.exact),
    ]


def answer_features(question: str, ranked: Sequence[tuple[Candidate, float]]) -> list[float]:
    """What the confidence model sees of the best candidate and of its lead."""
    best, top = ranked[0]
    second = ranked[1][1] if len(ranked) > 1 else top - 5.0
    others = sum(math.exp(max(logit - top, -60.0)) for _, logit in ranked[1:])
    words = min(len(normalise(question).split()), 20)
    odds = -math.log(max(others, 1e-6))
    return [*candidate_features(best), odds, top - second, top, best.known, math.log1p(words)]


@lru_cache(maxsize=4096)
def is_cyrillic(text: str) -> bool:
    """Whether most letters of a text are Cyrillic."""
    letters = [letter for letter in text.lower() if letter.isalpha()]
    return 2 * sum("а" <= letter <= "я" or letter in "ёіїєґў" for letter in letters) > len(letters)


def rank(
    question: str,
    candidates: Sequence[Candidate],
    *,
    fitted: Calibration,
    head: Head | None = None,
    hits: Sequence[tuple[str, float]] = (),
    read: Array | None = None,
    max_wrong_direct: float = 0.02,
) -> Found:
    """Candidates in order, each with the probability that it is the answer, by the head where it knows the item.

    ``hits``: item and cosine of the nearest texts; ``read``: what the head reads of the question's layers. The
    thresholds are those of what ranked the first item.
    """
    if not candidates:
        return Found()
    scores: dict[str, float] = {}
    if head is not None and read is not None:
        evidence = head.evidence(question, read, [(head.index.get(item, -1), score) for item, score in hits])
        logits = head.fusion.logits(evidence)
        # Items that are gone from the base are no candidates, so the best may be another than the head's own.
        present = np.array([head.index[c.id] for c in candidates if c.id in head.index], dtype=np.int64)
        if len(present):
            best = int(present[np.argmax(logits[present])])
            confidence = head.confidence(evidence, logits, best)
            relative = np.exp(logits[present] - logits[best])
            scores = {head.labels[i]: confidence * float(r) for i, r in zip(present, relative, strict=True)}
    others = fitted.rank(question, [c for c in candidates if c.id not in scores])
    confidence = fitted.confidence(question, others)
    for candidate, logit in others:
        scores[candidate.id] = confidence * math.exp(max(logit - others[0][1], -60.0))
    same = [candidate.id for candidate in candidates if candidate.exact]
    if len(same) == 1:
        scores[same[0]] = max(SAME_WORDS, *scores.values())
    ranked = sorted(candidates, key=lambda c: (c.id not in same, -scores[c.id], c.id))
    return Found(
        ranked=tuple((c, round(scores[c.id], 6)) for c in ranked),
        confidence=round(scores[ranked[0].id], 6),
        thresholds=thresholds_for(question, ranked[0], fitted=fitted, head=head, max_wrong_direct=max_wrong_direct),
    )


def thresholds_for(
    question: str, first: Candidate, *, fitted: Calibration, head: Head | None, max_wrong_direct: float
) -> Thresholds:
    """The thresholds that count where ``first`` is the first item: those of the head or of the group that ranked it."""
    own = fitted.operating_points[group_of(question, first)], fitted.grounded
    if head is not None and first.id in head.index:
        own = head.operating_points, head.grounded
    return Thresholds.of(*own, max_wrong_direct)


@lru_cache(maxsize=1)
def calibration() -> Calibration:
    """The calibration in the package."""
    read = json.loads(files("pipeline").joinpath("confidence.json").read_text(encoding="utf-8"))
    return Calibration(
        ranking={group: tuple(weights) for group, weights in read["ranking"].items()},
        answering={group: tuple(weights) for group, weights in read["answering"].items()},
        operating_points={
            group: tuple((float(t), float(w)) for t, w in points) for group, points in read["operating_points"].items()
        },
        grounded=float(read["grounded"]),
    )


def _sum(weights: Sequence[float], features: Sequence[float]) -> float:
    return float(sum(map(mul, weights, features)))
