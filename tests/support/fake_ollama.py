"""A fake of Ollama's chat: `/api/chat`, plain and as lines of JSON.

Scripts, rules, records and faults are those of the fake OpenAI server; the fault's method is `chat`. There is no key.
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

from tests.support.fake_openai import IMAGE_TOKENS, Ask, FakeOpenAI, Served, Usage, count_tokens, message_text
from tests.support.faults import Fault
from tests.support.server import JSON


class FakeOllama(FakeOpenAI):
    """Streams unless told not to, as Ollama does."""

    name: ClassVar[str] = "fake-ollama"

    @property
    def api_base(self) -> str:
        return self.url

    def routes(self) -> list[BaseRoute]:
        return [Route("/api/chat", self._talk, methods=["POST"])]

    def error_body(self, fault: Fault) -> JSON:
        return {"error": fault.description or f"scripted error {fault.status}"}

    async def _talk(self, request: Request) -> Response:
        body = await request.json()

        async def answer(call: Any) -> Response:
            if self.models is not None and body["model"] not in self.models:
                return JSONResponse({"error": f"model '{body['model']}' not found"}, 404)
            response, record = self._make(body)
            record.answered = call.intact
            with self.lock:
                self.requests.append(record)
            return response

        return await self.perform("chat", body, answer, chat=body.get("model"))

    def _make(self, body: JSON) -> tuple[Response, Served]:
        messages = body["messages"]
        message, _ = self._answer(Ask({"messages": messages}))
        text = message["content"]
        images = sum(len(one.get("images") or []) for one in messages)
        usage = Usage(
            sum(count_tokens(message_text(one)) for one in messages) + IMAGE_TOKENS * images, count_tokens(text)
        )
        record = Served("chat", body["model"], body, time.time(), text, usage)
        head = {"model": body["model"], "created_at": "2026-01-01T00:00:00Z"}
        ended = {
            "done": True, "done_reason": "stop", "total_duration": 1, "load_duration": 1,
            "prompt_eval_count": usage.prompt_tokens, "eval_count": usage.completion_tokens,
        }  # fmt: skip
        if not body.get("stream", True):
            return JSONResponse({**head, "message": {"role": "assistant", "content": text}, **ended}), record
        pieces = re.findall(r"\s*\S+\s*$|\s*\S+", text)
        lines = [{**head, "message": {"role": "assistant", "content": piece}, "done": False} for piece in pieces]
        lines.append({**head, "message": {"role": "assistant", "content": ""}, **ended})
        return StreamingResponse(self._lines(lines), media_type="application/x-ndjson"), record

    async def _lines(self, lines: list[JSON]) -> AsyncIterator[bytes]:
        for line in lines:
            yield (json.dumps(line, ensure_ascii=False) + "\n").encode()
            await self.pause(self.chunk_delay)
