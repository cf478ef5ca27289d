"""Calls of several threads, done together: eight at once cost a model, a server or a database less than eight alone."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Call(Generic[Item, Result]):
    """One thread's call. ``result`` or ``error`` is there once it is ``done``."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.woken = threading.Event()
        self.done = False
        self.result: Result | None = None
        self.error: BaseException | None = None


class Batched(Generic[Item, Result]):
    """Hands the items of all threads that wait to ``work``, at most ``most`` at a time.

    Nobody waits for a batch to fill: a lone call is a batch of one, done in the caller's own thread, and what comes
    during it makes the next, done by the thread that has waited longest.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result]], *, most: int) -> None:
        """``work`` returns one result an item, in order; what it raises, each caller of the batch gets."""
        self._work, self._most = work, most
        self._waiting: deque[_Call[Item, Result]] = deque()
        self._busy = False
        self._lock = threading.Lock()

    def __call__(self, item: Item) -> Result:
        call: _Call[Item, Result] = _Call(item)
        with self._lock:
            self._waiting.append(call)
            first, self._busy = not self._busy, True
        if not first:
            call.woken.wait()
        if not call.done:
            self._do_batch()
        if call.error is not None:
            raise call.error
        return cast("Result", call.result)

    def _do_batch(self) -> None:
        """Do what waits, this thread's call among it, then wake the others and whoever is to do the next batch."""
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        try:
            results = self._work([call.item for call in batch])
            for call, result in zip(batch, results, strict=True):
                call.result = result
        except BaseException as error:
            for call in batch:
                call.error = error
        for call in batch:
            call.done = True
        with self._lock:
            self._busy = bool(self._waiting)
            next_one = list(self._waiting)[:1]
        for call in batch + next_one:
            call.woken.set()
