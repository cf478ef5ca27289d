"""What providers really answer when something is wrong, in their own words: who is asked next, and who is not."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.errors import BudgetSpent, ProviderRefused, ProviderUnavailable
from pipeline.health import Health
from pipeline.llm import LiteLlm, make_language_model
from pipeline.routes import Deployment
from ragline.settings import Settings
from tests.pipeline.test_routes import Clock, Ledger
from tests.support import faults
from tests.support.fake_anthropic import FakeAnthropic
from tests.support.fake_azure import FakeAzure
from tests.support.fake_gemini import FakeGemini
from tests.support.fake_ollama import FakeOllama
from tests.support.fake_openai import API_KEY, FakeOpenAI

ASK = [{"role": "user", "content": "Hello?"}]
_SERVERS: dict[str, tuple[type[FakeOpenAI], str]] = {
    "openai": (FakeOpenAI, "openai/gpt-4.1-mini"),
    "azure": (FakeAzure, "azure/gpt-4.1-mini"),
    "gemini": (FakeGemini, "gemini/gemini-2.5-flash"),
    "anthropic": (FakeAnthropic, "anthropic/claude-haiku-4-5"),
    "ollama": (FakeOllama, "ollama_chat/gemma3:4b"),
}
_STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
_STREAMERS = pytest.mark.parametrize("first", ["openai", "azure", "anthropic", "ollama"], indirect=True)


@pytest.fixture
def first(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeOpenAI, str]]:
    """The server of a provider, and the name of a model there."""
    name = getattr(request, "param", "openai")
    kind, model = _SERVERS[name]
    with kind(API_KEY) as server:
        for end, value in {"KEY": API_KEY, "BASE": server.api_base, "VERSION": "2024-10-21"}.items():
            monkeypatch.setenv(f"{name.upper()}_API_{end}", value)
        yield server, model


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    with FakeOpenAI(API_KEY, answer="From the second.") as server:
        monkeypatch.setenv("TOKEN", API_KEY)
        yield server


def llm(*entries: Any, health: Health | None = None) -> LiteLlm:
    settings = Settings.model_validate({"llm": {"routes": {"text": list(entries)}, "timeout": 5}})
    made = make_language_model(settings, health or Health())
    assert made
    return made


def gateway(server: FakeOpenAI) -> dict[str, str]:
    return {"model": "openai/in-house", "api_base": server.api_base, "api_key_env": "TOKEN"}


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **more}}


_OPENAI_LENGTH = "This model's maximum context length is 8192 tokens. However, your messages resulted in 10000 tokens."
_TOO_LONG: dict[str, list[tuple[int, Any]]] = {
    "openai": [
        (400, error(_OPENAI_LENGTH, code="context_length_exceeded", param="messages")),
        (400, error("Your input exceeds the context window of this model.", code="context_length_exceeded")),
        (400, error("Input tokens exceed the configured limit of 272000 tokens.")),
        (400, error("Invalid 'messages[1].content': string too long.", code="string_above_max_length")),
        (413, "<html><h1>413 Request Entity Too Large</h1></html>"),
        # servers that speak OpenAI's form: vLLM, SGLang, TGI
        (400, {"object": "error", "message": _OPENAI_LENGTH, "type": "BadRequestError", "code": 400}),
        (400, error("The decoder prompt (length 5951) is longer than the maximum model length of 4096.", code=400)),
        (400, error("The prompt (total length 25938) is too long to fit into the model (context length 4096).")),
        (400, error("'max_tokens' is too large: 500. This model's maximum context length is 4096 tokens and your")),
        (400, error("However, the model's context length is only 4096 tokens, resulting in a maximum input length of")),
        (400, error("The input (9000 tokens) is longer than the model's context length (8192 tokens).")),
        (422, {"error": "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000"}),
        # llama.cpp, LM Studio
        (400, error("request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it")),
        (400, {"error": "Trying to keep the first 6000 tokens when context the overflows. However, the model is"}),
        # Mistral, Groq, xAI, Cohere, Bedrock, YandexGPT
        (400, {"message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"}),
        (400, error("Please reduce the length of the messages or completion.")),
        (400, error("This model's maximum prompt length is 131072 but the request contains 150000 tokens.")),
        (400, {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081"}),
        (400, error("Input is too long for requested model.")),
        (400, error("Error in prompt: number of input tokens must be no more than 32768, got 40001")),
    ],
    "azure": [(400, error(_OPENAI_LENGTH, code="context_length_exceeded"))],
    "gemini": [
        (400, error("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).")),
        (400, error("Request payload size exceeds the limit: 20971520 bytes.")),
    ],
    "anthropic": [
        (400, error("prompt is too long: 210000 tokens > 200000 maximum")),
        (400, error("input length and `max_tokens` exceed context limit: 198000 + 8192 > 200000")),
        (413, error("Request exceeds the maximum size", type="request_too_large")),
    ],
    "ollama": [
        (400, {"error": "prompt too long; exceeded max context length by 100 tokens"}),
        (500, {"error": "the input length exceeds the context length"}),
    ],
}


@_STREAMED
@pytest.mark.parametrize("first", _SERVERS, indirect=True)
def test_what_is_too_long_for_one_goes_to_the_next_in_every_wording(
    first: tuple[FakeOpenAI, str], second: FakeOpenAI, streamed: bool
) -> None:
    server, name = first
    health = Health()
    asked = llm(name, gateway(second), health=health)
    wordings = next(_TOO_LONG[provider] for provider, (_, model) in _SERVERS.items() if model == name)
    for status, body in wordings:
        server.faults.add(faults.status(status, body=body), "chat")
        found = asked.complete(ASK, max_tokens=9, on_text=(lambda _: None) if streamed else None)
        assert found.text == "From the second.", body
    told = health.snapshot()[0]
    assert told["failures"] == {"too_long": len(wordings)}
    assert told["cooldown"] == 0, "it is well, and the next request may be shorter"


@_STREAMED
@pytest.mark.parametrize(
    ("first", "status", "body", "said"),
    [
        ("openai", 400, error("the rate limit 'x' is unknown", code="invalid_value", param="x"), "invalid_value"),
        ("openai", 400, error("see our page about Request timed out."), "400"),
        ("openai", 401, error(f"Incorrect API key. {_OPENAI_LENGTH}"), "OPENAI_API_KEY"),
        ("openai", 400, error("max_tokens is too large: 9. This model supports at most 4 completion tokens"), "400"),
        ("gemini", 400, error('Invalid value 503 "500 Internal Server Error"'), "400"),
        ("anthropic", 400, error("messages: Overloaded"), "400"),
        ("anthropic", 400, error("max_tokens: 9 > 4, the maximum allowed number of output tokens for x"), "400"),
    ],
    indirect=["first"],
)
def test_a_refusal_that_reads_like_an_outage_stays_one(
    first: tuple[FakeOpenAI, str], second: FakeOpenAI, status: int, body: Any, said: str, streamed: bool
) -> None:
    server, name = first
    server.faults.add(faults.status(status, body=body), "chat")
    with pytest.raises(ProviderRefused, match=said):
        llm(name, gateway(second)).complete(ASK, max_tokens=9, on_text=(lambda _: None) if streamed else None)
    assert second.requests == []


@_STREAMED
@pytest.mark.parametrize("body", [{"error": "boom"}, error("Provider returned error", code=502), {}], ids=str)
@pytest.mark.parametrize("first", _SERVERS, indirect=True)
def test_an_error_told_as_a_success_is_an_outage(
    first: tuple[FakeOpenAI, str], second: FakeOpenAI, body: Any, streamed: bool
) -> None:
    server, name = first
    server.faults.add(faults.status(200, body=body), "chat")
    found = llm(name, gateway(second)).complete(ASK, max_tokens=9, on_text=(lambda _: None) if streamed else None)
    assert found.text == "From the second."


@_STREAMED
@pytest.mark.parametrize("first", _SERVERS, indirect=True)
def test_a_wait_is_kept_to_however_it_is_told(first: tuple[FakeOpenAI, str], streamed: bool) -> None:
    server, name = first
    for headers, wait in (({"retry-after-ms": "2500", "retry-after": "3"}, 2.5), ({"Retry-After": "9"}, 9)):
        server.faults.add(faults.status(429, headers=headers), "chat")
        with pytest.raises(ProviderUnavailable) as raised:
            llm(name).complete(ASK, max_tokens=9, on_text=(lambda _: None) if streamed else None)
        assert raised.value.retry_after == pytest.approx(wait, abs=0.11)


@_STREAMERS
def test_a_stream_that_ends_before_its_end_is_no_answer(first: tuple[FakeOpenAI, str], second: FakeOpenAI) -> None:
    server, name = first
    server.enqueue("It is free of charge within thirty days.")
    server.faults.add(faults.cut(6, properly=True), "chat")
    heard: list[str] = []
    found = llm(name, gateway(second)).complete(ASK, max_tokens=50, on_text=heard.append)
    assert (found.text, heard[-1]) == ("From the second.", "From the second.")
    assert heard[0].startswith("It")
    assert "" in heard, "what was shown is void"


@pytest.mark.parametrize("first", ["openai", "anthropic"], indirect=True)
def test_every_connection_is_given_back(first: tuple[FakeOpenAI, str], second: FakeOpenAI) -> None:
    """One left to the garbage collector may stop all later calls: it can be collected under the pool's own lock."""
    server, name = first
    asked = llm(name, gateway(second), health=Health())
    gc.collect()
    gc.disable()
    try:
        asked.complete(ASK, max_tokens=50, on_text=lambda _: None)
        server.enqueue("This will never come to its end.")
        server.faults.add(faults.cut(5, properly=True), "chat")
        asked.complete(ASK, max_tokens=50, on_text=lambda _: None)
        until = time.monotonic() + 2
        while _open() and time.monotonic() < until:
            time.sleep(0.01)
        assert _open() == 0
    finally:
        gc.enable()


def _open() -> int:
    return sum(type(one).__name__ == "PoolByteStream" and not one._closed for one in gc.get_objects())


@_STREAMED
def test_what_a_filter_leaves_of_a_text_is_not_sent(first: tuple[FakeOpenAI, str], streamed: bool) -> None:
    server, name = first
    server.enqueue("To do that you", finish_reason="content_filter")
    heard: list[str] = []
    with pytest.raises(ProviderRefused, match="content filter"):
        llm(name).complete(ASK, max_tokens=50, on_text=heard.append if streamed else None)
    assert not heard or heard[-1] == ""


@pytest.mark.parametrize("name", ["openai/gpt-5-mini", "openai/o3-mini", "openai/gpt-4.1-mini"])
def test_a_model_that_thinks_first_is_told_no_temperature(first: tuple[FakeOpenAI, str], name: str) -> None:
    server, _ = first
    llm(name).complete(ASK, max_tokens=50)
    body = server.requests[-1].body
    assert ("temperature" in body) == ("gpt-4" in name)
    assert body.get("max_tokens") == 50 or body.get("max_completion_tokens") == 50


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("openai/x", "OPENAI_API_KEY, which is not in the environment"),
        ("azure/x", "AZURE_API_BASE"),
        ("gemini/x", "GEMINI_API_KEY"),
        ("anthropic/x", "ANTHROPIC_API_KEY"),
        ("antropic/x", "names no known provider; write PROVIDER/MODEL in llm.routes.text"),
    ],
)
def test_what_is_not_set_up_says_so_and_is_no_outage(name: str, said: str) -> None:
    ledger = Ledger()
    with pytest.raises(ProviderRefused, match=said):
        llm(name).metered(ledger).complete(ASK, max_tokens=9)
    assert ledger.ends == [("released", "refused", False)]


def test_a_candidate_that_was_not_asked_may_be_tried_by_the_next_call(first: tuple[FakeOpenAI, str]) -> None:
    clock, one = Clock(), Deployment("openai/a", api_base=first[0].api_base)
    health = Health(clock)
    asked = llm({"model": "openai/a", "api_base": first[0].api_base}, health=health)
    health.failed(one, "timeout", began=clock.now)
    clock.now += 1
    with pytest.raises(BudgetSpent):
        asked.metered(Ledger(0)).complete(ASK, max_tokens=9)
    assert next(health.candidates([one, Deployment("p/b")])) is one
