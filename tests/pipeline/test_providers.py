"""Each provider in its own wire form: text, streams, pictures, sound, and what its errors mean to the route."""

from __future__ import annotations

import base64
import io
import socket
import struct
import wave
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from pipeline.errors import ProviderRefused, ProviderUnavailable
from pipeline.health import Health
from pipeline.llm import Audio, Completion, LiteLlm, make_language_model
from ragline.settings import Settings
from tests.support import faults
from tests.support.fake_anthropic import FakeAnthropic
from tests.support.fake_azure import FakeAzure
from tests.support.fake_gemini import FakeGemini
from tests.support.fake_ollama import FakeOllama
from tests.support.fake_openai import FakeOpenAI

KEY, SECOND_KEY = "first-key-0000", "second-key-0000"
ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]


@dataclass
class Provider:
    """A provider's fake, the name of a model there, and the environment that leads to it."""

    server: FakeOpenAI
    model: str
    environment: dict[str, str]
    key_name: str | None

    @property
    def deployment(self) -> str:
        return self.model.partition("/")[2]


def _provider(name: str) -> Provider:
    if name == "azure":
        azure = FakeAzure(KEY).start()
        version = {"AZURE_API_VERSION": "2024-10-21"}
        return Provider(azure, "azure/gpt-4.1-mini", _environment("AZURE", azure) | version, "AZURE_API_KEY")
    if name == "gemini":
        gemini = FakeGemini(KEY).start()
        return Provider(gemini, "gemini/gemini-2.5-flash", _environment("GEMINI", gemini), "GEMINI_API_KEY")
    if name == "anthropic":
        claude = FakeAnthropic(KEY).start()
        return Provider(claude, "anthropic/claude-haiku-4-5", _environment("ANTHROPIC", claude), "ANTHROPIC_API_KEY")
    if name == "ollama":
        ollama = FakeOllama(KEY).start()
        return Provider(ollama, "ollama_chat/gemma3:4b", {"OLLAMA_API_BASE": ollama.api_base}, None)
    openai = FakeOpenAI(KEY).start()
    return Provider(openai, "openai/gpt-4.1-mini", _environment("OPENAI", openai), "OPENAI_API_KEY")


def _environment(prefix: str, server: FakeOpenAI) -> dict[str, str]:
    return {f"{prefix}_API_KEY": KEY, f"{prefix}_API_BASE": server.api_base}


@pytest.fixture(params=["openai", "azure", "gemini", "anthropic", "ollama"])
def provider(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    found = _provider(request.param)
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    yield found
    found.server.stop()


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    """A gateway that speaks OpenAI's form, at its own address and with its own key."""
    with FakeOpenAI(SECOND_KEY, answer="From the second.") as server:
        monkeypatch.setenv("GATEWAY_TOKEN", SECOND_KEY)
        yield server


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Ports that anything connected to."""
    ports: set[int] = set()
    connect = socket.socket.connect

    def noted(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple):
            ports.add(address[1])
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", noted)
    return ports


def llm(*entries: Any, **routes: Any) -> LiteLlm:
    """A model of these entries; of the environment's keys where there are none."""
    table = ({"text": list(entries)} if entries else {}) | routes
    model = make_language_model(Settings.model_validate({"llm": {"routes": table, "timeout": 5}}), Health())
    assert model
    return model


def gateway(server: FakeOpenAI) -> dict[str, str]:
    return {"model": "openai/in-house", "api_base": server.api_base, "api_key_env": "GATEWAY_TOKEN"}


def tokens(found: Completion) -> tuple[int, int]:
    return found.usage.tokens_in, found.usage.tokens_out


def png(size: int = 8) -> bytes:
    """A grey square."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    rows = (b"\0" + b"\x80" * size) * size
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def silence(seconds: float = 1.0) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\0\0" * int(8000 * seconds))
    return out.getvalue()


def test_a_key_in_the_environment_is_all_it_takes(provider: Provider, reached: set[int]) -> None:
    provider.server.enqueue("Good day.")
    found = llm().complete(ASK, max_tokens=50)
    served = provider.server.requests[-1]
    assert (found.text, found.usage.model, served.model) == ("Good day.", provider.model, provider.deployment)
    assert (found.usage.tokens_in, found.usage.tokens_out) == (
        served.usage.prompt_tokens,
        served.usage.completion_tokens,
    )
    assert found.usage.cost is not None
    assert (found.usage.cost > 0) == (provider.key_name is not None), "only a model of one's own costs nothing"
    assert reached == {provider.server.port}, "nothing goes past the address that is set"


def test_a_stream_is_passed_on_as_it_grows(provider: Provider) -> None:
    provider.server.enqueue("One two three four.")
    heard: list[str] = []
    found = llm().complete(ASK, max_tokens=50, on_text=heard.append)
    served = provider.server.requests[-1]
    assert found.text == heard[-1] == "One two three four."
    assert len(heard) > 2
    assert all(later.startswith(earlier) for earlier, later in pairwise(heard))
    assert (found.usage.tokens_in, found.usage.tokens_out) == (
        served.usage.prompt_tokens,
        served.usage.completion_tokens,
    )


def test_a_picture_arrives_byte_for_byte(provider: Provider) -> None:
    picture = base64.b64encode(png()).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}
    content = [{"type": "text", "text": "What is this?"}, image]
    found = llm().complete([{"role": "user", "content": content}], max_tokens=50, purpose="caption")
    assert picture in str(provider.server.requests[-1].body)
    assert found.usage.tokens_in >= 85


@pytest.mark.parametrize("provider", ["openai", "azure", "gemini", "anthropic"], indirect=True)
def test_a_wrong_key_is_told_and_nobody_else_is_asked(
    provider: Provider, second: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert provider.key_name
    monkeypatch.setenv(provider.key_name, "wrong-key-0000")
    with pytest.raises(ProviderRefused, match=provider.key_name) as raised:
        llm(provider.model, gateway(second)).complete(ASK, max_tokens=50)
    assert "wrong-key" not in str(raised.value)
    assert second.requests == []


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_is_final(provider: Provider, second: FakeOpenAI, status: int, streamed: bool) -> None:
    provider.server.faults.add(faults.status(status), "chat")
    heard: list[str] = []
    model = llm(provider.model, gateway(second))
    with pytest.raises(ProviderRefused, match=str(status)):
        model.complete(ASK, max_tokens=50, on_text=heard.append if streamed else None)
    assert (len(provider.server.calls), second.requests) == (1, [])


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    "fault",
    [faults.status(500), faults.status(529), faults.too_many(1), faults.reset(), faults.broken("html")],
    ids=["500", "529", "429", "reset", "html"],
)
def test_after_an_outage_the_next_is_asked(
    provider: Provider, second: FakeOpenAI, fault: faults.Fault, streamed: bool
) -> None:
    provider.server.faults.add(fault, "chat")
    heard: list[str] = []
    found = llm(provider.model, gateway(second)).complete(
        ASK, max_tokens=50, on_text=heard.append if streamed else None
    )
    assert (found.text, found.usage.model, found.usage.cost) == ("From the second.", "openai/in-house", None)
    assert len(provider.server.calls) == 1, "the client does not try again behind our back"
    assert "" not in heard


def test_the_time_a_provider_asks_for_is_kept(provider: Provider) -> None:
    provider.server.faults.add(faults.too_many(7), "chat")
    model = llm(provider.model)
    for _ in range(2):
        with pytest.raises(ProviderUnavailable) as raised:
            model.complete(ASK, max_tokens=50)
        assert raised.value.retry_after == pytest.approx(7, abs=0.5)
    assert len(provider.server.calls) == 1, "it is left alone for as long as it asked"


def test_a_stream_that_breaks_begins_anew_elsewhere(provider: Provider, second: FakeOpenAI) -> None:
    provider.server.enqueue("This will never come to its end.")
    provider.server.faults.add(faults.cut(5), "chat")
    heard: list[str] = []
    found = llm(provider.model, gateway(second)).complete(ASK, max_tokens=50, on_text=heard.append)
    assert (found.text, heard[-1]) == ("From the second.", "From the second.")
    assert "" in heard, "what was shown of the first is void"
    assert heard[0].startswith("This")
    assert len(provider.server.calls) == 1


def test_a_gateway_is_one_setting(second: FakeOpenAI) -> None:
    entry = gateway(second) | {"extra": {"extra_headers": {"OpenAI-Project": "folder-1"}, "organization": "org-1"}}
    found = llm(entry).complete(ASK, max_tokens=50)
    assert (found.text, found.usage.model) == ("From the second.", "openai/in-house")
    sent = second.headers[-1]
    assert (sent["openai-project"], sent["openai-organization"]) == ("folder-1", "org-1")


@pytest.mark.parametrize("name", ["openai", "azure", "gemini"])
def test_a_recording_is_written_down(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = _provider(name)
    for key, value in provider.environment.items():
        monkeypatch.setenv(key, value)
    try:
        provider.server.enqueue_transcript("Где мой заказ?")
        if isinstance(provider.server, FakeGemini):
            provider.server.heard = "Где мой заказ?"
        model = "azure/whisper" if name == "azure" else None
        found = llm(**({"voice": [model]} if model else {})).transcribe(
            Audio(silence(2), "voice.wav", "audio/wav", 2.0)
        )
        served = provider.server.requests[-1]
    finally:
        provider.server.stop()
    assert found.text == "Где мой заказ?"
    if name == "gemini":
        assert base64.b64encode(silence(2)).decode() in str(served.body)
    else:
        assert served.body["file"].content == silence(2)
    if name != "azure":  # which model its deployment is cannot be known
        assert found.usage.cost is not None
        assert found.usage.cost > 0
