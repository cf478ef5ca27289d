"""Webhooks, served before the framework's routing.

They are nearly all of the traffic, and under load FastAPI's routing, dependencies and serialisation took a third of
the process, the webhook's own code a fifth. What surrounds them is the same: the frame, the form of a refusal, the
count.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ingress.channels.base import Webhook
from ingress.refusals import told


class Webhooks:
    """ASGI middleware: deliveries to their webhooks, everything else to the application."""

    def __init__(self, app: ASGIApp, webhooks: Iterable[Webhook]) -> None:
        """``webhooks`` is read at each request: channels are mounted when the application starts."""
        self._app = app
        self._webhooks = webhooks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            for webhook in self._webhooks:
                if match := webhook.pattern.match(scope["path"]):
                    scope["path_params"], scope["route"] = match.groupdict(), webhook
                    response = await _answer(webhook, Request(scope, receive))
                    await response(scope, receive, send)
                    return
        await self._app(scope, receive, send)


async def _answer(webhook: Webhook, request: Request) -> Response:
    try:
        await webhook.take(request)
    except Exception as error:
        refused = await told(request, error)
        if refused is None:
            raise
        return refused
    return Response(b"{}", media_type="application/json")
