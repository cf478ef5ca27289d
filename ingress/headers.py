"""The outermost layer of the HTTP application: a limit on bodies, headers every response has, a count of each
request, and an honest 500 for what nobody foresaw."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingress.channels.base import MAX_BODY
from ragline.logs import get_logger

#: Is told method, route template (or none) and status of each finished request.
Count = Callable[[str, str | None, int], None]

log = get_logger(__name__)
_KEY = "ragline.frame"
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
#: For pages that bring no policy of their own.
_PAGE_POLICY = "base-uri 'none'; object-src 'none'; frame-ancestors 'none'"


@dataclass
class _State:
    #: As ASGI has them: names in lower case.
    headers: tuple[tuple[bytes, bytes], ...] = _ALWAYS
    limit: int = MAX_BODY


def add_headers(request: Request, headers: Mapping[str, str]) -> None:
    """Headers for whatever answers this request, also an error raised later."""
    state = request.scope[_KEY]
    given = {name.lower().encode("latin-1"): value.encode("latin-1") for name, value in headers.items()}
    state.headers = tuple((dict(state.headers) | given).items())


def limit_body(request: Request, limit: int) -> None:
    """Allow this request's body ``limit`` bytes instead of :data:`~ingress.channels.base.MAX_BODY`."""
    request.scope[_KEY].limit = limit


def limited(limit: int | Callable[[Request], int]) -> type[APIRoute]:
    """A route class (``APIRouter(route_class=...)``) whose bodies may have ``limit`` bytes.

    They are read before anything else is asked of a request: where ``limit`` depends on who sends it, it is a function.
    """

    class Limited(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handler = super().get_route_handler()

            async def handle(request: Request) -> Response:
                limit_body(request, limit if isinstance(limit, int) else limit(request))
                return await handler(request)

            return handle

    return Limited


class Frame:
    """ASGI middleware. A header the response has set itself is left alone."""

    def __init__(self, app: ASGIApp, count: Count) -> None:
        self._app = app
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope[_KEY] = _State()
        status, started, size = 500, False, 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            if message["type"] == "http.request":
                size += len(message.get("body", b""))
                if size > state.limit:
                    raise HTTPException(413, f"the body is larger than {state.limit} bytes")
            return message

        async def framed(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                own: dict[bytes, bytes] = dict(message["headers"])
                message["headers"] = [*message["headers"], *(pair for pair in state.headers if pair[0] not in own)]
                if own.get(b"content-type", b"").startswith(b"text/html"):
                    MutableHeaders(scope=message).setdefault("Content-Security-Policy", _PAGE_POLICY)
            await send(message)

        try:
            await self._app(scope, bounded, framed)
        except ClientDisconnect:
            status = 499  # nginx's number for a client that left
        except Exception:
            log.exception("request_failed", route=_template(scope), method=scope["method"])
            if started:
                raise  # half a response is better cut than completed with something else
            detail = "something broke on our side; it is in the log, try again later"
            await JSONResponse({"detail": detail}, 500)(scope, receive, framed)
        finally:
            self._count(scope["method"], _template(scope), status)


def _template(scope: Scope) -> str | None:
    path: str | None = getattr(scope.get("route"), "path", None)
    return path
