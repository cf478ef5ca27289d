"""Measures of ranking, rejection and calibration over plain arrays, and bootstrap intervals of them.

Each returns None where it is not defined, that is, without the rows it is about.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.intp]
Interval = tuple[float, float]
Name = TypeVar("Name", bound=Hashable)

#: Bins of equal mass in the calibration error.
BINS = 15
#: Share of the answerable questions that the rejection threshold keeps.
KEPT = 0.95
RESAMPLES = 1000
LEVEL = 0.95


def mean(values: Floats | Bools) -> float | None:
    """The share of true values, or the mean of numbers."""
    return float(np.mean(values)) if len(values) else None


def reciprocal_rank(ranks: NDArray[np.int64]) -> float | None:
    """Mean of 1/rank, ranks from 1; rank 0 (not found) counts 0."""
    return float(np.mean(np.where(ranks > 0, 1 / np.maximum(ranks, 1), 0.0))) if len(ranks) else None


def auroc(positive: Floats, negative: Floats) -> float | None:
    """Probability that a positive scores above a negative, ties counting half (the Mann-Whitney statistic).

    https://en.wikipedia.org/wiki/Mann-Whitney_U_test
    """
    if not len(positive) or not len(negative):
        return None
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left") + np.searchsorted(ordered, positive, side="right")
    return float(np.mean(below) / (2 * len(ordered)))


def rejected_at(positive: Floats, negative: Floats, kept: float = KEPT) -> float | None:
    """Share of negatives strictly below the highest threshold that at least ``kept`` of the positives reach."""
    if not len(positive) or not len(negative):
        return None
    needed = math.ceil(kept * len(positive) - 1e-9)
    threshold = np.sort(positive)[len(positive) - needed]
    return float(np.mean(negative < threshold))


def calibration_error(confidence: Floats, right: Bools, bins: int = BINS) -> float | None:
    """Expected calibration error over ``bins`` bins of equal mass: the mean of |confidence - share right|, 0 to 1.

    Rows of one confidence share their rate, so that a bin's border between them does not depend on the rows' order.
    Nixon et al. 2019, https://arxiv.org/abs/1904.01685
    """
    if not len(confidence):
        return None
    _, group, sizes = np.unique(confidence, return_inverse=True, return_counts=True)
    rates = np.bincount(group, weights=right.astype(float)) / sizes
    gaps = (confidence - rates[group])[np.argsort(confidence, kind="stable")]
    return float(sum(abs(part.sum()) for part in np.array_split(gaps, bins)) / len(gaps))


def bootstrap(
    measure: Callable[[Rows], Mapping[Name, float | None]],
    strata: Sequence[object],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> dict[Name, Interval | None]:
    """Percentile intervals of all that ``measure`` returns for the rows it is given; the same seed, the same intervals.

    Rows are drawn with replacement within each stratum, so that each kind of row keeps its number. None for a measure
    that is not defined for every draw.
    """
    dice = np.random.default_rng(seed)
    _, group = np.unique(np.asarray([str(one) for one in strata]), return_inverse=True)
    members = [np.flatnonzero(group == number) for number in range(group.max() + 1 if len(group) else 0)]
    found: dict[Name, list[float | None]] = {}
    for _ in range(resamples if members else 0):
        drawn = np.concatenate([rows[dice.integers(0, len(rows), len(rows))] for rows in members])
        for name, value in measure(drawn).items():
            found.setdefault(name, []).append(value)
    tails = [50 * (1 - level), 100 - 50 * (1 - level)]
    intervals: dict[Name, Interval | None] = {}
    for name, values in found.items():
        known = [value for value in values if value is not None]
        low, high = np.percentile(known, tails) if len(known) == resamples else (math.nan, math.nan)
        intervals[name] = None if math.isnan(low) else (float(low), float(high))
    return intervals
