"""Webhooks, served before the framework's routing, and how their bodies are read.

They are nearly all of the traffic, and under load FastAPI's routing, dependencies and serialisation took a third of
the process, the webhook's own code a fifth. What surrounds them is the same: the frame, the form of a refusal, the
count.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from ingress.channels.base import MAX_BODY, Webhook
from ingress.headers import Count, Frame, limit_body
from ingress.refusals import told

#: Wider than the application's limit: what is beyond :data:`MAX_BODY` is cut and kept, not refused.
MAX_DELIVERY = 64 * MAX_BODY


class Webhooks:
    """An ASGI application: the channels' webhooks."""

    def __init__(self, count: Count) -> None:
        self._webhooks: list[Webhook] = []
        self._framed = Frame(self._answer, count)

    def add(self, webhooks: Iterable[Webhook]) -> None:
        """Serve these too; channels are mounted when the application starts."""
        self._webhooks.extend(webhooks)

    def claims(self, scope: Scope) -> bool:
        """Whether the request is for a webhook, which is then noted in ``scope``."""
        if scope["type"] == "http" and scope["method"] == "POST":
            for webhook in self._webhooks:
                if match := webhook.pattern.match(scope["path"]):
                    scope["path_params"], scope["route"] = match.groupdict(), webhook
                    return True
        return False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that was claimed."""
        await self._framed(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        webhook, request = scope["route"], Request(scope, receive)
        try:
            await webhook.take(request)
        except Exception as error:
            response = await told(request, error)
            if response is None:
                raise
        else:
            response = Response()  # no body: one write to the socket less, and nobody reads it
        await response(scope, receive, send)


async def read_delivery(
    request: Request, quarantine: Callable[[bytes, str], Awaitable[None]]
) -> tuple[Any, bytes] | None:
    """What an authentic delivery says (JSON) and its bytes. None: ``quarantine`` was given what cannot be read."""
    limit_body(request, MAX_DELIVERY)
    kept, size = bytearray(), 0
    # A connection closed in the middle of an upload would look like a failure to the channel: the rest is dropped.
    async for chunk in request.stream():
        size += len(chunk)
        kept += chunk[: max(0, MAX_BODY - len(kept))]
    body = bytes(kept)
    if size > len(body):
        await quarantine(body, f"the body of {size} bytes is larger than {MAX_BODY} and was cut")
        return None
    try:
        return json.loads(body), body
    except (ValueError, RecursionError) as error:
        await quarantine(body, f"not JSON ({type(error).__name__})")
        return None


class Application(FastAPI):
    """The framework's application, with the webhooks before it."""

    def __init__(self, webhooks: Webhooks, **options: Any) -> None:
        super().__init__(**options)
        self._webhooks = webhooks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        serve = self._webhooks if self._webhooks.claims(scope) else super().__call__
        await serve(scope, receive, send)
