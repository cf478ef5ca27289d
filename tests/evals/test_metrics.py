"""Each measure beside the slowest way to compute it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.metrics import auroc, bootstrap, calibration_error, mean, reciprocal_rank, rejected_at

#: Few values, so that ties are the rule.
SCORES = st.lists(st.integers(0, 8).map(lambda n: n / 8), min_size=1, max_size=40)
JUDGED = st.lists(st.tuples(st.integers(0, 8).map(lambda n: n / 8), st.booleans()), min_size=1, max_size=60)


@given(SCORES, SCORES)
def test_auroc_is_the_share_of_pairs_in_order(positive: list[float], negative: list[float]) -> None:
    won = sum(1.0 if p > n else 0.5 if p == n else 0.0 for p in positive for n in negative)
    assert auroc(np.array(positive), np.array(negative)) == pytest.approx(won / len(positive) / len(negative))


@given(SCORES, SCORES)
def test_rejection_is_at_the_highest_threshold_that_keeps_95_percent(
    positive: list[float], negative: list[float]
) -> None:
    keeping = [t for t in positive if sum(p >= t for p in positive) >= 0.95 * len(positive)]
    expected = sum(n < max(keeping) for n in negative) / len(negative)
    assert rejected_at(np.array(positive), np.array(negative)) == pytest.approx(expected)


@given(JUDGED, st.randoms())
def test_calibration_error_does_not_depend_on_the_order_of_rows(judged: list[tuple[float, bool]], dice: object) -> None:
    shuffled = list(judged)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    errors = [calibration_error(*map(np.array, zip(*rows, strict=True))) for rows in (judged, shuffled)]
    assert errors[0] == pytest.approx(errors[1])
    assert 0 <= errors[0] <= 1  # type: ignore[operator]


@given(st.lists(st.booleans(), min_size=30, max_size=80))
def test_calibration_error_is_the_mean_gap_of_15_bins_of_equal_mass(right: list[bool]) -> None:
    confidence = [(n + 1) / (len(right) + 1) for n in range(len(right))]  # no ties: the bins are unambiguous
    expected, start = 0.0, 0
    for number in range(15):
        size = len(right) // 15 + (number < len(right) % 15)
        part = slice(start, start + size)
        gap = sum(confidence[part]) / size - sum(right[part]) / size
        expected, start = expected + abs(gap) * size / len(right), start + size
    assert calibration_error(np.array(confidence), np.array(right)) == pytest.approx(expected)


def test_perfect_and_hopeless_calibration() -> None:
    certain = np.array([1.0, 1.0, 0.0, 0.0])
    assert calibration_error(certain, certain == 1) == 0
    assert calibration_error(certain, certain == 0) == 1


def test_a_rank_of_0_was_not_found() -> None:
    assert reciprocal_rank(np.array([1, 2, 0, 4])) == pytest.approx((1 + 1 / 2 + 1 / 4) / 4)


def test_nothing_is_measured_without_rows() -> None:
    none, some = np.array([]), np.array([0.5])
    assert (auroc(none, some), auroc(some, none), rejected_at(some, none), rejected_at(none, some)) == (None,) * 4
    assert calibration_error(none, none.astype(bool)) is None
    assert mean(none) is None
    assert reciprocal_rank(none.astype(int)) is None


@settings(max_examples=10, deadline=None)
@given(st.integers(20, 60), st.integers(1, 5))
def test_intervals_hold_the_measure_and_repeat_with_the_seed(size: int, seed: int) -> None:
    values = np.random.default_rng(size).random(size)

    def measure(rows: np.ndarray) -> dict[str, float | None]:
        return {"mean": mean(values[rows]), "undefined": None}

    found = bootstrap(measure, ["a", "b"] * (size // 2) + ["a"] * (size % 2), seed=seed, resamples=200)
    low, high = found["mean"]  # type: ignore[misc]
    assert low < values.mean() < high
    assert found["undefined"] is None
    assert found == bootstrap(measure, ["a", "b"] * (size // 2) + ["a"] * (size % 2), seed=seed, resamples=200)


def test_each_stratum_keeps_its_number_of_rows() -> None:
    strata = np.array(["in"] * 5 + ["oos"])
    counts = bootstrap(lambda rows: {"oos": float((strata[rows] == "oos").sum())}, strata.tolist(), resamples=50)
    assert counts == {"oos": (1.0, 1.0)}
