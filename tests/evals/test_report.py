"""Hand-made outcomes, measured by hand."""

from typing import Any

import pytest

from pipeline.evaluation.questions import Burst, Question
from pipeline.evaluation.report import Outcome, burst_report, judge, report
from pipeline.run import Asked
from pipeline.steps.retrieve import Passage
from pipeline.turn import Citation


def question(kind: str, *gold: str, **labels: str) -> Question:
    return Question(1, "?", frozenset(gold), kind, labels=labels)


def outcome(mode: str = "unknown", confidence: float = 0.5, rank: int = 0, **more: Any) -> Outcome:
    return Outcome(mode, confidence, rank, **({"found": int(0 < rank <= 5), "right": rank == 1, "routed": None} | more))


def asked(mode: str, *ids: str, confidence: float = 0.5, cited: tuple[str, ...] = (), flag: str | None = None) -> Asked:
    passages = [Passage(id=one, score=0.5, question="q", answer="a") for one in ids]
    citations = [Citation(id=one, title="t") for one in cited]
    return Asked(
        answer="a", mode=mode, confidence=confidence, flag=flag, citations=citations, passages=passages, steps=[]
    )


def test_every_measure_follows_its_definition() -> None:
    rows = [
        (question("in", "a", style="terse"), outcome("direct", 0.9, rank=1)),
        (question("in", "a", style="terse"), outcome("direct", 0.8, rank=2)),  # the wrong one is sent
        (question("in", "a", style="voice"), outcome("unknown", 0.4, rank=6)),
        (question("in", "a", style="voice"), outcome("smalltalk", 0.0, routed="smalltalk")),
        (question("near"), outcome("direct", 0.85)),
        (question("near"), outcome("unknown", 0.2)),
        (question("far"), outcome("unknown", 0.1)),
        (question("multi", "a", "b"), outcome("direct", 0.9, rank=1, found=2)),
        (question("multi", "a", "b"), outcome("unknown", 0.3, rank=1, found=1)),
        (question("smalltalk"), outcome("smalltalk", 0.0, routed="smalltalk")),
        (question("smalltalk"), outcome("direct", 0.95)),
        (question("human_request"), outcome("unknown", 0.0, routed="human_request")),
    ]
    found = report([q for q, _ in rows], [o for _, o in rows], resamples=20)
    expected = {
        "n": 12,
        "accuracy_at_1": 1 / 4,
        "recall_at_5": 2 / 4,
        "mrr": (1 + 1 / 2 + 1 / 6 + 0) / 4,
        # pairs of in (.9 .8 .4 0) with out of scope (.85 .2 .1): small talk and a wish for a person are neither
        "auroc": (3 + 2 + 2 + 0) / 12,
        "direct_rate": 2 / 4,
        "wrong_direct_rate": 3 / 5,
        "multi_both_at_5": 1 / 2,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert found["auroc_by_kind"] == pytest.approx({"near": (2 + 1 + 1 + 0) / 8, "far": 3 / 4}, abs=1e-6)
    assert found["recall_at_95"] == {"near": 0, "far": 0}  # four rows: all are kept, down to 0
    assert found["routed"] == {"smalltalk": 0.5, "human_request": 1, "in_misrouted": 0.25}
    # 7 rows in 15 bins: each row is a bin of its own
    gaps = (1 - 0.9) + 0.8 + 0.4 + 0 + 0.85 + 0.2 + 0.1
    assert found["calibration_error"] == pytest.approx(gaps / 7, abs=1e-6)
    assert {value: one["accuracy_at_1"] for value, one in found["by"]["style"].items()} == {"terse": 0.5, "voice": 0}
    assert found["kinds"] == {"far": 1, "human_request": 1, "in": 4, "multi": 2, "near": 2, "smalltalk": 2}
    assert set(found["intervals"]) == set(found) - {"n", "by", "kinds", "modes", "intervals"}
    assert set(found["intervals"]["auroc_by_kind"]) == {"near", "far"}


def test_what_no_row_asks_is_not_measured() -> None:
    found = report([question("in", "a")], [outcome(rank=1)], resamples=5)
    assert (found["auroc"], found["wrong_direct_rate"], found["multi_both_at_5"]) == (None, None, None)
    assert found["intervals"]["auroc"] is None
    assert (found["auroc_by_kind"], found["recall_at_95"]) == ({}, {})


def test_a_text_beside_the_question_is_no_label() -> None:
    rows = [question("in", "a", original=f"text {number}") for number in range(3)]
    assert report(rows, [outcome(rank=1)] * 3, resamples=5)["by"] == {}


def test_judging_looks_at_passages_citations_and_route() -> None:
    gold = frozenset({"a", "b"})
    assert judge(asked("direct", "x", "a", "b", cited=("a",)), gold) == Outcome("direct", 0.5, 2, 2, True, None)
    assert not judge(asked("direct", "a", cited=("a", "x")), gold).right, "half of what was sent is wrong"
    assert not judge(asked("direct", "x"), frozenset()).right
    routed = judge(asked("smalltalk", confidence=1.0), frozenset())
    assert (routed.routed, routed.confidence) == ("smalltalk", 0.0), "nothing was looked up"
    assert judge(asked("unknown", flag="human_request"), frozenset()).routed == "human_request"


def test_bursts_are_judged_joined_and_message_by_message() -> None:
    bursts = [Burst(1, ("hi", "q"), frozenset({"a"})), Burst(2, ("q", "r", "s"), frozenset({"b"}))]
    single = [outcome(), outcome(rank=1), outcome("direct", rank=2), outcome(rank=1), outcome()]
    found = burst_report(bursts, [outcome(rank=1), outcome("direct", rank=3)], single)
    assert found["joined"] == {"accuracy_at_1": 0.5, "recall_at_5": 1, "direct_rate": 0.5, "wrong_direct": 0.5}
    assert found["message_by_message"] == {"accuracy_at_1": 2 / 5, "any": 1, "last": 0.5, "wrong_direct": 0.5}
