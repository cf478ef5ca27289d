"""Which model is asked for what, when it is left alone, and what of each call the meter is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from pipeline.errors import BudgetSpent, ProviderRefused, ProviderUnavailable
from pipeline.health import Health
from pipeline.llm import Audio, LiteLlm, embed, make_language_model
from pipeline.providers import retry_after
from pipeline.routes import Deployment, make_routes
from pipeline.spending import Quote, Used
from ragline.errors import ConfigurationError
from ragline.settings import Settings, load_settings
from tests.support import faults
from tests.support.fake_openai import API_KEY, FakeOpenAI

ASK = [{"role": "user", "content": "Hello?"}]


class Ledger:
    """A meter that notes what it is told, and holds no more than ``calls``, but for the models that are ``free``."""

    def __init__(self, calls: int = 100, free: str = "") -> None:
        self.calls, self.free = calls, free
        self.quotes: list[Quote] = []
        self.ends: list[tuple[str, Used | str, bool]] = []

    def reserve(self, quote: Quote) -> Ledger:
        if len(self.quotes) >= self.calls and quote.model != self.free:
            raise BudgetSpent("the budget of the day is spent")
        self.quotes.append(quote)
        return self

    def settle(self, used: Used, *, ms: float) -> Decimal | None:
        assert ms > 0
        self.ends.append(("settled", used, True))
        return used.cost

    def release(self, error: str, *, ms: float, charged: bool = False) -> None:
        assert ms > 0
        self.ends.append(("released", error, charged))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        monkeypatch.setenv("OPENAI_API_KEY", API_KEY)
        monkeypatch.setenv("OPENAI_API_BASE", server.api_base)
        yield server


def settings(**llm: Any) -> Settings:
    return Settings.model_validate({"llm": llm})


def model(health: Health | None = None, **llm: Any) -> LiteLlm:
    made = make_language_model(settings(**llm), health or Health())
    assert made
    return made


def models(**llm: Any) -> dict[str, list[str]]:
    return {name: [one.model for one in route] for name, route in make_routes(settings(**llm)).named().items()}


# Routes


@pytest.mark.parametrize(
    ("environment", "routes"),
    [
        ({"OPENAI_API_KEY": "k"}, {"text": ["openai/gpt-4.1-mini"], "voice": ["openai/gpt-4o-mini-transcribe"]}),
        ({"AZURE_API_KEY": "k"}, {"text": ["azure/gpt-4.1-mini"]}),
        ({"GEMINI_API_KEY": "k"}, {"text": ["gemini/gemini-2.5-flash"], "voice": ["gemini/gemini-2.5-flash"]}),
        ({"ANTHROPIC_API_KEY": "k"}, {"text": ["anthropic/claude-haiku-4-5"]}),
        ({"OLLAMA_API_BASE": "http://127.0.0.1:1"}, {"text": ["ollama_chat/gemma3:4b"]}),
        ({}, {}),
    ],
    ids=lambda value: next(iter(value), "none") if isinstance(value, dict) else None,
)
def test_a_key_alone_gives_sensible_routes(
    environment: dict[str, str], routes: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert models() == routes
    assert bool(make_language_model(settings())) == bool(routes)


def test_a_purpose_has_its_own_route_or_that_of_its_modality() -> None:
    routes = make_routes(settings(routes={"text": ["o/text"], "image": ["o/image"], "classify": ["o/small"]}))

    def asked(*call: Any) -> list[str]:
        return [one.model for one in routes.pick(*call)]

    assert asked("classify") == ["o/small"]
    assert asked("answer") == asked("check") == ["o/text"]
    assert asked("caption") == asked("answer", "image") == asked("answer", "video") == ["o/image"]
    assert asked("transcribe") == asked("embed") == [], "neither a voice nor a vector comes from a model that writes"
    voice_only = settings(routes={"text": [], "voice": ["o/ear"]})
    assert make_language_model(voice_only) is None, "it writes no answers"
    assert make_language_model(voice_only, purpose="transcribe") is not None
    deaf, recording = model(routes={"text": ["o/text"]}), Audio(b"RIFF", "a.wav", "audio/wav")
    with pytest.raises(ProviderRefused, match=r"llm\.routes\.voice"):
        deaf.transcribe(recording)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{model: openai/x, api_bas: 'http://h'}", "did you mean 'api_base'"),
        ("{model: openai/x, api_key_env: NOT_THERE}", "NOT_THERE, which is not in the environment"),
        ("{api_base: 'http://h'}", "model is missing"),
        ("{model: openai/x, timeout: never}", "timeout"),
    ],
)
def test_a_wrong_entry_is_explained(entry: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        make_routes(load_settings({"RAGLINE__LLM__ROUTES__TEXT": f"[{entry}]"}))


def test_an_entry_says_where_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret-0000")
    entry = {"model": "openai/llama", "api_base": "http://gpu:8000/v1", "api_key_env": "TOKEN", "timeout": 7}
    (one, other) = make_routes(settings(routes={"text": [entry, "openai/gpt-4.1-mini"]}, max_retries=2)).pick("answer")
    assert (one.id, one.api_key, one.timeout, one.max_retries) == ("openai/llama@gpu:8000#TOKEN", "secret-0000", 7, 2)
    assert (other.id, other.api_base, other.timeout) == ("openai/gpt-4.1-mini", None, 45)
    assert "secret" not in repr(one)


# Fall-over


def test_a_request_too_long_for_one_is_asked_of_the_next_and_in_the_end_refused(server: FakeOpenAI) -> None:
    too_long = faults.status(
        400, "This model's maximum context length is 8 tokens.", parameters={"code": "context_length_exceeded"}
    )
    server.faults.add(too_long, "chat", chat="small", times=None)
    asked = model(routes={"text": ["openai/small", "openai/large"]})
    assert asked.complete(ASK, max_tokens=9).usage.model == "openai/large"
    with pytest.raises(ProviderRefused, match="history_tokens"):
        model(routes={"text": ["openai/small"]}).complete(ASK, max_tokens=9)


def test_the_deadline_is_over_all_models(server: FakeOpenAI) -> None:
    server.faults.add(faults.hang(5), "chat", times=None)
    asked = model(routes={"text": ["openai/a", "openai/b", "openai/c"]}, timeout=1, deadline=1.8)
    began = time.monotonic()
    with pytest.raises(ProviderUnavailable, match="did not answer within"):
        asked.complete(ASK, max_tokens=9)
    assert time.monotonic() - began < 2.5
    assert [call.chat for call in server.calls] == ["a", "b"]


def test_a_model_is_tried_again_as_often_as_is_set(server: FakeOpenAI) -> None:
    server.faults.add(faults.status(500), "chat", chat="a", times=2)
    assert model(routes={"text": ["openai/a"]}, max_retries=2).complete(ASK, max_tokens=9).usage.model == "openai/a"
    server.faults.add(faults.too_many(5), "chat", chat="a", times=None)
    with pytest.raises(ProviderUnavailable):
        model(routes={"text": ["openai/a"]}, max_retries=2).complete(ASK, max_tokens=9)
    assert len(server.calls) == 4, "who asks to be left alone is"


def test_who_takes_the_text_may_fail_without_blame_for_the_model(server: FakeOpenAI) -> None:
    ledger, health = Ledger(), Health()
    asked = model(health, routes={"text": ["openai/a", "openai/b"]}).metered(ledger)

    def taken(text: str) -> None:
        raise RuntimeError("the page is gone")

    with pytest.raises(RuntimeError, match="the page is gone"):
        asked.complete(ASK, max_tokens=9, on_text=taken)
    assert [call.chat for call in server.calls] == ["a"]
    assert ledger.ends == [("released", "RuntimeError", True)]
    assert health.soonest([Deployment("openai/a")]) == 0


def test_the_first_word_is_passed_on_while_the_rest_is_written(server: FakeOpenAI) -> None:
    asked = model()
    asked.complete(ASK, max_tokens=9)  # imports, and opens a connection
    server.chunk_delay = 0.1
    server.enqueue("one two three four five six")
    heard: list[float] = []
    asked.complete(ASK, max_tokens=50, on_text=lambda _: heard.append(time.monotonic()))
    assert heard[-1] - heard[0] > 0.3, "the first word did not wait for the last"


# Cooldown


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_cooldown_doubles_is_bounded_and_ends_with_an_answer() -> None:
    clock, (a, b) = Clock(), (Deployment("p/a", cooldown=3), Deployment("p/b"))
    health = Health(clock)
    waits = []
    for _ in range(4):
        health.failed(a, "server_error", began=clock.now)
        waits.append(health.soonest([a]))
        assert list(health.candidates([a, b])) == [b]
        clock.now += waits[-1]
    assert waits == [1, 2, 3, 3]
    health.succeeded(a, began=clock.now)
    assert list(health.candidates([a, b])) == [a, b]
    health.failed(a, "rate_limit", began=clock.now, retry_after=60)
    health.succeeded(a, began=clock.now - 1)
    assert health.soonest([a]) == 60, "an answer that was on its way does not end it"
    assert health.snapshot()[0] == {
        "model": "p/a", "calls": 7, "seconds": 1.0, "failures": {"server_error": 4, "rate_limit": 1}, "cooldown": 60,
    }  # fmt: skip


def test_many_calls_that_fail_together_are_one_failure() -> None:
    clock, one = Clock(), Deployment("p/a")
    health, began = Health(clock), clock.now
    clock.now += 5
    for _ in range(16):
        health.failed(one, "timeout", began=began)
    assert health.soonest([one]) == 1


def test_after_a_cooldown_one_call_tries_and_the_others_go_on_to_the_next() -> None:
    clock, (a, b) = Clock(), (Deployment("p/a"), Deployment("p/b"))
    health = Health(clock)
    health.failed(a, "timeout", began=clock.now)
    clock.now += 1
    assert next(health.candidates([a, b])) is a
    assert list(health.candidates([a, b])) == [b, a]
    clock.now += a.timeout
    assert next(health.candidates([a, b])) is a, "the one that tried has died"


def test_all_that_cool_down_say_when_to_come_back(server: FakeOpenAI) -> None:
    server.faults.add(faults.too_many(30), "chat", chat="a")
    server.faults.add(faults.too_many(9), "chat", chat="b")
    asked = model(routes={"text": ["openai/a", "openai/b"]})
    for _ in range(2):
        with pytest.raises(ProviderUnavailable) as raised:
            asked.complete(ASK, max_tokens=9)
        assert raised.value.retry_after == pytest.approx(9, abs=0.5)
    assert len(server.calls) == 2


def test_threads_share_what_one_of_them_found_out(server: FakeOpenAI) -> None:
    server.faults.add(faults.status(500), "chat", chat="a", times=None)
    asked = model(routes={"text": ["openai/a", "openai/b"]})
    asked.complete(ASK, max_tokens=9)
    threads = [threading.Thread(target=asked.complete, args=(ASK,), kwargs={"max_tokens": 9}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [call.chat for call in server.calls].count("a") == 1


class Answer(Exception):
    def __init__(self, status: int, header: str = "", text: str = "") -> None:
        super().__init__(text)
        self.status_code, self.litellm_response_headers = status, {"retry-after": header} if header else {}


def test_a_time_to_wait_comes_in_several_forms() -> None:
    assert retry_after(Answer(429, "7.5")) == 7.5
    assert retry_after(Answer(503, "Thu, 01 Jan 1970 00:01:40 GMT"), now=40.0) == 60
    assert retry_after(Answer(429, "86400")) == 3600, "a mistaken header does not shut a model out for a day"
    assert retry_after(Answer(429, text='{"retryDelay": "13s"}')) == 13
    assert retry_after(Answer(429, "soon")) is None


# The meter


def test_every_call_is_announced_and_ends(server: FakeOpenAI) -> None:
    ledger = Ledger()
    asked = model(routes={"text": ["openai/a", "openai/b", "openai/gpt-4.1-mini"]}).metered(ledger)
    server.faults.add(faults.status(503), "chat", chat="a")
    server.faults.add(faults.reset(), "chat", chat="b")
    found = asked.complete(ASK, max_tokens=50, purpose="check")
    assert [(quote.model, quote.purpose, quote.max_tokens_out) for quote in ledger.quotes] == [
        ("openai/a", "check", 50), ("openai/b", "check", 50), ("openai/gpt-4.1-mini", "check", 50),
    ]  # fmt: skip
    assert ledger.ends[:2] == [("released", "server_error", False), ("released", "connection", True)]
    used = ledger.ends[2][1]
    assert isinstance(used, Used)
    served = server.requests[-1].usage
    assert (used.tokens_in, used.tokens_out) == (served.prompt_tokens, served.completion_tokens)
    assert used.tokens_in <= ledger.quotes[2].tokens_in
    assert (used.cost, used.price_source) == (found.usage.cost, "litellm 1.106.2")


def test_an_answer_without_words_is_paid_for_and_the_next_is_asked(server: FakeOpenAI) -> None:
    ledger = Ledger()
    server.faults.add(faults.broken("content"), "chat", chat="a")
    asked = model(routes={"text": ["openai/a", "openai/b"]}).metered(ledger)
    assert asked.complete(ASK, max_tokens=9).usage.model == "openai/b"
    assert [end[0] for end in ledger.ends] == ["settled", "settled"]


def test_a_budget_that_is_spent_leaves_what_costs_nothing(server: FakeOpenAI) -> None:
    server.faults.add(faults.status(500), "chat", chat="a")
    asked = model(routes={"text": ["openai/a", "openai/b", "openai/own"]})
    with pytest.raises(BudgetSpent):
        asked.metered(Ledger(1)).complete(ASK, max_tokens=9)
    assert [call.chat for call in server.calls] == ["a"]
    assert asked.metered(Ledger(0, free="openai/own")).complete(ASK, max_tokens=9).usage.model == "openai/own"


def test_pictures_and_cached_tokens_are_counted(server: FakeOpenAI) -> None:
    ledger, server.cached_tokens = Ledger(), 40
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    talk = [{"role": "user", "content": [{"type": "text", "text": "What?"}, image]}]
    film = [{"role": "user", "content": [{**image, "of": "video"}, {**image, "of": "video"}]}]
    asked = model(routes={"text": ["openai/gpt-4.1-mini"], "video": ["openai/eyes"]}).metered(ledger)
    asked.complete(talk, max_tokens=9, purpose="caption")
    asked.complete(film, max_tokens=9, purpose="caption")
    (quote, other), used = ledger.quotes, ledger.ends[0][1]
    assert (quote.modality, quote.images) == ("image", 1)
    assert (other.modality, other.images, other.model) == ("video", 2, "openai/eyes")
    assert server.requests[-1].body["messages"][0]["content"] == [image, image]
    assert isinstance(used, Used)
    assert (used.images, used.tokens_cached) == (1, 40)
    assert used.tokens_in <= quote.tokens_in


def test_a_stream_that_tells_no_usage_is_counted_here(server: FakeOpenAI) -> None:
    ledger, server.usage_in_streams = Ledger(), False
    server.enqueue("One two three four five six seven.")
    model().metered(ledger).complete(ASK, max_tokens=50, on_text=lambda _: None)
    used = ledger.ends[0][1]
    assert isinstance(used, Used)
    assert (used.tokens_in > 0, used.tokens_out > 5) == (True, True)
    assert used.cost
    assert used.price_source
    assert used.price_source.startswith("litellm ")


def test_vectors_come_from_any_place_that_serves_the_model(server: FakeOpenAI) -> None:
    server.faults.add(faults.status(500), "embeddings", chat="first", times=None)
    own = settings(routes={"embed": ["openai/first", "openai/second"]})
    route = make_routes(own).pick("embed")
    assert len(embed("openai/x", ["a", "b"], settings=own.llm, route=route)) == 2
    assert server.requests[-1].model == "second"
