"""Coroutines that run as long as the process does: a poller, a watchdog. One that breaks is started again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from ragline.logs import get_logger

#: First and longest pause before a restart; a run longer than the latter counts as healthy. Seconds.
SHORTEST, LONGEST = 1.0, 60.0
log = get_logger(__name__)


class Background:
    """The running coroutines of one process."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run ``run()``. After an exception it is run again with backoff; when it returns it is done."""
        self._tasks.append(asyncio.create_task(_supervise(name, run), name=name))

    async def close(self, seconds: float = 5) -> None:
        """Cancel all, and wait for their clean-up that long."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            _, stuck = await asyncio.wait(self._tasks, timeout=seconds)
            for task in stuck:
                log.warning("background_stuck", task=task.get_name())
        self._tasks.clear()


async def _supervise(name: str, run: Callable[[], Awaitable[None]]) -> None:
    delay = SHORTEST
    while True:
        begun = time.monotonic()
        try:
            await run()
            return
        except Exception as error:
            if time.monotonic() - begun > LONGEST:
                delay = SHORTEST
            log.exception("background_failed", task=name, error=type(error).__name__, again_in=round(delay, 1))
        await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311
        delay = min(delay * 2, LONGEST)
