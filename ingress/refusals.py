"""How errors are told to the other side: one shape, ``{"detail": what happened and what to do}``.

Neither a traceback nor what the customer wrote is ever sent back.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from ingress.channels.base import TooLarge, Unreadable
from ragline.errors import PermanentError, RaglineError, TransientError
from ragline.logs import get_logger
from storage.session import DatabaseUnavailable

_NAME = re.compile(r"[\w.-]{1,60}", re.ASCII)
log = get_logger(__name__)


def install(app: FastAPI) -> None:
    """Register the handlers."""
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)


async def told(request: Request, error: Exception) -> Response | None:
    """How ``error`` is told to the other side; None for what nobody foresaw."""
    handler = next((_HANDLERS[kind] for kind in type(error).__mro__ if kind in _HANDLERS), None)
    return await handler(request, error) if handler else None


def refusal(status: int, detail: str, headers: dict[str, str] | None = None, **more: Any) -> JSONResponse:
    """The one shape of an error."""
    return JSONResponse({"detail": detail, **more}, status, headers)


async def _database(request: Request, error: Exception) -> Response:
    # Not its text: that of a database's error holds the row.
    log.error("database_unavailable", path=_template(request), error=type(error.__cause__ or error).__name__)
    return refusal(503, "the database does not answer; nothing was stored, send it again", {"Retry-After": "2"})


async def _ragline(request: Request, error: Exception) -> Response:
    if isinstance(error, TooLarge):
        return refusal(413, str(error))
    if isinstance(error, Unreadable):
        return refusal(400, str(error))
    if isinstance(error, TransientError):
        return refusal(503, str(error), {"Retry-After": str(max(1, round(getattr(error, "retry_after", None) or 2)))})
    return refusal(422 if isinstance(error, PermanentError) else 500, str(error))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [_problem(entry) for entry in error.errors()]
    text = "; ".join(f"{problem['field']}: {problem['problem']}" for problem in problems[:5])
    return refusal(422, text, errors=problems)


def _problem(entry: dict[str, Any]) -> dict[str, str]:
    # Names of unknown fields are the sender's words too.
    parts = [str(part) if _NAME.fullmatch(str(part)) else "(unnamed)" for part in entry["loc"]]
    field = ".".join(parts[1:]) or parts[0] if parts else "body"
    if entry["type"] == "json_invalid":
        return {"field": "body", "problem": "is not valid JSON"}
    if entry["type"] in ("model_attributes_type", "dict_type", "missing") and field == "body":
        return {"field": "body", "problem": "must be a JSON object, sent with Content-Type: application/json"}
    if entry["type"] == "extra_forbidden":
        return {"field": field, "problem": "is no field of this request"}
    return {"field": field, "problem": str(entry["msg"]).removeprefix("Value error, ")}


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code in (204, 304):
        return Response(status_code=error.status_code, headers=headers)
    return refusal(error.status_code, str(error.detail), headers)


_HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    DatabaseUnavailable: _database,
    SQLAlchemyError: _database,
    RaglineError: _ragline,
    RequestValidationError: _invalid,
    HTTPException: _http,
}


def _template(request: Request) -> str | None:
    return getattr(request.scope.get("route"), "path", None)
