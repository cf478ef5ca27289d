"""The stream of a conversation: SQL is the replay and the truth, wake-ups only say when to look."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from ingress.wakeups import Wakeups, wait_for
from storage.session import Database
from storage.transcript import Line, Look, look

#: Seconds between looks when no wake-up comes: in a conversation, and before there is one.
POLL, ABSENT = 15.0, 120.0
#: Seconds between heartbeats. The page takes a stream that is silent for longer than two for dead.
HEARTBEAT = 15
#: The page splits the stream at empty lines, and lines at LF; the default is CRLF.
_Event = partial(ServerSentEvent, sep="\n")


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


async def _events(wakeups: Wakeups, reader: Reader, site: str, key: str, after: int) -> AsyncIterator[ServerSentEvent]:
    yield _Event(comment="open")
    typing = False
    conversation_id: str | None = None
    async with contextlib.AsyncExitStack() as watching:
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
                yield _Event(json.dumps(shown(line), ensure_ascii=False), event="message", id=str(line.seq))
            if found.more:
                continue  # the replay is not over
            if found.typing != typing:
                typing = found.typing
                yield _Event(json.dumps({"on": typing}), event="typing")
            await wait_for(news, _about(POLL))


class _Stream(EventSourceResponse):
    """Calls ``ended`` at its end, also when the visitor was gone before it began."""

    def __init__(self, content: AsyncIterator[ServerSentEvent], ended: Callable[[], None]) -> None:
        super().__init__(
            content,
            ping=HEARTBEAT,
            ping_message_factory=lambda: _Event(comment="alive"),
            send_timeout=30,
        )
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


def events(
    wakeups: Wakeups, reader: Reader, site: str, key: str, after: int, *, ended: Callable[[], None]
) -> EventSourceResponse:
    """The messages above ``after`` and those to come, until the visitor leaves or the process ends.

    ``ended`` is called once, whatever ends the stream.
    """
    return _Stream(_events(wakeups, reader, site, key, after), ended)
