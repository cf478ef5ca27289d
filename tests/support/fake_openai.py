"""A fake OpenAI-compatible server: chat (plain and streamed), embeddings, transcriptions, models.

As a process: `python -m tests.support.fake_openai --port 8083 [--answer TEXT]`; the base for clients is
`fake.api_base`. With nothing scripted the answer quotes the first knowledge passage of the request (the text
of the first `<passage …>…</passage>`), so an answer is grounded exactly when retrieval found something.
Tokens are counted as a quarter of the characters and recorded, so that sums can be compared with a ledger.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from tests.support.faults import Fault
from tests.support.server import JSON, Call, FakeServer, Upload, arguments, serve_forever

API_KEY = "sk-test"
FALLBACK = "I do not know."
IMAGE_TOKENS = 85
_PASSAGE = re.compile(r"<passage\b[^>]*>((?:(?!<passage\b).)*?)</passage>", re.DOTALL)
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error"}
Rule = Callable[["Ask"], str]


class OpenAIError(Exception):
    """An error answer."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code

    def response(self) -> Response:
        kind = _TYPES.get(self.status, "api_error")
        error = {"message": self.message, "type": kind, "param": None, "code": self.code}
        return JSONResponse({"error": error}, self.status)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as reported to the client."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    #: Of the prompt's, those told to be read from the cache.
    cached_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.prompt_tokens + other.prompt_tokens, self.completion_tokens + other.completion_tokens)

    def json(self) -> JSON:
        details = {"prompt_tokens_details": {"cached_tokens": self.cached_tokens}} if self.cached_tokens else {}
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
            **details,
        }


@dataclass(frozen=True, slots=True)
class Ask:
    """A chat request, as answering rules see it."""

    body: JSON

    @property
    def text(self) -> str:
        """All texts of all messages, in order."""
        return "\n".join(message_text(message) for message in self.body["messages"])

    @property
    def question(self) -> str:
        """The text of the last message of the user."""
        users = [message for message in self.body["messages"] if message.get("role") == "user"]
        return message_text(users[-1]) if users else ""

    @property
    def passage(self) -> str | None:
        """The first knowledge passage of the request."""
        found = _PASSAGE.search(self.text)
        return found.group(1).strip() if found else None


@dataclass(slots=True)
class Served:
    """A request that took effect.

    `answered` is False when a fault kept the answer, or part of it, from the client, who then does not know
    the usage.
    """

    route: str
    model: str
    body: JSON
    at: float
    answer: str
    usage: Usage
    answered: bool = False


@dataclass(slots=True)
class _Script:
    message: JSON
    finish_reason: str
    match: str | None
    times: int | None


def message_text(message: JSON) -> str:
    """The text of a message whose content is a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if part.get("type") == "text")
    return str(content or "")


def quote_first_passage(ask: Ask) -> str:
    """The default rule: the first passage word for word, else a fixed sentence."""
    return ask.passage or FALLBACK


def template_rule(template: str) -> Rule:
    """A rule from a text in which {passage} and {question} are replaced."""

    def rule(ask: Ask) -> str:
        return template.replace("{passage}", ask.passage or "").replace("{question}", ask.question)

    return rule


def count_tokens(text: str) -> int:
    """A quarter of the characters, at least one for any text."""
    return max(1, len(text) // 4) if text else 0


def embed(text: str, dimensions: int) -> list[float]:
    """A unit vector of hashed words and letter trigrams: equal for equal texts, near for similar ones."""
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()):
        padded = f"^{word}$"
        for gram in (word, *(padded[at : at + 3] for at in range(len(padded) - 2))):
            digest = hashlib.blake2b(gram.encode(), digest_size=8).digest()
            number = int.from_bytes(digest, "big")
            vector[number % dimensions] += (1.0 if number >> 63 else -1.0) * (2.0 if gram == word else 1.0)
    norm = math.sqrt(sum(value * value for value in vector))
    if not norm:
        vector[0] = norm = 1.0
    return [value / norm for value in vector]


class FakeOpenAI(FakeServer):
    """An OpenAI-compatible server behind one key.

    `answer` is the rule for what is not scripted: a text ({passage} and {question} are replaced) or a
    function. `models` restricts the models known (404 for others); None knows all. Faults are named by
    `chat`, `embeddings`, `transcriptions`, `models`, and can be bound to a model by `chat=`. `chunk_delay`
    is the pause between parts of a stream, in seconds.
    """

    name: ClassVar[str] = "fake-openai"
    #: Whether a stream ends with its usage where the client asks for that; older servers do not know how.
    usage_in_streams: bool = True
    #: Tokens of each prompt told to be read from the cache.
    cached_tokens: int = 0

    def __init__(
        self,
        api_key: str = API_KEY,
        *,
        port: int = 0,
        latency: float = 0.0,
        answer: str | Rule | None = None,
        models: Sequence[str] | None = None,
        dimensions: int = 256,
        chunk_delay: float = 0.0,
        accept_verbose_json: bool = True,
    ) -> None:
        super().__init__(port=port, latency=latency)
        self.api_key, self.models, self.dimensions = api_key, models, dimensions
        self.chunk_delay, self.accept_verbose_json = chunk_delay, accept_verbose_json
        self.rule = template_rule(answer) if isinstance(answer, str) else answer or quote_first_passage
        self.requests: list[Served] = []
        self.headers: list[JSON] = []  # of each request with a good key
        self._scripts: list[_Script] = []
        self._transcripts: list[str] = []

    @property
    def api_base(self) -> str:
        """What clients take as their base address."""
        return f"{self.url}/v1"

    def enqueue(
        self,
        text: str | None = None,
        *,
        tool_calls: list[JSON] | None = None,
        finish_reason: str | None = None,
        match: str | None = None,
        times: int | None = 1,
    ) -> None:
        """The next `times` chat requests (None: all) whose text contains `match` get this answer."""
        message: JSON = {"role": "assistant", "content": text}
        if tool_calls:
            message["tool_calls"] = tool_calls
        script = _Script(message, finish_reason or ("tool_calls" if tool_calls else "stop"), match, times)
        with self.lock:
            self._scripts.append(script)

    def enqueue_transcript(self, text: str) -> None:
        """The next transcription is this text; by default it names the file."""
        with self.lock:
            self._transcripts.append(text)

    def set_answer(self, answer: str) -> None:
        """Another text as the rule for what is not scripted."""
        self.rule = template_rule(answer)

    def totals(self, route: str | None = None, *, unanswered: bool = False) -> Usage:
        """The usage the clients were told of, of one route or all; with `unanswered`, all that was spent."""
        with self.lock:
            chosen = [item for item in self.requests if route is None or item.route == route]
            return sum((item.usage for item in chosen if item.answered or unanswered), Usage())

    def wait_requests(self, n: int = 1, timeout: float = 10.0, *, route: str | None = None) -> list[Served]:
        """All requests (of `route`, if given) once there are at least `n`; TimeoutError otherwise."""

        def items() -> list[Served]:
            return [item for item in self.requests if route is None or item.route == route]

        return self.wait_items(items, n, timeout, "requests")

    # FakeServer

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/embeddings", self._embeddings, methods=["POST"]),
            Route("/v1/audio/transcriptions", self._transcriptions, methods=["POST"]),
            Route("/v1/models", self._models),
        ]

    def records(self) -> dict[str, Sequence[Any]]:
        totals = [{"all": self.totals(unanswered=True).json(), "answered": self.totals().json()}]
        return {**super().records(), "requests": self.requests, "totals": totals}

    def actions(self) -> dict[str, Callable[..., Any]]:
        return {
            "enqueue": self.enqueue,
            "enqueue_transcript": self.enqueue_transcript,
            "set_answer": self.set_answer,
        }

    def clear(self) -> None:
        super().clear()
        self.requests.clear()
        self.headers.clear()
        self._scripts.clear()
        self._transcripts.clear()

    def error_body(self, fault: Fault) -> JSON:
        kind = _TYPES.get(fault.status, "server_error" if fault.status >= 500 else "api_error")
        error = {"message": fault.description or f"scripted error {fault.status}", "type": kind}
        return {"error": {**error, "param": None, "code": None, **fault.parameters}}

    def broken_response(self, fault: Fault) -> Response:
        empty: JSON = {"id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": "broken"}
        if fault.shape == "choices":
            return JSONResponse({**empty, "choices": [], "usage": Usage(1, 0).json()})
        if fault.shape == "content":
            choice = {"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": "stop"}
            return JSONResponse({**empty, "choices": [choice], "usage": Usage(1, 0).json()})
        return super().broken_response(fault)

    # Requests

    async def _serve(
        self, request: Request, route: str, body: JSON, make: Callable[[JSON], tuple[Response, Served]]
    ) -> Response:
        async def answer(call: Call) -> Response:
            try:
                self._check(request, str(body.get("model", "")))
                response, record = make(body)
            except OpenAIError as error:
                return error.response()
            record.answered = call.intact
            with self.lock:
                self.requests.append(record)
                self.headers.append(dict(request.headers))
            return response

        return await self.perform(route, body, answer, chat=body.get("model"))

    def _check(self, request: Request, model: str) -> None:
        if request.headers.get("authorization") != f"Bearer {self.api_key}":
            raise OpenAIError(401, "Incorrect API key provided.", "invalid_api_key")
        if self.models is not None and model not in self.models:
            raise OpenAIError(404, f"The model `{model}` does not exist.", "model_not_found")

    async def _chat(self, request: Request) -> Response:
        return await self._serve(request, "chat", await _json(request), self._make_chat)

    def _make_chat(self, body: JSON) -> tuple[Response, Served]:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages or not body.get("model"):
            raise OpenAIError(400, "messages and model are required")
        ask = Ask(body)
        message, finish = self._answer(ask)
        text = message.get("content") or ""
        tools = json.dumps(message["tool_calls"]) if "tool_calls" in message else ""
        limit = body.get("max_tokens") or body.get("max_completion_tokens")
        if limit and count_tokens(text) > limit:
            text, finish = text[: limit * 4], "length"
            message = {**message, "content": text}
        usage = Usage(_prompt_tokens(messages), count_tokens(text) + count_tokens(tools), self.cached_tokens)
        head = {"id": f"chatcmpl-{time.monotonic_ns()}", "created": int(time.time()), "model": body["model"]}
        record = Served("chat", body["model"], body, time.time(), text, usage)
        if body.get("stream"):
            with_usage = self.usage_in_streams and bool((body.get("stream_options") or {}).get("include_usage"))
            parts = list(_stream_parts(head, message, finish, usage if with_usage else None))
            return StreamingResponse(self._stream(parts), media_type="text/event-stream"), record
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": usage.json()}), record

    def _answer(self, ask: Ask) -> tuple[JSON, str]:
        with self.lock:
            for script in self._scripts:
                if script.match is None or script.match in ask.text:
                    if script.times is not None:
                        script.times -= 1
                        if script.times <= 0:
                            self._scripts.remove(script)
                    return script.message, script.finish_reason
        return {"role": "assistant", "content": self.rule(ask)}, "stop"

    async def _stream(self, parts: Iterable[JSON]) -> AsyncIterator[bytes]:
        for part in parts:
            yield f"data: {json.dumps(part, ensure_ascii=False)}\n\n".encode()
            await self.pause(self.chunk_delay)
        yield b"data: [DONE]\n\n"

    async def _embeddings(self, request: Request) -> Response:
        return await self._serve(request, "embeddings", await _json(request), self._make_embeddings)

    def _make_embeddings(self, body: JSON) -> tuple[Response, Served]:
        given: Any = body.get("input")
        items = given if isinstance(given, list) and not (given and isinstance(given[0], int)) else [given]
        if not items or any(not item or not isinstance(item, str | list) for item in items):
            raise OpenAIError(400, "input must be a text or a list of texts, none of them empty")
        texts = [item if isinstance(item, str) else " ".join(map(str, item)) for item in items]
        size = int(body.get("dimensions") or self.dimensions)
        vectors: list[Any] = [embed(text, size) for text in texts]
        if body.get("encoding_format") == "base64":
            vectors = [base64.b64encode(struct.pack(f"<{size}f", *vector)).decode() for vector in vectors]
        usage = Usage(sum(count_tokens(text) for text in texts))
        data = [{"object": "embedding", "index": at, "embedding": item} for at, item in enumerate(vectors)]
        spent = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.total_tokens}
        answer = {"object": "list", "model": body.get("model"), "data": data, "usage": spent}
        return JSONResponse(answer), Served("embeddings", str(body.get("model")), body, time.time(), "", usage)

    async def _transcriptions(self, request: Request) -> Response:
        body: JSON = {}
        async with request.form() as form:
            for key, value in form.multi_items():
                if isinstance(value, UploadFile):
                    content = await value.read()
                    body[key] = Upload(value.filename or "", value.content_type or "", content)
                else:
                    body[key] = value
        return await self._serve(request, "transcriptions", body, self._make_transcript)

    def _make_transcript(self, body: JSON) -> tuple[Response, Served]:
        file, form = body.get("file"), body.get("response_format", "json")
        if not isinstance(file, Upload) or not body.get("model"):
            raise OpenAIError(400, "file and model are required")
        if "." not in file.filename:
            raise OpenAIError(400, f"Unrecognized file format: {file.filename!r} has no extension.")
        if form == "verbose_json" and not self.accept_verbose_json:
            raise OpenAIError(400, "response_format 'verbose_json' is not compatible with this model.")
        with self.lock:
            text = self._transcripts.pop(0) if self._transcripts else f"transcript of {file.filename}"
        served = Served("transcriptions", body["model"], body, time.time(), text, Usage())
        if form == "text":
            return PlainTextResponse(text), served
        if form == "verbose_json":
            segment = {"id": 0, "start": 0.0, "end": 3.0, "text": text}
            extra = {"task": "transcribe", "language": "russian", "duration": 3.0, "segments": [segment]}
            return JSONResponse({"text": text, **extra}), served
        return JSONResponse({"text": text}), served

    async def _models(self, request: Request) -> Response:
        async def answer(_: Call) -> Response:
            if request.headers.get("authorization") != f"Bearer {self.api_key}":
                return OpenAIError(401, "Incorrect API key provided.", "invalid_api_key").response()
            rows = [
                {"id": model, "object": "model", "created": 0, "owned_by": "test"}
                for model in (self.models or ["test-model"])
            ]
            return JSONResponse({"object": "list", "data": rows})

        return await self.perform("models", {}, answer)


def _prompt_tokens(messages: list[JSON]) -> int:
    lists = [message["content"] for message in messages if isinstance(message.get("content"), list)]
    images = sum(1 for parts in lists for part in parts if part.get("type") == "image_url")
    return sum(count_tokens(message_text(message)) for message in messages) + IMAGE_TOKENS * images


def _stream_parts(head: JSON, message: JSON, finish: str, usage: Usage | None) -> Iterable[JSON]:
    base: JSON = {**head, "object": "chat.completion.chunk"} | ({"usage": None} if usage else {})

    def part(delta: JSON, reason: str | None = None) -> JSON:
        return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    yield part({"role": "assistant", "content": ""})
    for piece in re.findall(r"\s*\S+\s*$|\s*\S+", message.get("content") or ""):
        yield part({"content": piece})
    if "tool_calls" in message:
        calls = [{"index": at, **call} for at, call in enumerate(message["tool_calls"])]
        yield part({"tool_calls": calls})
    yield part({}, finish)
    if usage is not None:
        yield {**base, "choices": [], "usage": usage.json()}


async def _json(request: Request) -> JSON:
    try:
        body = await request.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def main() -> None:
    """Run the fake as a process."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--api-key", default=API_KEY)
    parser.add_argument("--answer", help="answer to what is not scripted; {passage} and {question} are replaced")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds each request takes")
    parser.add_argument("--chunk-delay", type=float, default=0.0, help="seconds between parts of a stream")
    options = parser.parse_args()
    fake = FakeOpenAI(
        options.api_key,
        port=options.port,
        answer=options.answer,
        latency=options.latency,
        chunk_delay=options.chunk_delay,
    )
    serve_forever(fake, f"api key {options.api_key}")


if __name__ == "__main__":
    main()
