"""The widget's HTTP side: sessions, files, messages, events, the scripts and the demo page."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute

from ingress.channels.base import MOST_FILES, Inlet, Mounted, bearer
from ingress.channels.widget import assets, texts
from ingress.channels.widget.normalise import WidgetMessage, WidgetSession, language, normalise
from ingress.channels.widget.sessions import (
    Limits,
    OpenStreams,
    Origins,
    RateLimit,
    address_of,
    conversation_key,
    new_token,
)
from ingress.channels.widget.stream import Reader, events, shown
from ingress.channels.widget.uploads import Gone, Unfit, Uploads
from ingress.headers import add_headers, limit_body
from ingress.live import Listener
from ragline.channels import WidgetAccount
from ragline.clock import utcnow
from ragline.ids import new_id
from storage.live import parse_event_id

#: Bytes of a body: the longest message, each character written as the longest escape.
MAX_BYTES = 64_000
#: Numbers of messages fit the database's integers.
LAST = 2**31 - 1
#: Seconds after which one who was refused a stream may ask again.
LATER = 30


def mount(inlet: Inlet, limits: Limits | None = None) -> Mounted:
    """The routes of all sites."""
    limits = limits or Limits()
    accounts = inlet.settings.accounts("widget", WidgetAccount)
    origins = {site: Origins(site, account, inlet.settings.public_url) for site, account in accounts.items()}
    by_session = RateLimit(limits.messages_per_session, limits.window)
    by_address = RateLimit(limits.messages_per_address, limits.window)
    sessions = RateLimit(limits.sessions_per_address, limits.window)
    reads = RateLimit(limits.reads_per_address, limits.window)
    streams = OpenStreams(limits.streams_per_address, limits.streams)
    reader = Reader(inlet.database, limits.readers)
    uploads = Uploads(inlet.settings)
    files_by_session = RateLimit(limits.files_per_session, limits.window)
    files_by_address = RateLimit(limits.files_per_address, limits.window)
    megabytes = RateLimit(max(limits.megabytes_per_address, inlet.settings.media.largest), 3600)
    uploading = OpenStreams(limits.uploads_per_address, limits.uploads)
    taking = {site for site, account in accounts.items() if account.files and uploads.kinds}

    class SiteRoute(APIRoute):
        """Knows the site and the page before anything is read, so that a refusal too reaches the page."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handler = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                limit_body(request, MAX_BYTES)
                site = request.path_params["site"]
                if site not in accounts:
                    raise HTTPException(404, "no such site")
                admitted = origins[site].admits(request)
                add_headers(request, _cors(request) if admitted else {"Vary": "Origin"})
                if not admitted and request.method != "GET":
                    raise _refusal(403, "foreign", request)
                if request.method == "OPTIONS":
                    return Response(status_code=204)
                return await handler(request)

            return guarded

    router = APIRouter(prefix="/widget/{site}", tags=["widget"], route_class=SiteRoute)

    @router.options("/session", include_in_schema=False)
    @router.options("/files", include_in_schema=False)
    @router.options("/messages", include_in_schema=False)
    @router.options("/events", include_in_schema=False)
    async def preflight() -> Response:
        return Response(status_code=204)

    @router.post("/session", response_model=None)
    async def open_session(site: str, body: WidgetSession, request: Request) -> JSONResponse:
        """Open a visitor's session, or confirm the one of an earlier visit."""
        if wait := sessions.wait(address_of(request)):
            raise _refusal(429, "too_many", request, body.locale, wait)
        account = accounts[site]
        wish = language(body.locale, request.headers.get("accept-language"))
        chosen = texts.choose(wish, texts.TITLE, account.title, account.greeting)
        opened: dict[str, Any] = {
            "token": body.token if conversation_key(body.token) else new_token(),
            "locale": chosen,
            "title": texts.text_in(chosen, account.title, texts.TITLE),
            "greeting": texts.text_in(chosen, account.greeting, texts.GREETING),
        }
        if site in taking:
            opened["files"] = {"largest": uploads.largest, "most": MOST_FILES, "accept": uploads.accepted}
        return JSONResponse(opened, headers={"Cache-Control": "no-store"})

    @router.post("/files", status_code=201, response_model=None)
    async def post_file(site: str, request: Request, locale: str | None = None) -> JSONResponse:
        """Keep one file, the whole body of the request, for a message to come."""
        key, address = _visitor(request, locale), address_of(request)
        if site not in taking:
            raise _refusal(403, "no_files", request, locale)
        size = _declared(request)
        if size > uploads.largest:
            raise _refusal(413, texts.too_large(inlet.settings.media.largest), request, locale)
        if reason := uploading.open(address):
            raise _refusal(429 if reason == "crowded" else 503, "too_many", request, locale, LATER)
        try:
            if wait := (
                files_by_session.wait(f"{site}:{key}")
                or files_by_address.wait(address)
                or megabytes.wait(address, size / 2**20)
            ):
                raise _refusal(429, "too_many", request, locale, wait)
            limit_body(request, uploads.largest + MAX_BYTES)  # past the largest file the refusal below is the clearer
            async with asyncio.timeout(limits.upload_seconds):
                taken = await uploads.take(request, f"{site}:{key}", utcnow())
        except Unfit as error:
            status, wording = _unfit(error.reason)
            raise _refusal(status, wording, request, locale) from None
        except TimeoutError:
            raise _refusal(408, "file_slow", request, locale) from None
        finally:
            uploading.close(address)
        return JSONResponse({"file": taken}, 201)

    @router.post("/messages", status_code=202, response_model=None)
    async def post_message(site: str, body: WidgetMessage, request: Request) -> JSONResponse:
        """Accept a visitor's message; the answer comes over `events`."""
        key = _visitor(request, body.locale)
        if len(body.text.strip()) > texts.LONGEST:
            raise _refusal(413, "too_long", request, body.locale)
        if not body.text.strip() and not body.media:
            raise _refusal(422, "empty", request, body.locale)
        if wait := by_session.wait(f"{site}:{key}") or by_address.wait(address_of(request)):
            raise _refusal(429, "too_many", request, body.locale, wait)
        locale = language(body.locale, request.headers.get("accept-language"))
        try:
            media = await uploads.find(body.media, f"{site}:{key}")
        except Gone:
            raise _refusal(422, "file_gone", request, body.locale) from None
        envelope = normalise(
            body, site=site, conversation=key, locale=locale, message_id=new_id(), now=utcnow(), media=media
        )
        (accepted,) = await inlet.acceptor.accept([envelope])
        if accepted.outcome == "conflict":
            raise _refusal(409, "conflict", request, body.locale)
        inlet.wakeups.wake(key)
        inlet.wakeups.wake(accepted.conversation_id)
        receipt: dict[str, Any] = {"message_id": accepted.message_id, "seq": accepted.seq}
        if accepted.outcome == "duplicate":
            receipt["duplicate"] = True
        return JSONResponse(receipt, 202)

    @router.get("/messages", response_model=None)
    async def get_messages(
        site: str, request: Request, after: Annotated[int, Query(ge=0, le=LAST)] = 0
    ) -> JSONResponse:
        """The messages numbered above `after`; without it the newest ones."""
        key = _visitor(request)
        if wait := reads.wait(address_of(request)):
            raise _refusal(429, "too_often", request, wait=wait)
        found = await reader.read(site, key, after, newest=not after)
        return JSONResponse(
            {"messages": [shown(line) for line in found.lines] if found else []},
            headers={"Cache-Control": "no-store"},
        )

    @router.get("/events", response_model=None)
    async def get_events(
        site: str,
        request: Request,
        after: Annotated[int, Query(ge=0, le=LAST)] = 0,
        last_event_id: Annotated[str, Header()] = "",
    ) -> Response:
        """Server-sent events: `message` (its id is the message's number), `typing`, and while an answer is written
        `delta` (from `offset` on it reads `text`) and `reset` (what was shown is none), until its `message`."""
        key, address = _visitor(request), address_of(request)
        if wait := reads.wait(address):
            raise _refusal(429, "too_often", request, wait=wait)
        seen, place = parse_event_id(last_event_id)
        after = max(after, min(seen, LAST))
        if reason := streams.open(address):
            raise _refusal(429 if reason == "crowded" else 503, reason, request, wait=LATER)
        ended, listener = partial(streams.close, address), Listener(inlet.live, place)
        return events(inlet.wakeups, reader, listener, site, key, after, ended=ended)

    def _unfit(reason: str) -> tuple[int, Mapping[str, str]]:
        if reason == "too_large":
            return 413, texts.too_large(inlet.settings.media.largest)
        if reason == "type":
            return 415, texts.wrong_type(uploads.kinds)
        return 422, texts.REFUSALS["file_broken"]

    parts = APIRouter()
    parts.include_router(assets.routes(demo="default" in accounts))
    parts.include_router(router)
    return Mounted(parts, background=(reader.run,))


def _visitor(request: Request, locale: str | None = None) -> str:
    key = conversation_key(bearer(request))
    if key is None:
        raise _refusal(401, "no_session", request, locale)
    return key


def _declared(request: Request) -> int:
    """The bytes a body is said to have; one that says nothing counts as a megabyte."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 2**20


def _refusal(
    status: int, reason: str | Mapping[str, str], request: Request, locale: str | None = None, wait: float | None = None
) -> HTTPException:
    wish = language(locale, request.headers.get("accept-language"))
    wording = texts.REFUSALS[reason] if isinstance(reason, str) else reason
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if wait is not None:
        headers["Retry-After"] = str(math.ceil(wait))
    return HTTPException(status, wording[texts.choose(wish, wording)], headers)


def _cors(request: Request) -> dict[str, str]:
    origin = request.headers.get("origin")
    if origin is None:
        return {"Vary": "Origin"}
    headers = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "Retry-After",
        "Vary": "Origin",
    }
    if request.method == "OPTIONS":
        headers |= {
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Allow-Headers": "Authorization, Content-Type, Last-Event-ID",
            "Access-Control-Max-Age": "600",
        }
    return headers
