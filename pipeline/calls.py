"""One call of one model through LiteLLM: plain and streamed chat, transcription, embedding, and what each used.

Every function takes the ``litellm`` module, a :class:`Deployment` and the seconds it has, and raises ``CallFailed``.
"""

from __future__ import annotations

import base64
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from pipeline.errors import ProviderRefused, ProviderUnavailable
from pipeline.prices import is_free
from pipeline.prompts import load
from pipeline.providers import LISTEN_IN_CHAT, OWN, CallFailed, failure, provider_of
from pipeline.routes import Deployment
from pipeline.spending import Used
from ragline.logs import get_logger

log = get_logger(__name__)
ChatMessage = Mapping[str, Any]
_SILENCE = "SILENCE"
#: Low, as answers are to follow their passages.
TEMPERATURE = 0.2


@dataclass(frozen=True)
class Answered:
    """What a model gave: a text (a transcript's ``language`` is ISO 639-1, where the model tells), or vectors.

    ``cut``: the text had reached ``max_tokens`` before its end.
    """

    used: Used
    text: str = ""
    language: str | None = None
    vectors: tuple[list[float], ...] = ()
    cut: bool = False


def chat(
    litellm: Any,
    one: Deployment,
    messages: Sequence[ChatMessage],
    *,
    max_tokens: int,
    seconds: float,
    tell: Callable[[str], None] | None = None,
    images: int = 0,
    audio_seconds: float = 0.0,
) -> Answered:
    """A model's answer. ``tell`` gets the whole text so far at each token that comes; what it raises goes through."""
    asked: dict[str, Any] = {
        "messages": [_plain(message) for message in messages], "max_tokens": max_tokens,
        **_temperature(litellm, one.model, one.extra.get("reasoning_effort")),
    }  # fmt: skip
    if tell is None:
        response = _call(litellm.completion, one, seconds, **asked)
        choice = (getattr(response, "choices", None) or [None])[0]
        text, finish = (choice.message.content or "", choice.finish_reason) if choice else ("", None)
        usage = getattr(response, "usage", None)
    else:
        text, finish, usage = _streamed(litellm, one, seconds, tell, asked)
    text = text.strip()
    used = _used(litellm, one, usage, asked["messages"], text, images=images, audio_seconds=audio_seconds)
    if not text or finish == "content_filter":  # what a filter leaves of a text is no answer
        raise NoText(_empty(one.model, finish), used)
    return Answered(used, text, cut=finish == "length")


@lru_cache(maxsize=256)
def _temperature(litellm: Any, model: str, effort: str | None) -> dict[str, float]:
    """The temperature, for a model that lets it be set: most of those that think first refuse any but their own."""
    try:
        name, provider, _, _ = litellm.get_llm_provider(model)
        litellm.get_optional_params(
            model=name, custom_llm_provider=provider, temperature=TEMPERATURE, reasoning_effort=effort
        )
    except litellm.BadRequestError:  # what else is wrong the call itself will say
        return {}
    return {"temperature": TEMPERATURE}


def _plain(message: ChatMessage) -> dict[str, Any]:
    """The message without what is only for the route."""
    content = message.get("content")
    if not isinstance(content, list):
        return dict(message)
    return {**message, "content": [{name: part[name] for name in part if name != "of"} for part in content]}


class NoText(CallFailed):
    """The model answered without a word that may be used; what it used is paid for."""

    def __init__(self, error: ProviderUnavailable | ProviderRefused, used: Used) -> None:
        super().__init__(error, "no_text", charged=True)
        self.used = used


def transcribe(
    litellm: Any,
    one: Deployment,
    data: bytes,
    name: str,
    mime: str,
    *,
    audio_seconds: float,
    language: str | None,
    seconds: float,
) -> Answered:
    """What is said in a recording. A text without words is an answer: nothing may be said in it."""
    if one.provider in LISTEN_IN_CHAT:
        return _heard_in_chat(litellm, one, data, mime, audio_seconds, language, seconds)
    told = {"language": language} if language else {}
    # LiteLLM asks for verbose_json by itself, which newer models and most other servers refuse.
    response = _call(
        litellm.transcription, one, seconds, file=(name, data, mime), **{"response_format": "json", **told}
    )  # fmt: skip
    text = (getattr(response, "text", "") or "").strip()
    return Answered(
        _used_listening(litellm, one, getattr(response, "usage", None), audio_seconds),
        text,
        _language_code(getattr(response, "language", None)),
    )


def embed(litellm: Any, one: Deployment, texts: Sequence[str], *, seconds: float, use: str | None) -> Answered:
    """A vector for each text. ``use``: search_query or search_document, for models that ask for it."""
    told = {"input_type": use} if use else {}
    response = _call(litellm.embedding, one, seconds, input=list(texts), **{"encoding_format": "float", **told})
    rows = sorted(response.data, key=lambda row: row["index"])
    used = _used(litellm, one, getattr(response, "usage", None), [{"content": text} for text in texts], "")
    if len(rows) != len(texts):
        error = ProviderUnavailable(f"{one.model} returned {len(rows)} vectors for {len(texts)} texts")
        raise CallFailed(error, "no_text", charged=True)
    return Answered(used, vectors=tuple(list(map(float, row["embedding"])) for row in rows))


def estimate_tokens(litellm: Any, model: str, messages: Sequence[ChatMessage]) -> int:
    """Tokens a chat request holds at most, without its images and sound. A tokenizer that is not public may be coarser
    than the one LiteLLM counts with."""
    texts = list(_texts(messages))
    counted = int(litellm.token_counter(model=model, text="\n".join(texts)))
    return max(counted, sum(map(len, texts)) // 3) + 8 * len(messages)


def _heard_in_chat(
    litellm: Any, one: Deployment, data: bytes, mime: str, audio_seconds: float, language: str | None, seconds: float
) -> Answered:
    kind = mime.partition(";")[0].removeprefix("audio/")
    part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(data).decode(), "format": kind}}
    request = {"type": "text", "text": load("transcribe_request").render(language=language or "")}
    # A talking person says three words a second, at about two tokens each in Russian.
    most = 200 + round(8 * audio_seconds)
    found = chat(
        litellm, one, [{"role": "user", "content": [request, part]}],
        max_tokens=most, seconds=seconds, audio_seconds=audio_seconds,
    )  # fmt: skip
    return Answered(found.used, "" if found.text.strip(" .") == _SILENCE else found.text)


def _check(one: Deployment) -> None:
    """Raise ``CallFailed`` where the environment lacks what the call needs: clients report that as an outage."""
    if missing := one.missing:
        error = ProviderRefused(f"{one.model} needs {missing}, which is not in the environment; put it into .env")
        raise CallFailed(error, "refused")


def _arguments(one: Deployment, seconds: float) -> dict[str, Any]:
    given = {
        "model": one.model, "api_key": one.api_key, "api_base": one.api_base, "api_version": one.api_version,
        "timeout": seconds, "max_retries": 0,
    }  # fmt: skip
    return {**{name: value for name, value in given.items() if value is not None}, **one.extra}


def _call(function: Callable[..., Any], one: Deployment, seconds: float, **asked: Any) -> Any:
    """The call's result within ``seconds``: the client's own time-out is for one read and starts anew each time."""
    _check(one)
    done: Future[Any] = Future()
    arguments = {**asked, **_arguments(one, seconds)}

    def run() -> None:
        try:
            done.set_result(function(**arguments))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="model", daemon=True).start()
    try:
        return done.result(max(seconds, 0))
    except Exception as error:
        raise failure(error, one.model, one.key_name, setting=one.setting, seconds=seconds) from error


def _streamed(
    litellm: Any, one: Deployment, seconds: float, tell: Callable[[str], None], asked: dict[str, Any]
) -> tuple[str, str | None, Any]:
    """Text, finish reason and usage of a streamed answer. The pieces come by a thread that is left behind when the
    time is over; ``tell`` is called in the caller's."""
    _check(one)
    until = time.monotonic() + seconds
    pieces: queue.SimpleQueue[Any] = queue.SimpleQueue()
    given_up = threading.Event()
    arguments = {**asked, "stream": True, "stream_options": {"include_usage": True}, **_arguments(one, seconds)}

    def run() -> None:
        stream = None
        try:
            stream = litellm.completion(**arguments)
            for chunk in stream:
                if given_up.is_set():
                    return
                pieces.put(chunk)
            pieces.put(None if _is_whole(stream) else _BrokenOff())
        except BaseException as error:
            pieces.put(error)
        finally:
            _close(stream)

    threading.Thread(target=run, name="model stream", daemon=True).start()
    text, finish, usage = "", None, None
    try:
        for chunk in _until(pieces, until):
            usage = getattr(chunk, "usage", None) or usage
            choice = (chunk.choices or [None])[0]
            finish = getattr(choice, "finish_reason", None) or finish
            piece = getattr(getattr(choice, "delta", None), "content", None)
            if piece:
                text += piece
                tell(text.strip())
    except _Broken as broken:
        failed = failure(broken.error, one.model, one.key_name, setting=one.setting, seconds=seconds)
        failed.charged = failed.charged or bool(text)
        if text and isinstance(failed.error, ProviderRefused):  # a refusal in the middle is a broken stream
            failed = CallFailed(ProviderUnavailable(f"{one.model} broke off"), "server_error", charged=True)
        raise failed from broken.error
    finally:
        given_up.set()
    return text, finish, usage


class _BrokenOff(Exception):
    """A stream ended before its provider said that it was the end."""


def _is_whole(stream: Any) -> bool:
    """Whether the provider told why it stopped. LiteLLM makes a reason up for a stream whose connection was closed."""
    told = ("received_finish_reason", "intermittent_finish_reason")
    return not hasattr(stream, told[0]) or any(getattr(stream, name, None) for name in told)


class _Broken(Exception):
    """A stream ended with this error."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def _until(pieces: queue.SimpleQueue[Any], until: float) -> Iterator[Any]:
    while True:
        try:
            piece = pieces.get(timeout=max(until - time.monotonic(), 0))
        except queue.Empty:
            raise _Broken(TimeoutError()) from None
        if piece is None:
            return
        if isinstance(piece, Exception):
            raise _Broken(piece)
        if isinstance(piece, BaseException):
            raise piece
        yield piece


def _close(stream: Any) -> None:
    """Give the connection back. LiteLLM leaves it to the garbage collector where an answer was not read to its last
    byte (each of Anthropic's); one that is collected while a thread holds the lock of the client's pool waits for that
    lock itself, and every later call of the process with it."""
    source = getattr(stream, "completion_stream", None)
    for one in (source, getattr(source, "response_iterator", None), getattr(source, "streaming_response", None)):
        close = getattr(one, "close", None)
        if callable(close):
            with suppress(Exception):  # the rest of the answer is thrown away, whatever its connection says
                close()


def _empty(model: str, finish: str | None) -> ProviderUnavailable | ProviderRefused:
    """What an answer without text means: a filter and a limit would strike again."""
    if finish == "content_filter":
        return ProviderRefused(f"{model} gave no whole answer: its content filter struck")
    if finish == "length":
        return ProviderRefused(f"{model} spent all tokens before the first word; raise answer.max_tokens")
    return ProviderUnavailable(f"{model} returned no text")


def _texts(messages: Sequence[ChatMessage]) -> Iterator[str]:
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            yield content
        elif content:
            yield from (str(part["text"]) for part in content if part.get("type") == "text")


def _used(
    litellm: Any,
    one: Deployment,
    usage: Any,
    messages: Sequence[ChatMessage],
    text: str,
    *,
    images: int = 0,
    audio_seconds: float = 0.0,
) -> Used:
    """What a call used as its provider counted it, or by our own count where it told nothing."""
    tokens_in = int(getattr(usage, "prompt_tokens", 0) or 0)
    tokens_out = int(getattr(usage, "completion_tokens", 0) or 0)
    source = price_source()
    if not tokens_in and not tokens_out:
        tokens_in = estimate_tokens(litellm, one.model, messages)
        tokens_out = int(litellm.token_counter(model=one.model, text=text)) if text else 0
        source, usage = f"{source}, tokens estimated", None
    counted = usage or litellm.Usage(
        prompt_tokens=tokens_in, completion_tokens=tokens_out, total_tokens=tokens_in + tokens_out
    )
    cost = _cost(litellm, one.model, usage_object=counted, service_tier=one.extra.get("service_tier"))
    details = getattr(usage, "prompt_tokens_details", None)
    return Used(
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        tokens_cached=int(getattr(details, "cached_tokens", 0) or 0),
        tokens_cache_write=int(getattr(details, "cache_creation_tokens", 0) or 0),
        images=images,
        audio_seconds=audio_seconds,
        cost=cost,
        price_source=None if cost is None else source,
    )


def _used_listening(litellm: Any, one: Deployment, usage: Any, audio_seconds: float) -> Used:
    """What a transcription used: some models are paid by token (of sound and of text, each at its price), others by
    second; what a server counts need not be what its model is paid by."""
    tokens_in = int(_member(usage, "input_tokens") or 0)
    tokens_out = int(_member(usage, "output_tokens") or 0)
    audio_seconds = float(_member(usage, "seconds") or 0.0) or audio_seconds
    details = _member(usage, "input_token_details")
    heard = {name: int(_member(details, name) or 0) for name in ("audio_tokens", "text_tokens")} if details else None
    counted = litellm.Usage(
        prompt_tokens=tokens_in, completion_tokens=tokens_out, total_tokens=tokens_in + tokens_out,
        prompt_tokens_details=heard,
    )  # fmt: skip
    cost = _cost(litellm, one.model, call_type="transcription", usage_object=counted)
    if cost is None:
        cost = _cost(litellm, one.model, call_type="transcription", audio_transcription_file_duration=audio_seconds)
    return Used(
        tokens_in=tokens_in, tokens_out=tokens_out, audio_seconds=audio_seconds, cost=cost,
        price_source=None if cost is None else price_source(),
    )  # fmt: skip


def price_source() -> str:
    """Where prices are from: the map that comes with this version of LiteLLM."""
    return f"litellm {version('litellm')}"


def _cost(litellm: Any, model: str, **used: Any) -> Decimal | None:
    if provider_of(model) in OWN:
        return Decimal()
    try:
        prompt, completion = litellm.cost_per_token(model=model, **used)
    except Exception as error:  # LiteLLM raises several unrelated classes for a model without a price
        log.debug("model_unpriced", model=model, reason=type(error).__name__)
        return None
    cost = sum((Decimal(repr(round(part, 12))) for part in (prompt, completion)), Decimal())  # without float's noise
    # LiteLLM reckons zero for what has no price in its list, or is priced by something else than was counted
    return cost if cost or is_free(litellm, model) else None


def _member(usage: Any, name: str) -> Any:
    return usage.get(name) if isinstance(usage, Mapping) else getattr(usage, name, None)


#: What Whisper calls languages; others give the code itself.
_NAMES = {"russian": "ru", "english": "en", "ukrainian": "uk", "kazakh": "kk", "belarusian": "be", "german": "de"}


def _language_code(name: object) -> str | None:
    if not isinstance(name, str) or not name:
        return None
    known = _NAMES.get(name.lower())
    return known or (name.lower() if len(name) == 2 else None)
