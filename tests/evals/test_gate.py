"""The gate: what passes beside a baseline and what does not."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.evaluation.gate import compare, read_baseline
from ragline.errors import ConfigurationError


def evaluation(**values: Any) -> dict[str, Any]:
    intervals = {
        "accuracy_at_1": [0.85, 0.95], "wrong_direct_rate": [0.01, 0.04], "auroc_by_kind": {"near": [0.7, 0.8]},
    }  # fmt: skip
    measures = {"accuracy_at_1": 0.9, "wrong_direct_rate": 0.02, "auroc_by_kind": {"near": 0.75}, "mrr": None}
    return {"n": 10, "split": "dev", "queries_digest": "d", "intervals": intervals, **measures, **values}


def failing(now: dict[str, Any], tolerance: float | None = None) -> list[str]:
    return [one.name for one in compare(evaluation(), now, tolerance) if not one.passed]


@pytest.mark.parametrize(
    ("now", "tolerance", "expected"),
    [
        ({}, None, []),
        ({"accuracy_at_1": 0.85, "wrong_direct_rate": 0.04}, None, []),
        ({"accuracy_at_1": 0.849}, None, ["accuracy_at_1"]),
        ({"accuracy_at_1": 1.0, "wrong_direct_rate": 0.0}, 0.0, []),
        ({"wrong_direct_rate": 0.041}, None, ["wrong_direct_rate"]),
        ({"auroc_by_kind": {"near": 0.69}}, None, ["auroc_by_kind.near"]),
        ({"accuracy_at_1": None, "auroc_by_kind": {}}, None, ["accuracy_at_1", "auroc_by_kind.near"]),
        ({"accuracy_at_1": 0.89, "wrong_direct_rate": 0.031}, 0.01, ["wrong_direct_rate"]),
    ],
)
def test_worse_than_allowed_fails(now: dict[str, Any], tolerance: float | None, expected: list[str]) -> None:
    assert failing(evaluation(**now), tolerance) == expected


def test_other_questions_are_not_compared() -> None:
    with pytest.raises(ConfigurationError, match="other questions"):
        compare(evaluation(), evaluation(queries_digest="e"))


@pytest.mark.parametrize("content", ["{", "[]", '{"n": 1}'])
def test_a_file_that_is_no_baseline_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "b.json").write_text(content)
    with pytest.raises(ConfigurationError, match="--save"):
        read_baseline(tmp_path / "b.json")
