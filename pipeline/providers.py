"""What is known of model providers: where their keys stand, their default models, and what their errors mean."""

from __future__ import annotations

import email.utils
import math
import re
import time
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import ProviderRefused, ProviderUnavailable

#: Why a call gave no answer, as counted. Of ``refused`` every other model would think the same, or nobody would notice.
Kind = Literal["timeout", "connection", "server_error", "rate_limit", "too_long", "no_text", "refused"]
#: A provider that asks for more is asked again after this: a mistaken header must not shut it out for good.
LONGEST_WAIT = 3600.0
#: What the transport (httpx, under every provider) raises when a connection fails or breaks.
_TRANSPORT = ("TransportError", "NetworkError")
#: What Gemini says instead of a header (google.rpc.RetryInfo).
_RETRY_DELAY = re.compile(r'"retryDelay":\s*"(\d+(?:\.\d+)?)s"')
_WAIT = re.compile(r"\d+(?:\.\d+)?")
#: Provider prefix -> environment names of its key and its base address. Others: PREFIX_API_KEY, PREFIX_API_BASE.
_NAMES: dict[str, tuple[str | None, str]] = {
    "ollama": (None, "OLLAMA_API_BASE"),
    "ollama_chat": (None, "OLLAMA_API_BASE"),
}


@dataclass(frozen=True)
class Defaults:
    """What a provider is asked where no route is set and one of ``names`` is in the environment."""

    names: tuple[str, ...]
    text: str
    voice: str | None = None


#: In the order they are asked. Models that see images too; Gemini's also listens.
DEFAULTS: tuple[Defaults, ...] = (
    Defaults(("OPENAI_API_KEY", "OPENAI_API_BASE"), "openai/gpt-4.1-mini", "openai/gpt-4o-mini-transcribe"),
    # An Azure deployment is mostly named after its model; which ones listen cannot be known.
    Defaults(("AZURE_API_KEY",), "azure/gpt-4.1-mini"),
    Defaults(("GEMINI_API_KEY",), "gemini/gemini-2.5-flash", "gemini/gemini-2.5-flash"),
    Defaults(("ANTHROPIC_API_KEY",), "anthropic/claude-haiku-4-5"),
    Defaults(("OLLAMA_API_BASE",), "ollama_chat/gemma3:4b"),
)
#: Providers that have no call of their own for transcription: their chat models take the recording.
LISTEN_IN_CHAT = frozenset({"gemini", "vertex_ai"})


class CallFailed(Exception):
    """One call of one model gave no answer. ``error`` is what it means to who asked.

    ``charged``: the provider may have done, and charge for, what was asked.
    """

    def __init__(self, error: ProviderUnavailable | ProviderRefused, kind: Kind, *, charged: bool = False) -> None:
        super().__init__(str(error))
        self.error, self.kind, self.charged = error, kind, charged


def provider_of(model: str) -> str:
    """The provider of a LiteLLM model name; a bare name is OpenAI's, but for the families of two others."""
    prefix, slash, _ = model.partition("/")
    if slash:
        return prefix
    return {"claude": "anthropic", "gemini": "gemini"}.get(model.partition("-")[0], "openai")


def environment_names(provider: str) -> tuple[str | None, str]:
    """Names of the variables that hold a provider's key (None: it has none) and its base address."""
    upper = provider.upper()
    return _NAMES.get(provider, (f"{upper}_API_KEY", f"{upper}_API_BASE"))


def failure(error: Exception, model: str, key_name: str | None, *, setting: str, seconds: float) -> CallFailed:
    """LiteLLM's (that is, OpenAI's) error as ours; the text tells what to do and quotes nothing.

    Of the model's own refusals only a request too long for it is worth another model's time.
    """
    said, name = getattr(error, "status_code", None), type(error).__name__
    if isinstance(error, TimeoutError) or name in ("Timeout", "APITimeoutError"):
        late = ProviderUnavailable(f"{model} did not answer within {seconds:.0f} s")
        return CallFailed(late, "timeout", charged=not _never_sent(error))
    if name == "ContextWindowExceededError":
        return CallFailed(ProviderUnavailable(f"{model}: the request is longer than the model's context"), "too_long")
    status = _status_sent(error)
    if status is None and _any_is(error, *_TRANSPORT):
        reason = ProviderUnavailable(f"{model} cannot be reached, or broke the connection")
        return CallFailed(reason, "connection", charged=not _never_sent(error))
    if status is None and (_any_is(error, "JSONDecodeError") or not _is_refusal(said)):
        # LiteLLM gives an answer that nobody can read a status of its own
        return CallFailed(ProviderUnavailable(f"{model} gave no proper answer ({name})"), "server_error", charged=True)
    if said in (401, 403):
        where = key_name or "the provider's key"
        return CallFailed(ProviderRefused(f"{model} refused the key ({said}); check {where}"), "refused")
    if said == 404:
        return CallFailed(ProviderRefused(f"{model} is not known to the provider (404); check {setting}"), "refused")
    if _is_refusal(said):
        return CallFailed(ProviderRefused(f"{model} refused the request ({said}, {name})"), "refused")
    unavailable = ProviderUnavailable(f"{model} did not answer ({said or name})", retry_after(error))
    return CallFailed(unavailable, "rate_limit" if said == 429 else "server_error")


def _is_refusal(status: object) -> bool:
    """Whether a status says that this request is not to be made again."""
    return isinstance(status, int) and 400 <= status < 500 and status not in (408, 409, 425, 429)


def retry_after(error: Exception, *, now: float | None = None) -> float | None:
    """Seconds the provider asks to be left alone: a number or a date in its header, or Gemini's retry delay."""
    headers = getattr(error, "litellm_response_headers", None) or {}
    wait = str(headers.get("retry-after", "")).strip()
    if _WAIT.fullmatch(wait):
        return min(float(wait), LONGEST_WAIT)
    if wait:
        try:
            due = email.utils.parsedate_to_datetime(wait).timestamp()
        except ValueError:
            return None
        return min(max(math.ceil(due - (time.time() if now is None else now)), 0.0), LONGEST_WAIT)
    found = _RETRY_DELAY.search(str(error)) if getattr(error, "status_code", None) == 429 else None
    return min(float(found.group(1)), LONGEST_WAIT) if found else None


def _causes(error: BaseException | None) -> list[BaseException]:
    """The error and what it came from: LiteLLM wraps the client's error, which wraps the transport's."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _any_is(error: BaseException, *names: str) -> bool:
    """Whether the error or one it came from is of a class of these names, or derived from one."""
    return any(base.__name__ in names for cause in _causes(error) for base in type(cause).__mro__)


def _never_sent(error: BaseException) -> bool:
    """Whether no connection came about, so that nothing was asked."""
    return _any_is(error, "ConnectError", "ConnectTimeout", "PoolTimeout")


def _status_sent(error: BaseException) -> int | None:
    """The status of the provider's answer, None where there was none: LiteLLM then makes one up."""
    for cause in _causes(error):
        if type(cause).__name__ == "HTTPStatusError":
            return int(getattr(getattr(cause, "response", None), "status_code", 500))
    return None
