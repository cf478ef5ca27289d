"""``/api/v1/messages``: post a message, wait for its answer, or ask for it later."""

from __future__ import annotations

import asyncio
import re
import time
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBearer
from pydantic import StringConstraints

from ingress.channels.api.normalise import ApiMessage, normalise
from ingress.channels.api.stream import DOCUMENTED, events
from ingress.channels.api.uploads import Uploads
from ingress.channels.api.views import MessageView, view
from ingress.channels.base import Inlet, Mounted, Storable, bearer, secret_matches
from ingress.headers import limited
from ingress.live import Listener
from ingress.sse import Stream
from ingress.wakeups import wait_for
from ragline.channels import ApiAccount
from ragline.clock import utcnow
from ragline.ids import new_id
from ragline.logs import get_logger
from storage.answers import MessageState, message_state
from storage.live import parse_event_id
from storage.transcript import turn_at_work

#: Seconds between looks in SQL while a request waits and no wake-up comes.
POLL = 1.0
#: Bytes of a body: 20,000 characters, each written as the longest escape.
MAX_BYTES = 400_000
_OUR_ID = re.compile(r"[0-9a-f-]{36}")
log = get_logger(__name__)


def mount(inlet: Inlet) -> Mounted:
    """The routes of the JSON channel. Without an account they refuse everybody."""
    accounts = inlet.settings.accounts("api", ApiAccount)
    uploads = Uploads(inlet.settings)
    # HTTPBearer only tells the documentation; authorise() decides.
    documented = [Depends(HTTPBearer(auto_error=False))]
    largest = inlet.settings.media.largest * 2**20

    def known(request: Request) -> list[str]:
        given = bearer(request)
        # All keys are compared, so that the time tells nothing about which one was near.
        return [name for name, account in accounts.items() if secret_matches(given, account.key)]

    def most(request: Request) -> int:
        # Files come as base64. Only who has a key may send that much.
        return MAX_BYTES + (largest * 4 // 3 if known(request) else 0)

    router = APIRouter(prefix="/api/v1/messages", tags=["messages"], dependencies=documented, route_class=limited(most))

    async def authorise(request: Request) -> str:
        matching = known(request)
        if matching:
            return matching[0]
        if not accounts:
            log.warning("api_without_key", what_to_do="set RAGLINE_API_KEY, or channels.api.<account>.key")
        raise HTTPException(
            401, "the API key is missing or wrong: send Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"}
        )

    async def state_of(message_id: str) -> MessageState | None:
        def read() -> MessageState | None:
            with inlet.database.read() as session:
                return message_state(session, message_id)

        return await asyncio.to_thread(read)

    async def answer_of(message_id: str, conversation_id: str, seconds: float) -> MessageState | None:
        deadline = time.monotonic() + seconds
        async with inlet.wakeups.watch(conversation_id) as news:
            while True:
                state = await state_of(message_id)
                left = deadline - time.monotonic()
                if state is None or state.final or left <= 0 or inlet.wakeups.stopping:
                    return state
                await wait_for(news, min(left, POLL))

    async def own(message_id: str, account: str) -> MessageState:
        # Anything but an id of ours would only reach the database to be refused there.
        state = await state_of(message_id) if _OUR_ID.fullmatch(message_id) else None
        if state is None or (state.channel, state.account) != ("api", account):
            raise HTTPException(404, "no message of yours has this id")
        return state

    @router.post(
        "",
        status_code=202,
        response_model=None,
        responses={
            200: {"model": MessageView, "description": "The answer, within the time to wait."},
            202: {"model": MessageView, "description": "Accepted: it is stored and will be answered."},
            401: {"description": "The key is missing or wrong."},
            413: {"description": "The body is larger than `media.largest` allows."},
            409: {"description": "The id was used in this conversation for another body."},
        },
    )
    async def post_message(
        body: ApiMessage,
        wait: Annotated[float, Query(ge=0, le=60, description="Seconds to wait for the answer.")] = 0,
        stream: Annotated[
            bool,
            Query(
                description="The answer will be read at `/{message_id}/events`: have it written there from the start."
            ),
        ] = False,
        idempotency_key: Annotated[
            Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), Storable] | None,
            Header(description="Stands for the body's id where that is missing."),
        ] = None,
        account: str = Depends(authorise),
    ) -> JSONResponse:
        """Accept a message. With `wait` the response is the answer if it comes in time."""
        if body.id is None and idempotency_key:
            body = body.model_copy(update={"id": idempotency_key})
        envelope = normalise(body, account=account, message_id=new_id(), now=utcnow())
        await asyncio.to_thread(uploads.keep, envelope, body)
        (accepted,) = await inlet.acceptor.accept([envelope])
        if accepted.outcome != "new":
            await asyncio.to_thread(uploads.drop, envelope, body)
        if accepted.outcome == "conflict":
            raise HTTPException(
                409, "this id was used in the conversation for another body; send a new message under a new id"
            )
        if stream:
            await inlet.live.watch(accepted.conversation_id)
        state: MessageState | None = None
        if wait:
            state = await answer_of(accepted.message_id, accepted.conversation_id, wait)
        elif accepted.outcome == "duplicate":
            state = await state_of(accepted.message_id)
        shown: dict[str, Any] = view(state) if state else {"message_id": accepted.message_id, "status": "accepted"}
        if accepted.outcome == "duplicate":
            shown["duplicate"] = True
        return JSONResponse(shown, 200 if wait and state and state.final else 202)

    @router.get("/{message_id}", response_model=None, responses={200: {"model": MessageView}, 404: {}})
    async def get_message(message_id: str, account: str = Depends(authorise)) -> JSONResponse:
        """Where a message stands, and its answer."""
        return JSONResponse(view(await own(message_id, account)))

    @router.get(
        "/{message_id}/events", response_model=None,
        responses={200: DOCUMENTED, 204: {"description": "The final event was received already."}, 404: {}},
    )  # fmt: skip
    async def get_events(
        message_id: str,
        account: str = Depends(authorise),
        last_event_id: Annotated[str, Header(description="The id of the last event received.")] = "",
    ) -> Response:
        """The answer as it is written, then as it is stored."""
        state = await own(message_id, account)
        if last_event_id and last_event_id == str(state.seq) and state.final:
            return Response(status_code=204)  # tells an EventSource not to come back

        def read() -> tuple[MessageState | None, str | None]:
            with inlet.database.read() as session:
                now = message_state(session, message_id)
                at_work = now is not None and now.status == "processing"
                return now, turn_at_work(session, state.conversation_id) if at_work else None

        listener = Listener(inlet.live, parse_event_id(last_event_id)[1])
        told = events(
            partial(asyncio.to_thread, read), state.conversation_id, wakeups=inlet.wakeups, listener=listener
        )  # fmt: skip
        return Stream(told)

    return Mounted(router)
