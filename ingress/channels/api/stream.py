"""A message's answer as server-sent events: the text as it is written, then the answer as it is stored."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from sse_starlette import ServerSentEvent

from ingress.channels.api.views import view
from ingress.live import Listener
from ingress.sse import OPEN, event
from ingress.wakeups import Wakeups
from storage.answers import MessageState

#: Seconds between looks in SQL when no wake-up comes.
POLL = 5.0
#: Reads where a message stands, and the turn whose text may be shown.
Read = Callable[[], Awaitable[tuple[MessageState | None, str | None]]]
DOCUMENTED = {
    "description": "Server-sent events, each with an `id` to go on from (`Last-Event-ID`): `delta` `{offset, text}`: "
    "from `offset` on (in Unicode code points) the answer reads `text`; `reset` `{}`: what came so far is no answer, "
    "forget it; `final`: the message with its answer as it was stored and sent, which may differ, "
    "after which the stream ends.",
    "content": {
        "text/event-stream": {
            "schema": {
                "type": "string",
                "examples": [
                    'id: 1-0193…-1001-0\nevent: delta\ndata: {"offset": 0, "text": "It takes"}\n\n'
                    'id: 2\nevent: final\ndata: {"message_id": "0193…", "status": "answered", "answer": {…}}\n\n'
                ],
            }
        }
    },
}


async def events(
    read: Read, conversation_id: str, *, wakeups: Wakeups, listener: Listener
) -> AsyncIterator[ServerSentEvent]:
    """The events of one message, to the ``final`` one."""
    yield OPEN
    async with contextlib.AsyncExitStack() as watching:
        watching.callback(listener.close)
        news = await watching.enter_async_context(wakeups.watch(conversation_id))
        while not wakeups.stopping:
            state, turn = await read()
            if state is None:
                return
            if state.final:
                yield event("final", view(state), str(state.seq))
                return
            listener.watch(conversation_id)
            async with contextlib.aclosing(listener.follow(turn, news, POLL)) as updates:
                async for update in updates:
                    yield event(update.kind, update.data, f"{state.seq}{update.place}")
