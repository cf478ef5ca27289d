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
log = get_logger(__name__)


class Wakeups:
    """One subscription a process, shared by all waiters."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    @contextlib.asynccontextmanager
    async def watch(self, conversation_id: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever the conversation has news. Clear it before looking in SQL."""
        event = asyncio.Event()
        self._waiting[conversation_id].add(event)
        try:
            yield event
        finally:
            self._waiting[conversation_id].discard(event)
            if not self._waiting[conversation_id]:
                del self._waiting[conversation_id]

    async def run(self) -> None:
        """Listen for ever; while Redis is away the waiters go on by polling."""
        delay = 0.2
        while True:
            redis = Redis.from_url(self._redis_url, socket_connect_timeout=3, health_check_interval=15)
            try:
                async with redis.pubsub() as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    delay = 0.2
                    async for message in pubsub.listen():
                        if message["type"] == "message":
                            self._wake(message["data"].decode())
            except (RedisError, OSError) as error:
                log.warning("wakeups_interrupted", error=type(error).__name__)
            finally:
                with contextlib.suppress(RedisError, OSError):
                    await redis.aclose()
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5)

    def _wake(self, conversation_id: str) -> None:
        for event in self._waiting.get(conversation_id, ()):
            event.set()


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Wait until ``event`` or for ``seconds``, whichever is first, then clear it."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    event.clear()
