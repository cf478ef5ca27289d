"""Wake-ups over Redis: a worker says that a conversation has news, a waiting request looks in SQL.

SQL is the truth. A lost wake-up costs a waiter its poll period, nothing more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator

from redis.asyncio import Redis
from redis.exceptions import RedisError

from ragline.logs import get_logger

CHANNEL = "ragline:news"
#: Seconds after which a silent subscription is asked whether it is alive.
HEALTH = 15
log = get_logger(__name__)


class Wakeups:
    """One subscription a process, shared by all waiters. ``redis_url`` None: waiters only poll."""

    def __init__(self, redis_url: str | None) -> None:
        self._redis_url = redis_url
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._interrupted = False
        #: True once the process is about to end: a waiter answers with what it has.
        self.stopping = False

    @contextlib.asynccontextmanager
    async def watch(self, key: str, event: asyncio.Event | None = None) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever ``key``, a conversation's id, has news. Clear it before looking in SQL.

        Give ``event`` to watch several keys with one event.
        """
        event = event or asyncio.Event()
        if self.stopping:
            event.set()
        self._waiting[key].add(event)
        try:
            yield event
        finally:
            self._waiting[key].discard(event)
            if not self._waiting[key]:
                del self._waiting[key]

    def wake(self, key: str) -> None:
        """Wake those who wait for ``key`` in this process."""
        for event in self._waiting.get(key, ()):
            event.set()

    def stop(self) -> None:
        """Wake everybody for the last time. Open streams and waiting requests end at once."""
        self.stopping = True
        self._wake_all()

    async def run(self) -> None:
        """Listen for ever; while Redis is away the waiters go on by polling."""
        if self._redis_url is None:
            return
        delay = 0.2
        while True:
            redis = Redis.from_url(
                self._redis_url, socket_connect_timeout=3, socket_keepalive=True, health_check_interval=HEALTH
            )
            try:
                async with redis.pubsub() as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    delay = 0.2
                    while True:
                        # A time limit, because a connection that died in silence delivers nothing for ever.
                        message = await pubsub.get_message(timeout=HEALTH)
                        if message is None:
                            await pubsub.ping()
                        elif message["type"] == "subscribe":
                            self._back()
                        elif message["type"] == "message":
                            self.wake(message["data"].decode())
            except (RedisError, OSError) as error:
                if not self._interrupted:
                    log.warning("wakeups_interrupted", error=type(error).__name__)
                self._interrupted = True
            finally:
                with contextlib.suppress(RedisError, OSError):
                    await redis.aclose()
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5)

    def _back(self) -> None:
        if self._interrupted:
            log.info("wakeups_resumed")
            self._interrupted = False
            self._wake_all()  # what was published meanwhile is lost

    def _wake_all(self) -> None:
        for events in self._waiting.values():
            for event in events:
                event.set()


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Wait until ``event`` or for ``seconds``, whichever is first, then clear it."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    event.clear()
