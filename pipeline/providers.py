"""What is known of model providers: where their keys stand, their default models, and what their errors mean."""

from __future__ import annotations

import email.utils
import math
import re
import time
from dataclasses import dataclass
from typing import Literal

import httpx

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
#: LiteLLM of a name whose provider it does not know.
_NO_PROVIDER = "LLM Provider NOT provided"
#: A name in an error body, such as ``unsupported_parameter`` or ``messages[0].content``; a key or a sentence is none.
_NAME = re.compile(r"[a-z][a-z_.\[\]0-9]{2,39}")
#: What our side raises over an answer of another form than the provider's.
_UNREADABLE = ("ValueError", "KeyError", "IndexError", "TypeError", "AttributeError")
#: How providers and servers say that a request is too long for the model: OpenAI, Azure, Groq; vLLM, SGLang, TGI;
#: llama.cpp, LM Studio; Ollama; Anthropic; Gemini; Mistral, xAI, Cohere, Bedrock, YandexGPT. What they say of too high
#: a ``max_tokens`` is not among them: that one is a setting.
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|request_too_large"
    r"|max(?:imum)? (?:model|context|prompt|input) length"
    r"|(?:exceed(?:s|ed)?|longer than|over) (?:the |this |its )?(?:model'?s )?(?:available |maximum |max )?context"
    r"|loaded with context length|context the overflows"
    r"|(?:prompt|input)(?: \([^)]*\))?(?: is)? too (?:long|large)|messages\[\d+\]\S*: string too long"
    r"|prompt contains \d+ tokens, too large"
    r"|reduce the length of (?:the |your )?(?:input |messages|prompt)"
    r"|number of tokens in the prompt|inputs?` must have less than|inputs` tokens \+ `max_new_tokens`"
    r"|number of input tokens must be|input token count|max tokens limit allowed|prompt tokens limit"
    r"|input tokens exceed|request payload size exceeds",
    re.IGNORECASE,
)
#: Provider prefix -> environment names of its key and its base address. Others: PREFIX_API_KEY, PREFIX_API_BASE.
_NAMES: dict[str, tuple[str | None, str]] = {
    "ollama": (None, "OLLAMA_API_BASE"),
    "ollama_chat": (None, "OLLAMA_API_BASE"),
}
#: Servers of one's own, whose models cost nothing. LiteLLM would ask the server for the price, with no time limit.
OWN = frozenset({"ollama", "ollama_chat"})
#: Providers that answer nobody without a key -> what their clients take instead of it.
KEYED: dict[str, tuple[str, ...]] = {
    "openai": (),
    "azure": ("AZURE_AD_TOKEN", "AZURE_CLIENT_ID"),
    "gemini": ("GOOGLE_API_KEY",),
    "anthropic": ("ANTHROPIC_AUTH_TOKEN",),
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

    Of the model's own refusals only a request too long for it is worth another model's time. The status that the
    provider sent counts, not LiteLLM's class: it goes by words in the body, which may be anybody's.
    """
    said, name, sent = getattr(error, "status_code", None), type(error).__name__, _sent(error)
    if sent is not None and not (sent.status_code == 400 and said in (401, 403)):  # Gemini tells a wrong key by 400
        said = sent.status_code
    if sent is None and _NO_PROVIDER in str(error):
        return CallFailed(
            ProviderRefused(f"{model} names no known provider; write PROVIDER/MODEL in {setting}"), "refused"
        )
    if _is_too_long(said, name, sent):
        return CallFailed(ProviderUnavailable(f"{model}: the request is longer than the model's context"), "too_long")
    if said == 408 or (sent is None and (isinstance(error, TimeoutError) or name in ("Timeout", "APITimeoutError"))):
        late = ProviderUnavailable(f"{model} did not answer within {seconds:.0f} s")
        return CallFailed(late, "timeout", charged=not _never_sent(error))
    if sent is None and _any_is(error, *_TRANSPORT):
        reason = ProviderUnavailable(f"{model} cannot be reached, or broke the connection")
        return CallFailed(reason, "connection", charged=not _never_sent(error))
    if sent is None and (said == 422 or _any_is(error, *_UNREADABLE) or not _is_refusal(said)):
        # LiteLLM gives an answer that nobody can read a status of its own
        return CallFailed(ProviderUnavailable(f"{model} gave no proper answer ({name})"), "server_error", charged=True)
    if said in (401, 403):
        where = key_name or "the provider's key"
        return CallFailed(ProviderRefused(f"{model} refused the key ({said}); check {where}"), "refused")
    if said == 404:
        return CallFailed(ProviderRefused(f"{model} is not known to the provider (404); check {setting}"), "refused")
    if _is_refusal(said):
        why = ", ".join(filter(None, (str(said), name if sent is None else _named_reason(sent))))
        return CallFailed(ProviderRefused(f"{model} refused the request ({why})"), "refused")
    unavailable = ProviderUnavailable(f"{model} did not answer ({said or name})", retry_after(error))
    return CallFailed(unavailable, "rate_limit" if said == 429 else "server_error")


def _is_refusal(status: object) -> bool:
    """Whether a status says that this request is not to be made again."""
    return isinstance(status, int) and 400 <= status < 500 and status not in (408, 409, 425, 429)


def _is_too_long(status: object, name: str, sent: httpx.Response | None) -> bool:
    """Whether a provider says that a request is longer than its model takes: each has words of its own for it."""
    if status == 413:
        return True
    if status not in (None, 400, 422, 500) and sent is not None:
        return False
    return name == "ContextWindowExceededError" or bool(sent is not None and _TOO_LONG.search(sent.text))


def _named_reason(sent: httpx.Response) -> str:
    """The provider's own words for a refusal where they are names, such as ``unsupported_value: temperature``: its
    sentences may quote the request."""
    try:
        error = sent.json()["error"]
        found = [error.get("code"), error.get("param")]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return ": ".join(name for name in found if isinstance(name, str) and _NAME.fullmatch(name))


def retry_after(error: Exception, *, now: float | None = None) -> float | None:
    """Seconds the provider asks to be left alone: a number or a date in its header, milliseconds as OpenAI and Azure
    tell them, or Gemini's retry delay."""
    sent = _sent(error)
    headers = getattr(error, "litellm_response_headers", None) or {} if sent is None else sent.headers
    exact, wait = (str(headers.get(name, "")).strip() for name in ("retry-after-ms", "retry-after"))
    if _WAIT.fullmatch(exact):
        return min(float(exact) / 1000, LONGEST_WAIT)
    if _WAIT.fullmatch(wait):
        return min(float(wait), LONGEST_WAIT)
    if wait:
        try:
            due = email.utils.parsedate_to_datetime(wait).timestamp()
        except ValueError:
            return None
        return min(max(math.ceil(due - (time.time() if now is None else now)), 0.0), LONGEST_WAIT)
    if getattr(error, "status_code", None) != 429:
        return None
    found = _RETRY_DELAY.search(str(error) if sent is None else sent.text)
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


def _sent(error: BaseException) -> httpx.Response | None:
    """The provider's answer that is the error, None where there was none: LiteLLM then makes a status up."""
    for cause in _causes(error):
        if isinstance(cause, httpx.HTTPStatusError):
            return cause.response
    return None
