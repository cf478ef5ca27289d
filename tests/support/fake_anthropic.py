"""A fake of Anthropic's messages API.

Scripts, rules, records and faults are those of the fake OpenAI server; the fault's method is `chat`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from tests.support.fake_openai import IMAGE_TOKENS, Ask, FakeOpenAI, Served, Usage, count_tokens, message_text
from tests.support.faults import Fault
from tests.support.server import JSON

_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
_TYPES |= {429: "rate_limit_error", 500: "api_error", 529: "overloaded_error"}


class FakeAnthropic(FakeOpenAI):
    """Answers `/v1/messages`, which asks for a key, a version and `max_tokens`."""

    name: ClassVar[str] = "fake-anthropic"

    @property
    def api_base(self) -> str:
        return self.url

    def routes(self) -> list[BaseRoute]:
        return [Route("/v1/messages", self._messages, methods=["POST"])]

    def error_body(self, fault: Fault) -> JSON:
        return _error(fault.status, fault.description or f"scripted error {fault.status}")

    async def _messages(self, request: Request) -> Response:
        body = await request.json()

        async def answer(call: Any) -> Response:
            if request.headers.get("x-api-key") != self.api_key:
                return JSONResponse(_error(401, "invalid x-api-key"), 401)
            if "anthropic-version" not in request.headers or "max_tokens" not in body:
                return JSONResponse(_error(400, "anthropic-version and max_tokens are required"), 400)
            if self.models is not None and body["model"] not in self.models:
                return JSONResponse(_error(404, f"model: {body['model']}"), 404)
            response, record = self._make(body)
            record.answered = call.intact
            with self.lock:
                self.requests.append(record)
            return response

        return await self.perform("chat", body, answer, chat=body.get("model"))

    def _make(self, body: JSON) -> tuple[Response, Served]:
        system = body.get("system") or []
        system = system if isinstance(system, list) else [{"type": "text", "text": system}]
        whole = [{"role": "system", "content": system}, *body["messages"]]
        parts = [part for one in whole if isinstance(one["content"], list) for part in one["content"]]
        images = sum(part["type"] == "image" for part in parts)
        message, _ = self._answer(Ask({"messages": whole}))
        text = message["content"]
        usage = Usage(sum(count_tokens(message_text(one)) for one in whole) + IMAGE_TOKENS * images, count_tokens(text))
        record = Served("chat", body["model"], body, time.time(), text, usage)
        head = {"id": f"msg_{time.monotonic_ns()}", "type": "message", "role": "assistant", "model": body["model"]}
        if body.get("stream"):
            events = list(_events(head, text, usage))
            return StreamingResponse(self._sse(events), media_type="text/event-stream"), record
        counted = {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}
        whole_answer = {"content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": None}
        return JSONResponse({**head, **whole_answer, "usage": counted}), record

    async def _sse(self, events: list[JSON]) -> AsyncIterator[bytes]:
        for event in events:
            yield f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
            await self.pause(self.chunk_delay)


def _events(head: JSON, text: str, usage: Usage) -> Iterable[JSON]:
    begun = {"content": [], "stop_reason": None, "stop_sequence": None}
    counted = {"input_tokens": usage.prompt_tokens, "output_tokens": 1}
    yield {"type": "message_start", "message": {**head, **begun, "usage": counted}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    yield {"type": "ping"}
    for piece in re.findall(r"\s*\S+\s*$|\s*\S+", text):
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
    yield {"type": "content_block_stop", "index": 0}
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": {"output_tokens": usage.completion_tokens}}
    yield {"type": "message_stop"}


def _error(status: int, message: str) -> JSON:
    return {"type": "error", "error": {"type": _TYPES.get(status, "api_error"), "message": message}}
