"""How each model fares in this process: counts for the metrics, and who is left alone for how long."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pipeline.providers import Kind
from pipeline.routes import Deployment

#: Seconds a model is left alone after its first failure; each further one in a row doubles it.
FIRST_COOLDOWN = 1.0
#: Failures after which a model would fail for the next customer as well.
_COOLS: frozenset[Kind] = frozenset({"timeout", "connection", "server_error", "rate_limit"})


@dataclass
class _State:
    calls: int = 0
    seconds: float = 0.0
    failures: Counter[Kind] = field(default_factory=Counter)
    in_a_row: int = 0
    cooled_at: float = float("-inf")
    until: float = float("-inf")
    tried_until: float = float("-inf")


class Health:
    """Counts and cooldowns of deployments. Thread-safe; ``clock`` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._states: dict[str, _State] = {}

    def candidates(self, route: Sequence[Deployment]) -> Iterator[Deployment]:
        """Those of a route that may be asked now, in order; each is looked at when its turn comes.

        After a cooldown one call tries the model again. Until that ends, others ask it last: where it still hangs, one
        customer waits and not all of them.
        """
        late = []
        for one in route:
            with self._lock:
                now, state = self._clock(), self._state(one)
                cooling, being_tried = state.until > now, state.tried_until > now
                if not cooling and not being_tried and state.in_a_row:
                    state.tried_until = now + one.timeout
            if being_tried and not cooling:
                late.append(one)
            elif not cooling:
                yield one
        for one in late:
            if not self._wait(one):
                yield one

    def soonest(self, route: Sequence[Deployment]) -> float:
        """Seconds until one of a route may be asked again, in tenths, rounded up; 0: now."""
        return math.ceil(min(map(self._wait, route), default=0.0) * 10) / 10

    def now(self) -> float:
        """This clock."""
        return self._clock()

    def succeeded(self, one: Deployment, *, began: float) -> None:
        """A call that began at ``began`` was answered. One from before the cooldown does not end it."""
        with self._lock:
            now, state = self._clock(), self._state(one)
            state.calls += 1
            state.seconds += now - began
            if began >= state.cooled_at:
                state.in_a_row, state.until, state.tried_until = 0, float("-inf"), float("-inf")

    def failed(self, one: Deployment, kind: Kind, *, began: float, retry_after: float | None = None) -> None:
        """A call that began at ``began`` gave no answer.

        A time the provider names is kept to. Calls that were on their way when the cooldown began say nothing new.
        """
        with self._lock:
            now, state = self._clock(), self._state(one)
            state.calls += 1
            state.failures[kind] += 1
            state.tried_until = float("-inf")
            if kind not in _COOLS:
                return
            if began >= state.cooled_at:
                state.in_a_row += 1
                state.cooled_at = now
                own = min(FIRST_COOLDOWN * 2 ** min(state.in_a_row - 1, 20), one.cooldown)
                state.until = max(state.until, now + own)
            if retry_after:
                state.cooled_at, state.until = now, max(state.until, now + retry_after)

    def not_asked(self, one: Deployment) -> None:
        """A candidate was not asked after all, or nobody waited for its answer: another call may try it."""
        with self._lock:
            self._state(one).tried_until = float("-inf")

    def snapshot(self) -> list[dict[str, Any]]:
        """Per deployment: ``model``, ``calls``, ``seconds`` (of the answered ones), ``failures`` by kind, ``cooldown``
        (seconds left)."""
        with self._lock:
            now = self._clock()
            return [
                {
                    "model": name,
                    "calls": state.calls,
                    "seconds": round(state.seconds, 3),
                    "failures": dict(state.failures),
                    "cooldown": round(max(state.until - now, 0.0), 3),
                }
                for name, state in self._states.items()
                if state.calls
            ]

    def _wait(self, one: Deployment) -> float:
        with self._lock:
            return max(self._state(one).until - self._clock(), 0.0)

    def _state(self, one: Deployment) -> _State:
        return self._states.setdefault(one.id, _State())


@lru_cache(maxsize=1)
def process_health() -> Health:
    """The health that all threads of this process share."""
    return Health()
