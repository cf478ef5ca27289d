"""Webhooks, served before the framework's routing.

They are nearly all of the traffic, and under load FastAPI's routing, dependencies and serialisation took a third of
the process, the webhook's own code a fifth. What surrounds them is the same: the frame, the form of a refusal, the
count.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from ingress.channels.base import Webhook
from ingress.headers import Count, Frame
from ingress.refusals import told


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
            response = Response(b"{}", media_type="application/json")
        await response(scope, receive, send)


class Application(FastAPI):
    """The framework's application, with the webhooks before it."""

    def __init__(self, webhooks: Webhooks, **options: Any) -> None:
        super().__init__(**options)
        self._webhooks = webhooks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        serve = self._webhooks if self._webhooks.claims(scope) else super().__call__
        await serve(scope, receive, send)
