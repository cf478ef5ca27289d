"""The stream of a conversation: SQL is the replay and the truth, wake-ups only say when to look."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent

from ingress.live import Listener
from ingress.sse import HEARTBEAT, OPEN, Stream, event
from ingress.wakeups import Wakeups, wait_for
from storage.session import Database
from storage.transcript import Line, Look, look

#: Seconds between looks when no wake-up comes: in a conversation, and before there is one.
POLL, ABSENT = 15.0, 120.0


def shown(line: Line) -> dict[str, Any]:
    """One message as the page gets it."""
    message: dict[str, Any] = {
        "seq": line.seq,
        "id": line.id,
        "role": line.role,
        "text": line.text,
        "sent_at": line.sent_at.isoformat(),
    }
    if line.citations:
        message["citations"] = line.citations
    if line.files:
        message["files"] = line.files
    if line.buttons:
        message["options"] = line.buttons
    if line.client_id and line.role == "visitor":
        message["client_id"] = line.client_id
    return message


class Reader:
    """Looks in SQL from ``threads`` threads of its own: a crowd of streams must not hold up the other channels."""

    def __init__(self, database: Database, threads: int) -> None:
        self._database = database
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="widget")

    async def read(self, site: str, key: str, after: int, *, newest: bool = False) -> Look | None:
        """What is new for this visitor."""

        def query() -> Look | None:
            with self._database.read() as session:
                return look(session, channel="widget", account=site, key=key, after=after, newest=newest)

        return await asyncio.get_running_loop().run_in_executor(self._threads, query)

    async def run(self) -> None:
        """Keep the threads until cancelled; then end them, each after the look it is at."""
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)


def _about(seconds: float) -> float:
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311


async def _events(
    wakeups: Wakeups, reader: Reader, listener: Listener, site: str, key: str, after: int
) -> AsyncIterator[ServerSentEvent]:
    yield OPEN
    typing = False
    conversation_id: str | None = None
    async with contextlib.AsyncExitStack() as watching:
        watching.callback(listener.close)
        # Until the first message there is no conversation, only the visitor's key.
        news = await watching.enter_async_context(wakeups.watch(key))
        while not wakeups.stopping:
            found = await reader.read(site, key, after)
            if found is None:
                await wait_for(news, _about(ABSENT))
                continue
            if conversation_id is None:
                conversation_id = found.conversation_id
                await watching.enter_async_context(wakeups.watch(conversation_id, news))
                news.set()  # what came between that look and this watch woke nobody: look again
            for line in found.lines:
                after = line.seq
                if line.role != "visitor":
                    listener.answered()
                yield event("message", shown(line), str(line.seq))
            if found.more:
                continue  # the replay is not over
            if found.typing != typing:
                typing = found.typing
                yield event("typing", {"on": typing})
            listener.watch(conversation_id)
            async with contextlib.aclosing(listener.follow(found.turn, news, _about(POLL))) as updates:
                async for update in updates:
                    yield event(update.kind, update.data, f"{after}{update.place}")


def events(
    wakeups: Wakeups,
    reader: Reader,
    listener: Listener,
    site: str,
    key: str,
    after: int,
    *,
    ended: Callable[[], None],
) -> EventSourceResponse:
    """The messages above ``after`` and those to come, and texts as they are written, until the visitor leaves or the
    process ends.

    ``ended`` is called once, whatever ends the stream.
    """
    return Stream(_events(wakeups, reader, listener, site, key, after), ping=HEARTBEAT, ended=ended)
