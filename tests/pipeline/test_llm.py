"""LiteLLM over a real socket: costs, fall-over, and errors that say what to do."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from pipeline.errors import ProviderRefused, ProviderUnavailable
from pipeline.health import Health
from pipeline.llm import UNMETERED, LiteLlm, make_language_model
from pipeline.routes import text_route
from pipeline.spending import Meter
from ragline.settings import Settings
from tests.support import faults
from tests.support.fake_openai import FakeOpenAI

ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]
KEY = "sk-test-0000"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    with FakeOpenAI(KEY) as server:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_API_BASE", server.api_base)
        yield server


def llm(*models: str, timeout: float = 5, meter: Meter = UNMETERED, **settings: Any) -> LiteLlm:
    text = list(models) or ["openai/gpt-4.1-mini"]
    own = Settings.model_validate({"llm": {"routes": {"text": text}, "timeout": timeout, **settings}})
    model = make_language_model(own, Health())
    assert model
    return model.metered(meter)


def test_text_tokens_and_cost_are_those_of_the_provider(server: FakeOpenAI) -> None:
    server.enqueue("Good day.")
    completion = llm().complete(ASK, max_tokens=50)
    assert completion.text == "Good day."
    total = server.totals()
    assert (completion.usage.tokens_in, completion.usage.tokens_out) == (total.prompt_tokens, total.completion_tokens)
    assert completion.usage.cost is not None
    assert completion.usage.cost > 0


def test_a_model_without_a_price_is_unpriced_not_free(server: FakeOpenAI) -> None:
    server.enqueue("Yes.")
    assert llm("openai/in-house-7b").complete(ASK, max_tokens=50).usage.cost is None


def test_the_next_model_is_asked_after_an_outage_and_not_after_a_refusal(server: FakeOpenAI) -> None:
    server.faults.add(faults.status(500), "chat")
    server.enqueue("From the second.")
    completion = llm("openai/first", "openai/second").complete(ASK, max_tokens=50)
    assert completion.usage.model == "openai/second"

    server.faults.add(faults.status(401), "chat")
    before = len(server.requests)
    with pytest.raises(ProviderRefused, match="OPENAI_API_KEY"):
        llm("openai/first", "openai/second").complete(ASK, max_tokens=50)
    assert len(server.requests) - before <= 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.status(500), ProviderUnavailable),
        (faults.html(502), ProviderUnavailable),
        (faults.too_many(3), ProviderUnavailable),
        (faults.hang(3), ProviderUnavailable),
        (faults.reset(), ProviderUnavailable),
        (faults.broken("choices"), ProviderUnavailable),
        (faults.status(400), ProviderRefused),
        (faults.status(403), ProviderRefused),
        (faults.status(404), ProviderRefused),
    ],
    ids=lambda value: getattr(value, "kind", None) and f"{value.kind}-{value.status}",
)
def test_each_failure_says_whether_to_try_again(
    server: FakeOpenAI, fault: faults.Fault, error: type[Exception]
) -> None:
    server.faults.add(fault, "chat")
    with pytest.raises(error) as raised:
        llm(timeout=1).complete(ASK, max_tokens=50)
    assert KEY not in str(raised.value)
    if fault.status == 429:
        assert raised.value.retry_after == 3  # type: ignore[attr-defined]


def test_a_server_that_drips_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            with suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")
                    for _ in range(20):
                        connection.sendall(b" ")
                        time.sleep(0.3)

        dripping = threading.Thread(target=drip)
        dripping.start()
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_API_BASE", f"http://127.0.0.1:{listening.getsockname()[1]}/v1")
        began = time.monotonic()
        with pytest.raises(ProviderUnavailable):
            llm(timeout=1).complete(ASK, max_tokens=50)
        assert time.monotonic() - began < 4
        dripping.join()


def test_without_a_key_there_is_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_API_BASE", "GEMINI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert make_language_model(Settings()) is None
    monkeypatch.setenv("OPENAI_API_BASE", "http://127.0.0.1:1/v1")
    assert text_route(Settings()) == ["openai/gpt-4.1-mini"]
