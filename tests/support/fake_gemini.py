"""A fake of the Gemini API: generateContent and streamGenerateContent.

Scripts, rules, records and faults are those of the fake OpenAI server; the fault's method is `chat`. The body recorded
is Gemini's, with `model` put in. A wrong key is answered as Gemini does: with 400.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from tests.support.fake_openai import (
    IMAGE_TOKENS,
    Ask,
    FakeOpenAI,
    OpenAIError,
    Served,
    Usage,
    count_tokens,
)
from tests.support.faults import Fault
from tests.support.server import JSON

_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
_STATUS |= {429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}


class FakeGemini(FakeOpenAI):
    """Answers under `/v1beta/models/{model}:{method}`. `heard` is the transcript of a request that holds sound."""

    name: ClassVar[str] = "fake-gemini"
    heard: str | None = None

    @property
    def api_base(self) -> str:
        return f"{self.url}/v1beta"

    def routes(self) -> list[BaseRoute]:
        return [Route("/v1beta/models/{target}", self._generate, methods=["POST"])]

    def error_body(self, fault: Fault) -> JSON:
        details = []
        if fault.retry_after is not None:
            kind = "type.googleapis.com/google.rpc.RetryInfo"
            details.append({"@type": kind, "retryDelay": f"{fault.retry_after:g}s"})
        return _error(fault.status, fault.description or f"scripted error {fault.status}", details)

    async def _generate(self, request: Request) -> Response:
        model, _, method = request.path_params["target"].partition(":")
        body = {**await request.json(), "model": model}
        streamed = method == "streamGenerateContent"

        async def answer(call: Any) -> Response:
            if request.headers.get("x-goog-api-key") != self.api_key:
                reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
                return JSONResponse(_error(400, "API key not valid. Please pass a valid API key.", [reason]), 400)
            if self.models is not None and model not in self.models:
                return JSONResponse(_error(404, f"models/{model} is not found", []), 404)
            try:
                response, record = self._make(body, streamed)
            except OpenAIError as error:
                return JSONResponse(_error(error.status, error.message, []), error.status)
            record.answered = call.intact
            with self.lock:
                self.requests.append(record)
            return response

        return await self.perform("chat", body, answer, chat=model)

    def _make(self, body: JSON, streamed: bool) -> tuple[Response, Served]:
        parts = [part for turn in body.get("contents", []) for part in turn["parts"]]
        if not parts:
            raise OpenAIError(400, "contents is not specified")
        files = [part["inline_data"]["mime_type"] for part in parts if "inline_data" in part]
        system = [part["text"] for part in body.get("system_instruction", {}).get("parts", [])]
        texts = [*system, *(part["text"] for part in parts if "text" in part)]
        sound = any(kind.startswith("audio/") for kind in files)
        message, _ = self._answer(Ask({"messages": [{"role": "user", "content": "\n".join(texts)}]}))
        text = self.heard if sound and self.heard is not None else message["content"]
        usage = Usage(count_tokens("\n".join(texts)) + IMAGE_TOKENS * len(files), count_tokens(text))
        record = Served("chat", body["model"], body, time.time(), text, usage)
        if not streamed:
            return JSONResponse(_candidate(text, body["model"], usage, "STOP")), record
        pieces = re.findall(r"\s*\S+\s*$|\s*\S+", text)
        events = [_candidate(piece, body["model"], usage, None) for piece in pieces[:-1]]
        events.append(_candidate(pieces[-1] if pieces else "", body["model"], usage, "STOP"))
        return StreamingResponse(self._events(events), media_type="text/event-stream"), record

    async def _events(self, events: list[JSON]) -> AsyncIterator[bytes]:
        for event in events:
            yield f"data: {json.dumps(event, ensure_ascii=False)}\r\n\r\n".encode()
            await self.pause(self.chunk_delay)


def _candidate(text: str, model: str, usage: Usage, finish: str | None) -> JSON:
    candidate: JSON = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    counted = {
        "promptTokenCount": usage.prompt_tokens, "candidatesTokenCount": usage.completion_tokens,
        "totalTokenCount": usage.total_tokens,
    }  # fmt: skip
    return {"candidates": [candidate], "usageMetadata": counted, "modelVersion": model, "responseId": "r"}


def _error(status: int, message: str, details: list[JSON]) -> JSON:
    return {"error": {"code": status, "message": message, "status": _STATUS.get(status, "UNKNOWN"), "details": details}}
