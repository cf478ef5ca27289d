"""From what came of labelled questions to the measures of them, each with its interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.asking import LOOKED_AT
from pipeline.evaluation.metrics import (
    Bools,
    Floats,
    Interval,
    Rows,
    auroc,
    bootstrap,
    calibration_error,
    mean,
    reciprocal_rank,
    rejected_at,
)
from pipeline.evaluation.questions import ROUTED, Burst, Question
from pipeline.run import Asked

#: A measure's place in the report: its name, or the group's and the kind's.
Place = tuple[str, ...]
#: A field of the rows with more values than this, or without a repeated one, is no label but a text.
MOST_VALUES = 30


@dataclass(frozen=True)
class Outcome:
    """What came of one question, judged by its label.

    ``rank``: place of the first right item among the passages, from 1; 0: not among them. ``found``: how many of the
    right items are among the first five. ``confidence`` is that of the engine, and 0 for what it did not look up.
    ``right``: for a direct answer, that it holds nothing but right items. ``routed``: ``smalltalk``,
    ``human_request`` or None.
    """

    mode: str
    confidence: float
    rank: int
    found: int
    right: bool
    routed: str | None


def judge(asked: Asked, gold: frozenset[str]) -> Outcome:
    """The outcome of a question whose answer is any of the items ``gold``."""
    ids = [passage.id for passage in asked.passages]
    routed = {"smalltalk": "smalltalk"}.get(asked.mode) or ("human_request" if asked.flag == "human_request" else None)
    rank = next((place for place, one in enumerate(ids, 1) if one in gold), 0)
    sent = [citation.id for citation in asked.citations] or ids[:1]
    return Outcome(
        mode=asked.mode,
        confidence=asked.confidence if ids else 0.0,
        rank=rank,
        found=len(gold & set(ids[:LOOKED_AT])),
        right=bool(sent) and set(sent) <= gold,
        routed=routed,
    )


class Table:
    """Outcomes as columns, to be measured again and again."""

    def __init__(self, questions: Sequence[Question], outcomes: Sequence[Outcome]) -> None:
        self.kinds: NDArray[np.str_] = np.asarray([question.kind for question in questions])
        self.outside_kinds = sorted({question.kind for question in questions if question.outside})
        self._outside: Bools = np.asarray([question.outside for question in questions])
        self._wanted: NDArray[np.int64] = np.asarray([len(question.gold) for question in questions])
        self._confidence: Floats = np.asarray([outcome.confidence for outcome in outcomes], dtype=float)
        self._rank: NDArray[np.int64] = np.asarray([outcome.rank for outcome in outcomes])
        self._found: NDArray[np.int64] = np.asarray([outcome.found for outcome in outcomes])
        self._right: Bools = np.asarray([outcome.right for outcome in outcomes])
        self._direct: Bools = np.asarray([outcome.mode == "direct" for outcome in outcomes])
        self._routed: NDArray[np.str_] = np.asarray([outcome.routed or "" for outcome in outcomes])

    def measure(self, rows: Rows) -> dict[Place, float | None]:
        """Every measure, over these rows."""
        kinds, confidence, rank = self.kinds[rows], self._confidence[rows], self._rank[rows]
        direct, routed, outside = self._direct[rows], self._routed[rows], self._outside[rows]
        inside = kinds == "in"
        positive, judged, multi = confidence[inside], inside | outside, kinds == "multi"
        measured: dict[Place, float | None] = {
            ("accuracy_at_1",): mean(rank[inside] == 1),
            ("recall_at_5",): mean((rank[inside] > 0) & (rank[inside] <= LOOKED_AT)),
            ("mrr",): reciprocal_rank(rank[inside]),
            ("auroc",): auroc(positive, confidence[outside]),
            ("calibration_error",): calibration_error(confidence[judged], rank[judged] == 1),
            ("direct_rate",): mean(direct[inside]),
            ("wrong_direct_rate",): mean(~self._right[rows][direct]),
            ("multi_both_at_5",): mean(self._found[rows][multi] == self._wanted[rows][multi]),
        }
        for kind in self.outside_kinds:
            negative = confidence[outside & (kinds == kind)]
            measured["auroc_by_kind", kind] = auroc(positive, negative)
            measured["recall_at_95", kind] = rejected_at(positive, negative)
        for kind in ROUTED:
            measured["routed", kind] = mean(routed[kinds == kind] == kind)
        measured["routed", "in_misrouted"] = mean(routed[inside] != "")
        return measured


def report(
    questions: Sequence[Question], outcomes: Sequence[Outcome], *, seed: int = 0, resamples: int
) -> dict[str, Any]:
    """The measures by their names, ``intervals`` of the same shape, ``by`` label, ``kinds`` and ``modes`` counted."""
    table = Table(questions, outcomes)
    measured = table.measure(np.arange(len(questions)))
    intervals = bootstrap(table.measure, table.kinds.tolist(), seed=seed, resamples=resamples)
    return {
        "n": len(questions),
        **_nested(measured),
        "intervals": _nested({place: intervals.get(place) for place in measured}),
        "by": _by_label(questions, outcomes, seed=seed, resamples=resamples),
        "kinds": dict(sorted(Counter(question.kind for question in questions).items())),
        "modes": dict(sorted(Counter(outcome.mode for outcome in outcomes).items())),
    }


def burst_report(bursts: Sequence[Burst], joined: Sequence[Outcome], single: Sequence[Outcome]) -> dict[str, Any]:
    """Bursts answered as one question, and message by message; ``single``: outcomes of all messages, in order.

    Message by message: ``accuracy_at_1`` over all messages; the share of bursts in which any message, and in which
    the last one alone, finds the item; and in which some message alone is answered directly with another item.
    """
    ends = np.cumsum([len(burst.messages) for burst in bursts]).tolist()
    groups = [single[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    wrong = [any(one.mode == "direct" and not one.right for one in group) for group in groups]
    return {
        "n": len(bursts),
        "messages": len(single),
        "joined": {
            "accuracy_at_1": mean(np.asarray([one.rank == 1 for one in joined])),
            "recall_at_5": mean(np.asarray([0 < one.rank <= LOOKED_AT for one in joined])),
            "direct_rate": mean(np.asarray([one.mode == "direct" for one in joined])),
            "wrong_direct": mean(np.asarray([one.mode == "direct" and not one.right for one in joined])),
        },
        "message_by_message": {
            "accuracy_at_1": mean(np.asarray([one.rank == 1 for one in single])),
            "any": mean(np.asarray([any(one.rank == 1 for one in group) for group in groups])),
            "last": mean(np.asarray([group[-1].rank == 1 for group in groups])),
            "wrong_direct": mean(np.asarray(wrong)),
        },
    }


def _nested(measured: Mapping[Place, float | Interval | None]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for place, value in measured.items():
        rounded: Any = [round(end, 6) for end in value] if isinstance(value, tuple) else value
        rounded = round(rounded, 6) if isinstance(rounded, float) else rounded
        if len(place) == 1:
            nested[place[0]] = rounded
        else:
            nested.setdefault(place[0], {})[place[1]] = rounded
    for group in ("auroc_by_kind", "recall_at_95"):
        nested.setdefault(group, {})
    return nested


def _by_label(
    questions: Sequence[Question], outcomes: Sequence[Outcome], *, seed: int, resamples: int
) -> dict[str, dict[str, Any]]:
    """Accuracy over the ``in`` rows of each value of each label."""
    inside = [number for number, question in enumerate(questions) if question.kind == "in"]
    found: dict[str, dict[str, Any]] = {}
    for label in sorted({name for number in inside for name in questions[number].labels}):
        groups: dict[str, list[int]] = {}
        for number in inside:
            if label in questions[number].labels:
                groups.setdefault(questions[number].labels[label], []).append(outcomes[number].rank)
        if len(groups) > MOST_VALUES or all(len(ranks) == 1 for ranks in groups.values()):
            continue
        found[label] = {
            value: _accuracy(np.asarray(ranks), seed=seed, resamples=resamples)
            for value, ranks in sorted(groups.items())
        }
    return found


def _accuracy(ranks: NDArray[np.int64], *, seed: int, resamples: int) -> dict[str, Any]:
    def measure(rows: Rows) -> dict[Place, float | None]:
        drawn = ranks[rows]
        return {("accuracy_at_1",): mean(drawn == 1), ("recall_at_5",): mean((drawn > 0) & (drawn <= LOOKED_AT))}

    intervals = bootstrap(measure, ["row"] * len(ranks), seed=seed, resamples=resamples)
    measured = measure(np.arange(len(ranks)))
    flat = {place[0]: round(value, 6) for place, value in measured.items() if value is not None}
    ends = {place[0]: [round(end, 6) for end in value] for place, value in intervals.items() if value}
    return {"n": len(ranks), **flat, "intervals": ends}
