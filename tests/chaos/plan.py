"""What is said and what breaks, and when: made from one seed, before anything runs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tests.acceptance.topics import QUESTIONS

Kind = Literal["kill", "pause", "flush", "shown", "busy", "outage", "database"]
#: One round of kills. The workers that hold work die more often than the others.
TARGETS = (
    "worker-io", "worker-cpu", "ingress", "redis", "worker-control",
    "chroma", "worker-io", "worker-cpu", "beat", "worker-jobs",
)  # fmt: skip
PAUSED = ("worker-cpu", "worker-io", "worker-control")
#: Sends that reach the customer and break off then; sends that surely do not reach them.
SHOWN, BUSY = ("reset", "hang", "cut"), ("502", "html", "429")


@dataclass(frozen=True)
class Say:
    """A customer writes, ``at`` seconds after the start; ``again``: the channel delivers it once more."""

    at: float
    chat: int
    topic: int
    again: bool


@dataclass(frozen=True)
class Blow:
    """Something breaks, ``at`` seconds after the start."""

    at: float
    kind: Kind
    target: str = ""


@dataclass(frozen=True)
class Plan:
    seed: int
    says: tuple[Say, ...]
    blows: tuple[Blow, ...]

    @property
    def seconds(self) -> float:
        return self.says[-1].at


def make_plan(seed: int, *, messages: int, kills: int, flushes: int, rate: float) -> Plan:
    """``messages`` at ``rate`` a second, and blows spread over all but the last tenth of that time.

    No customer asks the same twice: when one has asked everything another takes their place, so that an answer and
    its chat name the message.
    """
    dice = random.Random(seed)
    says = tuple(_says(dice, messages, rate))
    return Plan(seed, says, tuple(_blows(dice, kills, flushes, says[-1].at)))


def _says(dice: random.Random, messages: int, rate: float) -> Iterator[Say]:
    customers = max(5, min(100, messages // 10))
    next_chat = 1000 + customers
    left = {1000 + number: dice.sample(range(len(QUESTIONS)), len(QUESTIONS)) for number in range(customers)}
    chat = 1000
    for number in range(messages):
        if chat not in left or dice.random() > 0.3:  # else the same customer writes on: answers must keep their order
            chat = dice.choice(list(left))
        yield Say(number / rate, chat, left[chat].pop(), again=dice.random() < 0.05)
        if not left[chat]:
            del left[chat]
            left[next_chat] = dice.sample(range(len(QUESTIONS)), len(QUESTIONS))
            next_chat += 1


def _blows(dice: random.Random, kills: int, flushes: int, seconds: float) -> Iterator[Blow]:
    blows: list[tuple[Kind, str]] = [("kill", target) for target in _targets(dice, kills)]
    blows += [("pause", PAUSED[number % len(PAUSED)]) for number in range(max(2, kills // 8))]
    blows += [("shown", SHOWN[number % len(SHOWN)]) for number in range(max(4, kills // 2))]
    blows += [("busy", BUSY[number % len(BUSY)]) for number in range(max(3, kills // 3))]
    blows += [("outage", "")] * max(1, kills // 10)
    blows += [("database", str(number)) for number in range(max(2, kills // 8))]
    dice.shuffle(blows)
    slot = seconds * 0.88 / len(blows)
    made = [
        Blow(seconds * 0.02 + (number + dice.uniform(0, 0.8)) * slot, kind, target)
        for number, (kind, target) in enumerate(blows)
    ]
    # Hints are lost where there are some: while the worker that should take them is away.
    away = [blow.at for blow in made if blow.target == "worker-cpu"]
    made += [Blow(at + 1.5, "flush") for at in dice.sample(away, min(flushes, len(away)))]
    made += [Blow(dice.uniform(0.1, 0.9) * seconds, "flush") for _ in range(flushes - len(away))]
    return iter(sorted(made, key=lambda blow: blow.at))


def _targets(dice: random.Random, kills: int) -> list[str]:
    """Every target once a round; a long run also loses everything at once, once a round."""
    found: list[str] = []
    while len(found) < kills:
        one_round = [*TARGETS, "whole"] if kills >= 20 else list(TARGETS)
        dice.shuffle(one_round)
        found += one_round
    return found[:kills]
