"""What the customers saw, judged against what they asked."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.acceptance.topics import QUESTIONS, answer

#: How often a customer may see one answer: once, and once more where the first time was ambiguous.
MOST = 2
#: Seconds of peace before a kill that is to be looked at by itself.
ALONE = 5.0
_TOPICS = {answer(number): number for number in range(len(QUESTIONS))}


@dataclass(frozen=True)
class Asked:
    """A customer's message; ``at`` in Unix seconds. ``accepted``: the channel got its 200."""

    chat: int
    topic: int
    at: float
    accepted: bool


@dataclass(frozen=True)
class Shown:
    """A text a customer saw."""

    chat: int
    text: str
    at: float


@dataclass(frozen=True)
class Row:
    """An outbox row at the end."""

    id: str
    chat: int
    text: str
    status: str
    resent: bool

    @property
    def ambiguous(self) -> bool:
        """Sent again because nobody could say whether it had arrived, or left for a person for that reason."""
        return self.resent or self.status == "ambiguous"


@dataclass(frozen=True)
class Kill:
    """A SIGKILL, and when a new process of the same command was there (None: not within its time)."""

    target: str
    at: float
    back: float | None


@dataclass(frozen=True)
class Trouble:
    """A blow as it went: from when to when (Unix seconds)."""

    what: str
    start: float
    end: float


@dataclass(frozen=True)
class Exposure:
    """What may have become ambiguous: rows in ``sending`` when their sender or database went, answers broken off
    by a scripted fault, connections that were open when the channel's server closed them."""

    rows: frozenset[str]
    faults: int
    connections: int


@dataclass(frozen=True)
class Seen:
    """Everything that was observed in a run. ``repeated``: steps of one round whose result was committed twice."""

    asked: Sequence[Asked]
    shown: Sequence[Shown]
    rows: Sequence[Row]
    stored: int
    turns: Mapping[str, int]
    repeated: int
    kills: Sequence[Kill]
    exposure: Exposure
    troubles: Sequence[Trouble] = ()
    blows: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, int] = field(default_factory=dict)
    deliveries: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """The outcome; times in seconds.

    ``held``: not answered, and left ambiguous for a person; promised so, and therefore counted but no violation.
    ``recovery``: from the moment a killed process is back until the first answer to a message asked after the kill;
    0 where such an answer came without it. ``recovery_alone``: of those kills only that had :data:`ALONE` seconds and
    the time until that answer to themselves. ``interruption``: from the kill itself until that answer. A kill after
    which nothing more was asked counts in none. ``timeline``: every blow, in seconds since the first message.
    """

    asked: int
    accepted: int
    stored: int
    answered: int
    lost: int
    held: int
    failed_turns: int
    repeated_steps: int
    unexpected: int
    doubled: int
    doubled_outside: int
    ambiguous: int
    ambiguous_bound: int
    ambiguous_bound_parts: dict[str, int]
    unexplained: int
    out_of_order: int
    kills: dict[str, int]
    blows: dict[str, int]
    faults: dict[str, int]
    deliveries: dict[str, int]
    seconds: dict[str, float]
    recovery: dict[str, float]
    recovery_alone: dict[str, float]
    interruption: dict[str, float]
    violations: list[str]
    timeline: list[str]

    def json(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        """The report for a person: one line a figure."""
        rows: list[tuple[str, str]] = []
        for name, value in self.json().items():
            if name == "timeline":
                continue
            if isinstance(value, dict):
                text = ", ".join(f"{key} {figure:g}" for key, figure in value.items()) or "none"
            elif isinstance(value, list):
                text = "; ".join(value) or "none"
            else:
                text = f"{value:g}"
            rows.append((name.replace("_", " "), text))
        return "\n".join(f"  {name:<24}{text}" for name, text in rows)


def judge(seen: Seen) -> Report:
    """Decide what was lost, doubled or out of order from what the customers saw; SQL only explains the doubles."""
    times: dict[tuple[int, int], list[float]] = defaultdict(list)
    unexpected = 0
    for one in seen.shown:
        topic = _TOPICS.get(one.text)
        if topic is None:
            unexpected += 1
        else:
            times[one.chat, topic].append(one.at)
    asked = {(one.chat, one.topic): one for one in seen.asked}
    unexpected += sum(len(found) for key, found in times.items() if key not in asked)
    rows: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in seen.rows:
        rows[row.chat, _TOPICS.get(row.text, -1)].append(row)

    def excused(key: tuple[int, int]) -> bool:
        return any(row.ambiguous for row in rows[key])

    unseen = [key for key, one in asked.items() if one.accepted and key not in times]
    held = [key for key in unseen if any(row.status == "ambiguous" for row in rows[key])]
    doubled = [key for key, found in times.items() if len(found) > 1]
    outside = [key for key in doubled if len(times[key]) > MOST or not excused(key)]
    ambiguous = {row.id for row in seen.rows if row.ambiguous}
    exposure = seen.exposure
    parts = {
        "rows in sending": len(exposure.rows),
        "shown and broken off": exposure.faults,
        "connections closed": exposure.connections,
    }
    unexplained = max(0, len(ambiguous - exposure.rows) - exposure.faults - exposure.connections)
    failed = sum(number for status, number in seen.turns.items() if status not in ("answered", "processing"))
    failed -= sum(row.status == "ambiguous" for row in seen.rows)  # each of these ends a turn, for a person to see
    figures: dict[str, int] = {
        "not accepted": sum(not one.accepted for one in seen.asked),
        "lost": len(unseen) - len(held),
        "failed turns": max(0, failed),
        "steps done twice": seen.repeated,
        "texts nobody expected": unexpected,
        "doubled outside the ambiguous": len(outside),
        "ambiguous beyond the bound": unexplained,
        "out of order": _out_of_order(seen.asked, times),
        "processes that did not come back": sum(kill.back is None for kill in seen.kills),
    }
    recovered = list(_recovered(seen, times))
    return Report(
        asked=len(seen.asked),
        accepted=sum(one.accepted for one in seen.asked),
        stored=seen.stored,
        answered=sum(key in times for key in asked),
        lost=figures["lost"],
        held=len(held),
        failed_turns=figures["failed turns"],
        repeated_steps=seen.repeated,
        unexpected=unexpected,
        doubled=len(doubled),
        doubled_outside=len(outside),
        ambiguous=len(ambiguous),
        ambiguous_bound=sum(parts.values()),
        ambiguous_bound_parts=parts,
        unexplained=unexplained,
        out_of_order=figures["out of order"],
        kills=dict(Counter(kill.target for kill in seen.kills)),
        blows=dict(seen.blows),
        faults=dict(seen.faults),
        deliveries=dict(seen.deliveries),
        seconds={name: round(value, 1) for name, value in seen.seconds.items()},
        recovery=_quantiles([max(0.0, answer - back) for _, back, answer in recovered]),
        recovery_alone=_quantiles(
            [max(0.0, answer - back) for at, back, answer in recovered if _alone(seen.troubles, at, answer)]
        ),
        interruption=_quantiles([answer - at for at, _, answer in recovered]),
        violations=[f"{number} {what}" for what, number in figures.items() if number],
        timeline=_timeline(seen),
    )


def _out_of_order(asked: Iterable[Asked], times: Mapping[tuple[int, int], list[float]]) -> int:
    """Answers seen (first) before the answer to an earlier question of the same chat."""
    latest: dict[int, float] = defaultdict(float)
    wrong = 0
    for one in asked:
        first = min(times.get((one.chat, one.topic), []), default=None)
        if first is None:
            continue
        wrong += first < latest[one.chat]
        latest[one.chat] = max(latest[one.chat], first)
    return wrong


def _recovered(seen: Seen, times: Mapping[tuple[int, int], list[float]]) -> Iterator[tuple[float, float, float]]:
    """A kill, the process back, and the first answer to a message asked after the kill, where there is one."""
    for kill in seen.kills:
        answers = [min(times[one.chat, one.topic]) for one in seen.asked
                   if one.at > kill.at and (one.chat, one.topic) in times]  # fmt: skip
        if answers and kill.back is not None:
            yield kill.at, kill.back, min(answers)


def _alone(troubles: Iterable[Trouble], at: float, answer: float) -> bool:
    """Whether nothing else was broken from :data:`ALONE` seconds before a kill until it was overcome."""
    return sum(one.end > at - ALONE and one.start < answer for one in troubles) <= 1


def _timeline(seen: Seen) -> list[str]:
    start = min((one.at for one in seen.asked), default=0.0)
    return [
        f"{one.start - start:6.1f} {one.what}, {one.end - one.start:.1f} s"
        for one in sorted(seen.troubles, key=lambda trouble: trouble.start)
    ]


def _quantiles(found: Iterable[float]) -> dict[str, float]:
    values = sorted(found)
    if not values:
        return {}
    last = len(values) - 1
    return {name: round(values[round(last * share)], 2) for name, share in (("p50", 0.5), ("p95", 0.95), ("max", 1))}
