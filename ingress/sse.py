"""Server-sent events as our listeners read them (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

#: Seconds between heartbeats. The widget's page takes a stream that is silent for longer than two for dead.
HEARTBEAT = 15
#: The widget's page splits the stream at empty lines, and lines at LF; the default is CRLF.
_Event = partial(ServerSentEvent, sep="\n")
OPEN = _Event(comment="open")


def event(kind: str, data: dict[str, Any], id_: str | None = None) -> ServerSentEvent:
    """An event whose data is one line of JSON."""
    return _Event(json.dumps(data, ensure_ascii=False), event=kind, id=id_)


class Stream(EventSourceResponse):
    """Calls ``ended`` at its end, also when the listener was gone before it began. ``ping``: seconds between beats."""

    def __init__(
        self,
        content: AsyncIterator[ServerSentEvent],
        *,
        ping: int = HEARTBEAT,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(content, ping=ping, ping_message_factory=lambda: _Event(comment="alive"), send_timeout=30)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()
