"""The one door to language models, over LiteLLM. Nothing else imports it.

A route is an ordered list of models: the next one is asked after a time-out, a 429, a 5xx or a request too
long for the model, never after 400, 401 or 403, which would fail, and be paid for, everywhere.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Protocol

from pipeline.errors import ProviderRefused, ProviderUnavailable
from pipeline.spending import Purpose
from pipeline.turn import Usage
from ragline.errors import PermanentError, TransientError
from ragline.logs import get_logger
from ragline.settings import Settings
from ragline.spending_settings import Price

log = get_logger(__name__)

#: The model of a provider whose key is in the environment, where no route is set.
DEFAULT_MODELS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("OPENAI_API_KEY", "OPENAI_API_BASE"), "openai/gpt-4.1-mini"),
    (("GEMINI_API_KEY",), "gemini/gemini-2.5-flash"),
    (("ANTHROPIC_API_KEY",), "anthropic/claude-haiku-4-5"),
)
#: Provider prefix -> environment names of its key and its base address.
_CREDENTIALS = {
    "openai": ("OPENAI_API_KEY", "OPENAI_API_BASE"),
    "azure": ("AZURE_API_KEY", "AZURE_API_BASE"),
    "gemini": ("GEMINI_API_KEY", "GEMINI_API_BASE"),
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_API_BASE"),
    "ollama_chat": (None, "OLLAMA_API_BASE"),
    "ollama": (None, "OLLAMA_API_BASE"),
}


@dataclass(frozen=True)
class Completion:
    """A model's text, and what it cost (``usage.template`` is the caller's to fill in)."""

    text: str
    usage: Usage


#: A message as OpenAI's chat takes it: ``role`` and ``content``, a text or a list of parts (text, image_url).
ChatMessage = dict[str, Any]
OnText = Callable[[str], None]


@dataclass(frozen=True)
class Audio:
    """A recording: its bytes, and a file name and MIME type that say what they are. ``seconds``: its length."""

    data: bytes
    name: str
    mime: str
    seconds: float | None = None


@dataclass(frozen=True)
class Transcript:
    """What was said, in which language (ISO 639-1, where the model tells), and what it cost."""

    text: str
    language: str | None
    usage: Usage


class LanguageModel(Protocol):
    """What the generate step needs of a language model."""

    def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int,
        purpose: Purpose = "answer",
        on_text: OnText | None = None,
    ) -> Completion:
        """One answer, of the first model of the purpose's route that gives one.

        ``on_text`` is called with the whole text so far as it grows; with an empty text where another model begins
        anew. Raises ``ProviderUnavailable`` (worth a retry), ``ProviderRefused`` or ``BudgetSpent``.
        """
        ...

    def transcribe(self, audio: Audio, *, language: str | None = None) -> Transcript:
        """What is said in a recording. Raises as :meth:`complete` does."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of ``text`` for the first model of the route, an estimate where its tokenizer is not public."""
        ...


def text_route(settings: Settings) -> list[str]:
    """Model names for text: ``llm.routes.text``, else the default model of each provider with a key."""
    configured = settings.llm.routes.get("text")
    if configured is not None:
        return list(configured)
    return [model for names, model in DEFAULT_MODELS if any(os.environ.get(name) for name in names)]


def make_language_model(settings: Settings) -> LanguageModel | None:
    """The configured language model; None where there is none: the engine then answers direct or unknown."""
    route = text_route(settings)
    return LiteLlm(route, settings.llm.timeout) if route else None


class LiteLlm:
    """A route of models through LiteLLM. LiteLLM is imported at the first call: it costs seconds and 165 MB."""

    def __init__(self, route: Sequence[str], timeout: timedelta) -> None:
        self._route = list(route)
        self._timeout = timeout.total_seconds()

    def complete(self, messages: Sequence[dict[str, str]], *, max_tokens: int) -> Completion:
        last: TransientError | None = None
        for model in self._route:
            try:
                return self._ask(model, messages, max_tokens)
            except ProviderUnavailable as error:
                log.warning("model_unavailable", model=model, error=str(error))
                last = error
        assert last is not None
        raise last

    def count_tokens(self, text: str) -> int:
        return int(_litellm().token_counter(model=self._route[0], text=text))

    def _ask(self, model: str, messages: Sequence[dict[str, str]], max_tokens: int) -> Completion:
        litellm = _litellm()
        key_name, key, base = _credentials(model)
        try:
            response = _within(
                self._timeout, litellm.completion,
                model=model, messages=list(messages), max_tokens=max_tokens, temperature=0.2,
                timeout=self._timeout, max_retries=0, api_key=key, api_base=base,
            )  # fmt: skip
        except Exception as error:
            raise convert_error(error, model, key_name) from error
        choices = getattr(response, "choices", None) or []
        text = (choices[0].message.content or "").strip() if choices else ""
        if not text:
            raise ProviderUnavailable(f"{model} returned no text")
        usage = getattr(response, "usage", None)
        return Completion(
            text,
            Usage(
                tokens_in=int(getattr(usage, "prompt_tokens", 0) or 0),
                tokens_out=int(getattr(usage, "completion_tokens", 0) or 0),
                cost=_cost(litellm.completion_cost, response, model),
                model=model,
            ),
        )


def embed(model: str, texts: Sequence[str], *, timeout: float, use: str | None = None) -> list[list[float]]:
    """A vector for each text. ``use`` tells models that ask for it: ``search_query`` or ``search_document``.

    Raises ``ProviderUnavailable`` (worth a retry) or ``ProviderRefused``.
    """
    key_name, key, base = _credentials(model)
    # LiteLLM takes no retries for two of them here; the deadline bounds them too.
    told = {"input_type": use} if use else {}
    try:
        response = _within(
            timeout, _litellm().embedding, model=model, input=list(texts), timeout=timeout, max_retries=0,
            api_key=key, api_base=base, encoding_format="float", **told,
        )  # fmt: skip
    except Exception as error:
        raise convert_error(error, model, key_name, setting="knowledge.embedder") from error
    rows = sorted(response.data, key=lambda row: row["index"])
    if len(rows) != len(texts):
        raise ProviderUnavailable(f"{model} returned {len(rows)} vectors for {len(texts)} texts")
    return [list(map(float, row["embedding"])) for row in rows]


def listed_price(model: str) -> Price | None:
    """A model's price in LiteLLM's list, in US dollars; None where the list does not have it."""
    try:
        info = dict(_litellm().get_model_info(model))
    except Exception as error:  # LiteLLM raises several unrelated classes for a model it does not know
        log.info("model_not_listed", model=model, reason=type(error).__name__)
        return None

    def of(name: str, times: int = 1_000_000) -> Decimal:
        return Decimal(repr(info.get(name) or 0)) * times

    price = Price(
        input=of("input_cost_per_token"),
        output=of("output_cost_per_token"),
        cached=of("cache_read_input_token_cost") if info.get("cache_read_input_token_cost") else None,
        audio_minute=of("input_cost_per_second", 60),
        image=of("input_cost_per_image", 1),
    )
    # priced by something we do not count, such as characters: not free
    return None if price.free and any(value for name, value in info.items() if "_cost_per_" in name) else price


def _credentials(model: str) -> tuple[str | None, str | None, str | None]:
    """The environment name of the key, the key and the base address."""
    key_name, base_name = _CREDENTIALS.get(model.partition("/")[0], (None, None))
    base = os.environ.get(base_name) if base_name else None
    # A local server needs no key, but the client library refuses to start without one.
    return key_name, (os.environ.get(key_name) if key_name else None) or ("none" if base else None), base


def convert_error(
    error: Exception, model: str, key_name: str | None, *, setting: str = "llm.routes.text"
) -> TransientError | PermanentError:
    """LiteLLM's (that is, OpenAI's) error classes as ours; the text tells what to do and quotes nothing."""
    status = getattr(error, "status_code", None)
    kind = type(error).__name__
    if kind == "ContextWindowExceededError":
        return ProviderUnavailable(f"{model}: the request is longer than the model's context")
    if status in (401, 403):
        where = key_name or "the provider's key"
        return ProviderRefused(f"{model} refused the key ({status}); check {where}")
    if status == 404:
        return ProviderRefused(f"{model} is not known to the provider (404); check {setting}")
    if isinstance(status, int) and 400 <= status < 500 and status not in (408, 409, 425, 429):
        return ProviderRefused(f"{model} refused the request ({status}, {kind})")
    headers = getattr(error, "litellm_response_headers", None) or {}
    wait = str(headers.get("retry-after", ""))
    retry_after = float(wait) if wait.replace(".", "", 1).isdigit() else None
    return ProviderUnavailable(f"{model} did not answer ({status or kind})", retry_after)


def _within(seconds: float, call: Callable[..., Any], **arguments: Any) -> Any:
    """The call's result, or ``TimeoutError``: the client's own time-out is for one read and starts anew each time."""
    done: Future[Any] = Future()

    def run() -> None:
        try:
            done.set_result(call(**arguments))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="model", daemon=True).start()
    return done.result(seconds)


def _cost(completion_cost: Callable[..., float], response: Any, model: str) -> Decimal | None:
    try:
        return Decimal(repr(completion_cost(completion_response=response, model=model)))
    except Exception as error:  # LiteLLM raises several unrelated classes for a model without a price
        log.info("model_unpriced", model=model, reason=type(error).__name__)
        return None


def _litellm() -> Any:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else the import waits for the network
    import litellm

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    return litellm
