"""The one door to language models, over LiteLLM. Nothing else imports it.

A route is an ordered list of models: the next one is asked after a time-out, a broken connection, a 429, a 5xx or a
request too long for the model, never after 400, 401, 403 or 404, which would fail, and be paid for, everywhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Protocol

from pipeline import calls, prices
from pipeline.calls import Answered
from pipeline.errors import BudgetSpent, NoModel, ProviderRefused, ProviderUnavailable
from pipeline.health import Health, process_health
from pipeline.providers import CallFailed
from pipeline.routes import Deployment, Routes, deployment, make_routes
from pipeline.spending import Meter, Modality, Purpose, Quote, Reservation, Used
from pipeline.turn import Usage
from ragline.logs import get_logger
from ragline.settings import LlmSettings, Settings
from ragline.spending_settings import Price

log = get_logger(__name__)

#: Tokens a picture counts for at most with the models of the default routes, for the quote before the call.
IMAGE_TOKENS = 2_500
#: Tokens a second of sound counts for (Gemini), and the fewest bytes it takes, where nobody measured its length.
SOUND_TOKENS, SOUND_BYTES = 32, 2_000
#: Less time than this is not worth a call.
SHORTEST_CALL = 0.5
#: Seconds before the same model is asked once more; doubles.
PAUSE = 0.25
#: Failures that the same model would repeat at once.
_NOT_AGAIN = ("rate_limit", "too_long")


@dataclass(frozen=True)
class Completion:
    """A model's text, and what it cost (``usage.template`` is the caller's to fill in).

    ``cut``: the text had reached ``max_tokens`` before its end.
    """

    text: str
    usage: Usage
    cut: bool = False


#: A message as OpenAI's chat takes it: ``role`` and ``content``, a text or a list of parts (text, image_url). A picture
#: that is a frame of a film says so by ``"of": "video"`` beside its type; providers are not shown that.
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


class _Unmetered:
    """Calls that nobody counts. No process of ours makes any: see ``pipeline.metering``."""

    def reserve(self, quote: Quote) -> Reservation:
        return self

    def settle(self, used: Used, *, ms: float) -> Decimal | None:
        return used.cost

    def release(self, error: str, *, ms: float, charged: bool = False) -> None:
        return


#: The meter of calls that nobody counts.
UNMETERED: Meter = _Unmetered()
_embeddings = UNMETERED


def count_embeddings(meter: Meter) -> Meter:
    """Pay this process's embeddings from ``meter``: texts of many turns are embedded together, so no turn pays.

    Returns what paid for them before.
    """
    global _embeddings
    before, _embeddings = _embeddings, meter
    return before


def make_language_model(
    settings: Settings, health: Health | None = None, *, purpose: Purpose = "answer"
) -> LiteLlm | None:
    """The configured language models; None where no route serves ``purpose``: without a model that writes, the engine
    answers direct or unknown.

    Raises ``ConfigurationError`` for a route whose key is not in the environment.
    """
    routes = make_routes(settings)
    return LiteLlm(routes, settings.llm, health=health) if routes.pick(purpose) else None


class LiteLlm:
    """The models of the routes, through LiteLLM, which is imported at the first call: it costs seconds and 165 MB."""

    def __init__(
        self, routes: Routes, settings: LlmSettings, *, meter: Meter = UNMETERED, health: Health | None = None
    ) -> None:
        self._routes, self._settings, self._meter = routes, settings, meter
        self._health = health or process_health()

    def metered(self, meter: Meter) -> LiteLlm:
        """The same models, each call of which is paid from ``meter``."""
        return LiteLlm(self._routes, self._settings, meter=meter, health=self._health)

    def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int,
        purpose: Purpose = "answer",
        on_text: OnText | None = None,
    ) -> Completion:
        litellm, modality, images = load_litellm(), _modality(messages), len(_pictures(messages))
        told = _Told(on_text)

        def quote(one: Deployment) -> Quote:
            tokens = calls.estimate_tokens(litellm, one.model, messages) + IMAGE_TOKENS * images
            return Quote(one.model, purpose, modality, tokens, max_tokens, images=images)

        def ask(one: Deployment, seconds: float) -> Answered:
            told.begin()
            return calls.chat(
                litellm, one, messages,
                max_tokens=max_tokens, seconds=seconds, tell=told.tell if on_text else None, images=images,
            )  # fmt: skip

        model, answered = self._first(purpose, modality, quote, ask, told)
        return Completion(answered.text, _usage(model, answered.used), answered.cut)

    def transcribe(self, audio: Audio, *, language: str | None = None) -> Transcript:
        litellm = load_litellm()
        length = len(audio.data) / SOUND_BYTES if audio.seconds is None else audio.seconds

        def quote(one: Deployment) -> Quote:
            most = 200 + round(8 * length)
            return Quote(one.model, "transcribe", "voice", round(SOUND_TOKENS * length) + 200, most, length)

        def ask(one: Deployment, seconds: float) -> Answered:
            return calls.transcribe(
                litellm, one, audio.data, audio.name, audio.mime,
                audio_seconds=length, language=language, seconds=seconds,
            )  # fmt: skip

        model, answered = self._first("transcribe", "voice", quote, ask)
        return Transcript(answered.text, answered.language or language, _usage(model, answered.used))

    def count_tokens(self, text: str) -> int:
        route = self._routes.pick("answer")
        return int(load_litellm().token_counter(model=route[0].model if route else "", text=text))

    def _first(
        self,
        purpose: Purpose,
        modality: Modality,
        quote: Callable[[Deployment], Quote],
        ask: Callable[[Deployment, float], Answered],
        told: _Told | None = None,
    ) -> tuple[str, Answered]:
        route = self._routes.pick(purpose, modality)
        if not route:
            raise NoModel(f"no model is set for {purpose}; set llm.routes.{modality}")
        return first_answer(
            route, quote, ask,
            meter=self._meter, health=self._health, deadline=self._settings.deadline.total_seconds(),
            again=told.again if told else lambda: None,
        )  # fmt: skip


def first_answer(
    route: Sequence[Deployment],
    quote: Callable[[Deployment], Quote],
    ask: Callable[[Deployment, float], Answered],
    *,
    meter: Meter,
    health: Health,
    deadline: float,
    again: Callable[[], None] = lambda: None,
) -> tuple[str, Answered]:
    """The name of the first model of a route that answers, and what it said.

    ``ask`` is given the seconds it has; ``deadline`` is over all calls. ``again`` is called when one broke off.
    Raises ``ProviderUnavailable`` with the time after which a model may be asked again, ``ProviderRefused`` or
    ``BudgetSpent``.
    """
    until = health.now() + deadline
    last: CallFailed | None = None
    spent: BudgetSpent | None = None
    for one in health.candidates(route):
        for attempt in range(one.max_retries + 1):
            left = until - health.now()
            if attempt:
                time.sleep(min(PAUSE * 2 ** (attempt - 1), max(left, 0)))
                left = until - health.now()
            if left < SHORTEST_CALL:
                health.not_asked(one)
                raise spent or _exhausted(route, last, health.soonest(route)) from last
            try:
                return one.model, once(one, quote(one), ask, until=until, meter=meter, health=health)
            except BudgetSpent as error:  # a cheaper one may still be paid, and one's own costs nothing
                spent = error
                break
            except CallFailed as failed:
                again()
                if isinstance(failed.error, ProviderRefused):
                    raise failed.error from failed
                log.warning("model_unavailable", model=one.id, kind=failed.kind, error=str(failed.error))
                last = failed
                if failed.kind in _NOT_AGAIN:
                    break
    raise spent or _exhausted(route, last, health.soonest(route)) from last


def once(
    one: Deployment,
    quote: Quote,
    ask: Callable[[Deployment, float], Answered],
    *,
    until: float,
    meter: Meter,
    health: Health,
) -> Answered:
    """One call, paid for and counted; its cost is in the currency of the ledger.

    Setting its money aside may take of the time until ``until`` (by ``health``'s clock). Raises ``BudgetSpent`` or
    ``CallFailed``.
    """
    try:
        reservation, began = meter.reserve(quote), health.now()
    except BaseException:
        health.not_asked(one)
        raise

    def ms() -> float:
        return round((health.now() - began) * 1000, 3)

    try:
        answered = ask(one, max(min(until - began, one.timeout), 0.0))
    except calls.NoText as failed:
        reservation.settle(failed.used, ms=ms())
        health.failed(one, failed.kind, began=began)
        raise
    except CallFailed as failed:
        reservation.release(failed.kind, ms=ms(), charged=failed.charged)
        health.failed(one, failed.kind, began=began, retry_after=getattr(failed.error, "retry_after", None))
        raise
    except BaseException as error:  # who takes the text failed, and it was paid for
        reservation.release(type(error).__name__, ms=ms(), charged=True)
        health.not_asked(one)
        raise
    cost = reservation.settle(answered.used, ms=ms())
    health.succeeded(one, began=began)
    return replace(answered, used=replace(answered.used, cost=cost))


def _exhausted(
    route: Sequence[Deployment], last: CallFailed | None, wait: float
) -> ProviderUnavailable | ProviderRefused:
    names = ", ".join(one.id for one in route)
    if last is None:
        return ProviderUnavailable(f"{names}: left alone after failures for another {wait:.0f} s", wait or None)
    if last.kind == "too_long":
        return ProviderRefused(f"{last.error} and no other of {names} took it; lower answer.history_tokens")
    return ProviderUnavailable(str(last.error), wait or None)


class _Told:
    """What the caller was shown of an answer that is being written."""

    def __init__(self, on_text: OnText | None) -> None:
        self._on_text, self._told = on_text, ""

    def begin(self) -> None:
        self._told = ""

    def tell(self, text: str) -> None:
        if self._on_text and text != self._told:
            self._told = text
            self._on_text(text)

    def again(self) -> None:
        """What was shown is void."""
        if self._told:
            self.tell("")


def embed(
    model: str, texts: Sequence[str], *, settings: LlmSettings, route: Sequence[Deployment] = (), use: str | None = None
) -> list[list[float]]:
    """A vector for each text, of ``model``, or of the first of ``route`` that answers: the places that serve it.

    ``use`` tells models that ask for it: ``search_query`` or ``search_document``. Raises ``ProviderUnavailable`` (worth
    a retry) or ``ProviderRefused``.
    """
    litellm = load_litellm()

    def ask(one: Deployment, seconds: float) -> Answered:
        return calls.embed(litellm, one, texts, seconds=seconds, use=use)

    _, answered = first_answer(
        route or [deployment(model, settings, "knowledge.embedder")],
        lambda one: Quote(one.model, "embed", tokens_in=sum(map(len, texts))),
        ask,
        meter=_embeddings,
        health=process_health(),
        deadline=settings.deadline.total_seconds(),
    )
    return list(answered.vectors)


def _modality(messages: Sequence[ChatMessage]) -> Modality:
    """What a request is made of, by its parts; a film counts before a picture."""
    pictures = _pictures(messages)
    if any(part.get("of") == "video" for part in pictures):
        return "video"
    return "image" if pictures else "text"


def _pictures(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    lists = [message["content"] for message in messages if isinstance(message.get("content"), list)]
    return [part for parts in lists for part in parts if part.get("type") == "image_url"]


def _usage(model: str, used: Used) -> Usage:
    return Usage(tokens_in=used.tokens_in, tokens_out=used.tokens_out, cost=used.cost, model=model)


def listed_price(model: str) -> Price | None:
    """A model's price in LiteLLM's list, in US dollars; None where the list does not have it."""
    return prices.listed_price(load_litellm(), model)


def known_provider(model: str) -> bool:
    """Whether a model's name says whom to ask."""
    litellm = load_litellm()
    try:
        litellm.get_llm_provider(model)
    except litellm.BadRequestError:
        return False
    return True


def load_litellm() -> Any:
    """The module, without its talk and its telemetry; the first import takes seconds."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else the import waits for the network
    import litellm

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    return litellm
