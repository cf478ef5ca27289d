"""Texts that models are writing, read from Redis and told to listeners: each what it does not have yet, and no more.

Redis is read from its beginning for every listener, and the listener's own place says what is missing: so a stream
that broke off goes on in any process. Without Redis nothing is told, and the answer comes all the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ingress.wakeups import wait_for
from ragline.logs import get_logger
from storage.live import WATCHED, Draft, Place, key, watched_key

#: Seconds one read waits in Redis; and how many may wait at once, each on a connection of its own. One more listener
#: is shown the answer only.
BLOCK, READERS = 10, 500
#: Where a stream begins.
BEGINNING = b"0-0"
#: (id, fields) each.
Entries = list[tuple[bytes, dict[bytes, bytes]]]
log = get_logger(__name__)


@dataclass(frozen=True)
class Update:
    """``delta``: from ``offset`` on the text reads ``text``. ``reset``: what was shown is no answer, forget it.

    ``place`` is where the listener stands behind it.
    """

    kind: Literal["delta", "reset"]
    data: dict[str, Any]
    place: Place


class Live:
    """The connections of one process. ``redis_url`` None: nothing is ever read."""

    def __init__(self, redis_url: str | None) -> None:
        self._redis: Redis | None = None
        self._interrupted = False
        if redis_url is not None:
            self._redis = Redis.from_url(
                redis_url, socket_connect_timeout=2, socket_timeout=BLOCK + 5, max_connections=READERS,
                retry=Retry(NoBackoff(), 0), protocol=2,
            )  # fmt: skip

    async def read(self, turn: str, after: bytes, *, wait: bool) -> Entries | None:
        """What the turn's stream holds behind ``after``, the oldest first. None: Redis cannot be asked now.

        ``wait``: until there is something, for :data:`BLOCK` seconds at most.
        """
        block = BLOCK * 1000 if wait else None
        found = await self._asked(lambda redis: redis.xread({key(turn): after}, block=block))
        return found if found is None else found[0][1] if found else []

    async def watch(self, conversation_id: str) -> None:
        """Say that somebody watches the conversation for the next :data:`storage.live.WATCHED` seconds: a text is
        streamed from a model only then, as that takes ten times the work."""
        await self._asked(lambda redis: redis.set(watched_key(conversation_id), 1, ex=WATCHED))

    async def _asked(self, command: Callable[[Redis], Awaitable[Any]]) -> Any:
        """What Redis answers; None where it cannot be asked now."""
        if self._redis is None:
            return None
        try:
            found = await command(self._redis)
        except (RedisError, OSError) as error:
            if not self._interrupted:
                log.warning("live_text_interrupted", error=type(error).__name__)
            self._interrupted = True
            return None
        self._interrupted = False
        return found

    async def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            await self._redis.aclose()


class Listener:
    """One who watches a conversation. ``place``: what they have of a text already, from an earlier stream."""

    def __init__(self, live: Live, place: Place | None = None) -> None:
        self._live = live
        self._place = place
        self._turn: str | None = None
        self._answered: str | None = None
        self._draft = Draft()
        self._last = BEGINNING
        self._reading: asyncio.Task[Entries | None] | None = None
        self._saying: asyncio.Task[None] | None = None

    def answered(self) -> None:
        """A message was told: it stands in the place of any text before it, of whose turn nothing more is told."""
        self._place, self._answered = None, self._turn

    def watch(self, conversation_id: str) -> None:
        """Say that there is a listener; to be repeated at every look. Nothing waits for it."""
        if self._saying is None or self._saying.done():
            self._saying = asyncio.ensure_future(self._live.watch(conversation_id))

    async def follow(self, turn: str | None, news: asyncio.Event, seconds: float) -> AsyncGenerator[Update]:
        """What is written in ``turn``, the one at work (None: nothing may be shown), until ``news`` or for ``seconds``.

        ``news`` is clear afterwards.
        """
        if turn == self._answered:
            turn = None
        if turn != self._turn:
            self.close()
            self._turn, self._draft, self._last = turn, Draft(), BEGINNING
        if self._place and self._place.turn != turn:
            place, self._place = self._place, None
            if place.offset:
                yield Update("reset", {}, replace(place, offset=0))
        until = time.monotonic() + seconds
        wait = self._reading is not None
        while turn and not news.is_set() and (left := until - time.monotonic()) > 0:
            entries = await self._entries(turn, news, left, wait=wait)
            if entries is None:
                break
            for self._last, fields in entries:
                self._draft = self._draft.after([fields])
            for update in self._updates(turn):
                yield update
            # A stream that is not there, or whose text is over, is not waited for: there will be news when it begins.
            if self._last == BEGINNING or self._draft.over:
                break
            wait = True
        await wait_for(news, max(until - time.monotonic(), 0))

    def close(self) -> None:
        """Read no more."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    async def _entries(self, turn: str, news: asyncio.Event, seconds: float, *, wait: bool) -> Entries | None:
        """Further entries; None when there is news, the time is over, or Redis is away. A read that still waits then
        is kept for the next time: to break it off would cost the connection."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._live.read(turn, self._last, wait=wait))
        woken = asyncio.ensure_future(news.wait())
        try:
            done, _ = await asyncio.wait({self._reading, woken}, timeout=seconds, return_when="FIRST_COMPLETED")
        finally:
            woken.cancel()
        if self._reading not in done:
            return None
        reading, self._reading = self._reading, None
        return reading.result()

    def _updates(self, turn: str) -> list[Update]:
        draft, place, updates = self._draft, self._place, []
        if draft.number == 0:
            return []
        if place is None or place.number != draft.number or place.offset > len(draft.text):
            start = Place(turn, draft.number, 0)
            if place and place.offset:
                updates.append(Update("reset", {}, start))
            place = start
        if fresh := draft.text[place.offset :]:
            data = {"offset": place.offset, "text": fresh}
            place = Place(turn, draft.number, len(draft.text))
            updates.append(Update("delta", data, place))
        self._place = place
        return updates
