"""The stream of a conversation: SQL is the replay and the truth, wake-ups only say when to look."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent

from ingress.channels.base import Inlet
from ingress.wakeups import wait_for
from storage.transcript import Line, Look, look

#: Seconds between looks when no wake-up comes, and between heartbeats.
POLL, HEARTBEAT = 3.0, 15
#: A browser that lost the stream comes back after this, milliseconds.
RETRY = 2000


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
    if line.client_id and line.role == "visitor":
        message["client_id"] = line.client_id
    return message


async def read(inlet: Inlet, site: str, key: str, after: int, *, newest: bool = False) -> Look | None:
    """What is new for this visitor."""

    def query() -> Look | None:
        with inlet.database.read() as session:
            return look(session, channel="widget", account=site, key=key, after=after, newest=newest)

    return await asyncio.to_thread(query)


async def _events(inlet: Inlet, site: str, key: str, after: int) -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent(comment="open", retry=RETRY)
    typing = False
    conversation_id: str | None = None
    async with contextlib.AsyncExitStack() as watching:
        # Until the first message there is no conversation, only the visitor's key.
        news = await watching.enter_async_context(inlet.wakeups.watch(key))
        while not inlet.wakeups.stopping:
            found = await read(inlet, site, key, after)
            if found is None:
                await wait_for(news, POLL)
                continue
            if conversation_id is None:
                conversation_id = found.conversation_id
                await watching.enter_async_context(inlet.wakeups.watch(conversation_id, news))
            for line in found.lines:
                after = line.seq
                yield ServerSentEvent(json.dumps(shown(line), ensure_ascii=False), event="message", id=str(line.seq))
            if found.more:
                continue  # the replay is not over
            if found.typing != typing:
                typing = found.typing
                yield ServerSentEvent(json.dumps({"on": typing}), event="typing")
            await wait_for(news, POLL)


def events(inlet: Inlet, site: str, key: str, after: int) -> EventSourceResponse:
    """The messages above ``after`` and those to come, until the visitor leaves or the process ends."""
    return EventSourceResponse(
        _events(inlet, site, key, after),
        sep="\n",
        ping=HEARTBEAT,
        ping_message_factory=lambda: ServerSentEvent(comment="alive", sep="\n"),
        send_timeout=30,
    )
