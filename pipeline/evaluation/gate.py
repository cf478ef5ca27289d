"""Whether an evaluation is worse than a saved one: the rule for continuous integration."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragline.errors import ConfigurationError

#: Measures of which less is better; of all others more is.
_LESS_IS_BETTER = {"calibration_error", "wrong_direct_rate", "routed.in_misrouted"}
_MEASURES = (
    "accuracy_at_1", "recall_at_5", "mrr", "auroc", "auroc_by_kind", "recall_at_95", "calibration_error",
    "direct_rate", "wrong_direct_rate", "multi_both_at_5", "routed",
)  # fmt: skip
#: What both reports must have been made of to be comparable.
_SAME = ("queries_digest", "split")


@dataclass(frozen=True)
class Comparison:
    """One measure beside its baseline. ``worst``: the last value that passes. ``now`` None: no longer measured."""

    name: str
    baseline: float
    now: float | None
    worst: float
    passed: bool


def read_baseline(path: Path) -> dict[str, Any]:
    """A saved report. Raises :class:`ConfigurationError` for a file that is none."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: is not JSON ({error}); make it with `ragline eval --save`") from error
    if not isinstance(read, dict) or not {"n", "intervals", *_SAME} <= set(read):
        raise ConfigurationError(f"{path}: is no saved evaluation; make it with `ragline eval --save`")
    return read


def compare(baseline: Mapping[str, Any], now: Mapping[str, Any], tolerance: float | None = None) -> list[Comparison]:
    """Each measure of the baseline beside its present value.

    One passes that is worse by at most ``tolerance``; by default, by as far as the baseline's own interval reaches.
    Raises :class:`ConfigurationError` when the two are of different questions.
    """
    for name in _SAME:
        if baseline[name] != now[name]:
            raise ConfigurationError(
                "the baseline is of other questions (another file or split); save a new one with `ragline eval --save`"
            )
    present, intervals = dict(_flat(now)), dict(_flat(baseline["intervals"]))
    return [
        _compare(name, float(value), present.get(name), intervals.get(name), tolerance)
        for name, value in _flat(baseline)
        if value is not None
    ]


def _compare(name: str, baseline: float, now: Any, interval: Any, tolerance: float | None) -> Comparison:
    less = name in _LESS_IS_BETTER
    if tolerance is not None or interval is None:
        worst = baseline + (tolerance or 0) * (1 if less else -1)
    else:
        worst = max(baseline, interval[1]) if less else min(baseline, interval[0])
    passed = now is not None and (now <= worst + 1e-9 if less else now >= worst - 1e-9)
    return Comparison(name, baseline, None if now is None else float(now), round(worst, 6), passed)


def _flat(report: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in _MEASURES:
        value = report.get(name)
        if isinstance(value, Mapping):
            yield from ((f"{name}.{kind}", one) for kind, one in value.items())
        else:
            yield name, value
