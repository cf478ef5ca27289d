"""Every kind of file on every channel through real processes, and through every provider's own wire form.

Real files go in, fakes on real sockets hand them out, and the request that left for a model is matched with the answer
that arrived. ``MEDIA_TABLE=docs/figures/media.md`` writes the table down.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
from sqlmodel import col, select

from pipeline.envelope import MediaRef
from pipeline.handlers.base import Tools
from pipeline.health import Health
from pipeline.llm import LiteLlm, make_language_model
from pipeline.steps.understand import Asked, understand
from ragline.settings import Settings
from storage.models import Message, RedFlag, StepRun
from tests.acceptance.stack import Stack, running
from tests.acceptance.topics import write_base
from tests.support import documents, media
from tests.support.fake_anthropic import FakeAnthropic
from tests.support.fake_azure import FakeAzure
from tests.support.fake_gemini import FakeGemini
from tests.support.fake_ollama import FakeOllama
from tests.support.fake_openai import Ask, FakeOpenAI, OpenAIError, Served, Upload
from tests.support.fake_telegram import FakeTelegram
from tests.support.fake_umnico import FakeUmnico
from tests.support.server import JSON

SECRET = secrets.token_urlsafe(24)
pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
WORDS = "KETTLE K-200"
#: What was understood names the request it came from.
_MARK = re.compile(r"(?:seen|heard)-[0-9a-f]{8}")
_ROWS: list[tuple[str, str, str, str, str]] = []


def mark(content: str | bytes) -> str:
    return hashlib.sha256(content if isinstance(content, bytes) else content.encode()).hexdigest()[:8]


def images(body: JSON) -> list[str]:
    """The pictures of a chat request, as data addresses."""
    parts = [
        part for message in body["messages"] if isinstance(message["content"], list) for part in message["content"]
    ]
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


#: Signs that end a sentence, and others in their place.
ENDS = {". ": "\u2024 ", "?": "\uff1f", "!": "\uff01", "\n": "\u23ce"}


def answer(ask: Ask) -> str:
    """A model that tells which pictures it saw, and repeats what it is asked."""
    if shown := images(ask.body):
        return f"The words {WORDS} (seen-{mark(''.join(shown))})"
    return repeats(ask)


def repeats(ask: Ask) -> str:
    """What the customer wrote and a passage, in one sentence: what only echoes its question would not be sent. It
    leaves telephone numbers out, since no passage has any."""
    customer = re.findall(r"<customer[^>]*>\n(.*?)\n</customer", ask.text, re.DOTALL)
    if not customer:
        return "Where is my order?"  # a recording, for models that hear in a chat
    repeated = re.sub(r"\+\d+|\[PHONE_\d+\]", "a number", f"{customer[-1]} ")
    for end, sign in ENDS.items():
        repeated = repeated.replace(end, sign)
    return f"You wrote {repeated}and {ask.passage} [1]"


def read(text: str) -> str:
    """An answer with what the model repeats as it was."""
    for end, sign in ENDS.items():
        text = text.replace(sign, end)
    return text


class Provider(FakeOpenAI):
    """Its transcripts tell which recording was heard."""

    def _make_transcript(self, body: JSON) -> Any:
        file = body.get("file")
        if not isinstance(file, Upload) or file.content[:4] != b"OggS":
            raise OpenAIError(400, "no recording")
        self.enqueue_transcript(f"Where is my order, heard-{mark(file.content)}")
        return super()._make_transcript(body)


@dataclass(frozen=True)
class Case:
    """``make`` makes the files, different ones for each customer. ``says``: what the answer matches; ``pictures`` and
    ``recordings``: how many leave for a model, by request."""

    kind: str
    make: Callable[[str], Sequence[bytes]]
    says: str
    pictures: tuple[int, ...] = ()
    recordings: int = 0
    words: str = ""


CASES = {
    "photo": Case("photo", lambda tag: [media.picture(f"K-200 {tag}")], WORDS, (1,), words="Is it sold?"),
    "album": Case(
        "photo", lambda tag: [media.picture(f"{n} {tag}") for n in "AB"], WORDS, (2,), words="Which one do you sell?"
    ),
    "voice": Case("voice", lambda tag: [media.recorded(f"Where is {tag}")], "Where is my order", recordings=1),
    "audio": Case("audio", lambda tag: [media.recorded(tag, "mp3", "libmp3lame")], "Where is my order", recordings=1),
    "video": Case("video", lambda tag: [media.video(f"It is {tag}", tag)], WORDS, (4,), 1),
    "silent video": Case("video", lambda tag: [media.video(None, tag)], WORDS, (4,)),
    "document": Case("document", lambda tag: [documents.docx([["Order 77 is late."]])], "Order 77 is late."),
    "pdf": Case("document", lambda tag: [documents.pdf([[("Order 78 is late.", 12)]])], "Order 78 is late."),
    "broken photo": Case("photo", lambda tag: [media.picture()[:3000]], "повреждён|damaged"),
    "too large": Case("document", lambda tag: [b"x" * (2**20 + 1)], "слишком большой|too large"),
    "archive": Case("document", lambda tag: [b"PK\x05\x06" + bytes(18)], "такого вида|of this kind"),
    "video note": Case("video_note", lambda tag: [media.video(f"There, {tag}", tag)], WORDS, (4,), 1),
    "location": Case("location", lambda tag: [], "Местоположение: 55.75, 37.61"),
    "contact": Case("contact", lambda tag: [], "Контакт: Anna, a number"),
    "sticker": Case("sticker", lambda tag: [], "Рад помочь"),
}
NAMES = {"photo": "a.jpg", "voice": "a.ogg", "audio": "a.mp3", "video": "a.mp4", "document": "letter"}
_ALL = [("telegram", name) for name in CASES]
_ALL += [("umnico", name) for name in ("photo", "album", "voice", "audio", "video", "document", "broken photo")]
_ALL += [("api", name) for name in ("photo", "voice", "video", "pdf", "too large")]
_ALL += [("widget", name) for name in ("photo", "album", "voice", "video", "pdf", "broken photo")]


@dataclass
class World:
    stack: Stack
    provider: FakeOpenAI
    heard: dict[tuple[str, str], str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Everything is sent at once, each case by a customer of its own, and then waited for."""
    folder: Path = tmp_path_factory.mktemp("media")
    with Provider(answer=answer) as provider, channels(folder, **keys("openai", provider)) as sites:
        heard = sites.send(_ALL)
        yield World(sites.stack, provider, heard)


@dataclass
class Channels:
    """A running stack with all channels on it."""

    stack: Stack
    telegram: FakeTelegram
    umnico: FakeUmnico

    def send(self, cases: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """What each customer is answered."""
        posted: dict[str, str] = {}
        visitors: dict[str, httpx.Client] = {}
        for number, (channel, name) in enumerate(cases, 1):
            case = CASES[name]
            content = case.make(f"{channel} {number}")
            if channel == "telegram":
                to_telegram(self.telegram, number, case, content)
            elif channel == "umnico":
                files = [{"type": case.kind, "content": one, "text": NAMES[case.kind]} for one in content]
                self.umnico.customer_writes(number, case.words, attachments=files)
            elif channel == "widget":
                visitors[name] = to_widget(self.stack, case, content)
            else:
                posted[name] = to_api(self.stack, name, case, content)
        heard = {}
        for number, (channel, name) in enumerate(cases, 1):
            if channel == "telegram":
                heard[channel, name] = self.telegram.wait_sent(1, 60, chat_id=number)[0].text
            elif channel == "umnico":
                heard[channel, name] = self.umnico.wait_sent(1, 60, lead=number)[0].text
            elif channel == "widget":
                heard[channel, name] = from_widget(visitors[name])
            else:
                heard[channel, name] = from_api(self.stack, posted[name])
        self.stack.wait_quiet()
        return {case: read(text) for case, text in heard.items()}


@contextmanager
def channels(folder: Path, **environment: str) -> Iterator[Channels]:
    with (
        FakeTelegram() as telegram,
        FakeUmnico(attachment_form="url") as umnico,
        running(
            folder / "data",
            TELEGRAM_BOT_TOKEN=telegram.token,
            TELEGRAM_API_BASE=telegram.url,
            UMNICO_API_TOKEN=umnico.token,
            UMNICO_API_BASE=umnico.api_url,
            UMNICO_WEBHOOK_SECRET=SECRET,
            UMNICO_USER_ID="502",
            RAGLINE_QUIET_WINDOW="0.5",
            RAGLINE__ANSWER__MODES="[grounded, smalltalk]",
            RAGLINE__ANSWER__GROUNDED_THRESHOLD="0",
            RAGLINE__KNOWLEDGE__DEMO="off",
            RAGLINE__MEDIA__PRIVATE_ADDRESSES="on",
            RAGLINE__MEDIA__LARGEST="1",
            **environment,
        ) as stack,
    ):
        stack.ragline("kb", "import", str(write_base(folder / "topics.jsonl")))
        umnico.add_hook(f"{stack.url}/umnico/default/{SECRET}/webhook")
        yield Channels(stack, telegram, umnico)


def keys(name: str, server: FakeOpenAI) -> dict[str, str]:
    """The environment of a provider."""
    prefix = {"gateway": "OPENAI"}.get(name, name.upper())
    version = {"AZURE_API_VERSION": "2024-10-21"} if name == "azure" else {}
    return {f"{prefix}_API_KEY": server.api_key, f"{prefix}_API_BASE": server.api_base, **version}


def to_telegram(telegram: FakeTelegram, chat: int, case: Case, content: Sequence[bytes]) -> None:
    caption = {"caption": case.words} if case.words else {}
    if len(content) > 1:
        telegram.user_sends_album(chat, content, caption=case.words)
    elif content:
        telegram.user_sends(chat, case.kind, content[0], **caption)
    else:
        members = {
            "location": {"latitude": 55.75, "longitude": 37.61},
            "contact": {"first_name": "Anna", "phone_number": "+79990000000"},
            "sticker": {"emoji": "\N{THUMBS UP SIGN}"},
        }
        telegram.user_sends(chat, case.kind, members=members[case.kind])


def to_api(stack: Stack, name: str, case: Case, content: Sequence[bytes]) -> str:
    files = [{"type": case.kind, "data_base64": base64.b64encode(one).decode()} for one in content]
    body = {"conversation": name, "media": files} | ({"text": case.words} if case.words else {})
    with stack.api() as api:
        return str(api.post("/api/v1/messages", json=body).json()["message_id"])


def from_api(stack: Stack, message_id: str) -> str:
    with stack.api() as api:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            found = api.get(f"/api/v1/messages/{message_id}").json()
            if found["status"] == "answered":
                return str(found["answer"]["text"])
            assert found["status"] != "failed", found
            time.sleep(0.2)
    raise AssertionError(f"no answer to {message_id}")


def to_widget(stack: Stack, case: Case, content: Sequence[bytes]) -> httpx.Client:
    """The visitor, as a page would be."""
    page = httpx.Client(base_url=f"{stack.url}/widget/default/", timeout=30, trust_env=False)
    page.headers["Authorization"] = f"Bearer {page.post('session', json={'locale': 'ru'}).json()['token']}"
    files = [
        {"file": page.post("files", content=one).json()["file"], "type": case.kind, "name": NAMES[case.kind]}
        for one in content
    ]
    assert page.post("messages", json={"id": "m1", "text": case.words, "media": files}).status_code == 202
    return page


def from_widget(page: httpx.Client) -> str:
    with closing(page):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for line in page.get("messages?after=1").json()["messages"]:
                return str(line["text"])
            time.sleep(0.2)
    raise AssertionError("no answer in the widget")


def left(world: World, text: str) -> list[Served]:
    """The requests that what was understood came from."""
    marks = set(_MARK.findall(text))
    return [
        one
        for one in world.provider.requests
        if (one.route == "transcriptions" and f"heard-{mark(one.body['file'].content)}" in marks)
        or (one.route == "chat" and images(one.body) and f"seen-{mark(''.join(images(one.body)))}" in marks)
    ]


@pytest.mark.drill
@pytest.mark.parametrize(("channel", "name"), _ALL)
def test_each_kind_of_message_on_each_channel(world: World, channel: str, name: str) -> None:
    case, heard = CASES[name], world.heard[channel, name]
    assert re.search(case.says, heard)
    assert case.words in heard
    requests = left(world, heard)
    assert [len(images(one.body)) for one in requests if one.route == "chat"] == list(case.pictures)
    assert sum(one.route == "transcriptions" for one in requests) == case.recordings
    _ROWS.append((name, channel, "openai", told(requests), shown(heard)))


@pytest.mark.drill
def test_each_file_is_paid_once_and_the_ledger_knows_it(world: World) -> None:
    """Every request belongs to an answer; what they cost is on the messages and in the ledger."""
    understood = [one for one in world.provider.requests if one.route == "transcriptions" or images(one.body)]
    matched = [one for heard in world.heard.values() for one in left(world, heard)]
    assert {id(one) for one in understood} == {id(one) for one in matched}
    expected = [CASES[name] for _, name in _ALL]
    assert len(understood) == sum(len(case.pictures) + case.recordings for case in expected)
    tokens = sum(one.usage.prompt_tokens for one in understood)
    with world.stack.sql() as session:
        runs = session.exec(select(StepRun).where(StepRun.step == "understand")).all()
        stored = session.exec(select(Message.understood).where(col(Message.understood).is_not(None))).all()
        flags = session.exec(select(RedFlag.cause).where(RedFlag.cause == "unreadable")).all()
    assert (sum(run.tokens_in for run in runs), {run.outcome for run in runs}) == (tokens, {"ok"})
    assert sum(part.get("tokens_in", 0) for parts in stored or () for part in parts or ()) == tokens
    assert len(flags) == 6  # of the files that cannot be read


@pytest.mark.drill
def test_no_word_of_a_customer_and_no_token_is_in_the_log(world: World) -> None:
    output = world.stack.output()
    assert "media_not_understood" in output
    for secret in (WORDS, "Where is my order", "Order 77", world.provider.api_key, "/file/bot"):
        assert secret not in output


# Providers


def _servers() -> dict[str, tuple[type[FakeOpenAI], str, str | None]]:
    """A provider's fake, its model that sees, and its model that hears."""
    return {
        "openai": (FakeOpenAI, "openai/gpt-4.1-mini", "openai/gpt-4o-mini-transcribe"),
        "azure": (FakeAzure, "azure/gpt-4.1-mini", "azure/whisper"),
        "gemini": (FakeGemini, "gemini/gemini-2.5-flash", "gemini/gemini-2.5-flash"),
        "anthropic": (FakeAnthropic, "anthropic/claude-haiku-4-5", None),
        "ollama": (FakeOllama, "ollama_chat/gemma3:4b", None),
        "gateway": (FakeOpenAI, "openai/qwen-vl", "openai/whisper-large-v3"),
    }


_SAID = {"voice": "Where is my order?"}
_FILES = {
    "album": [media.picture("KETTLE"), media.picture("K-200")],
    "voice": [media.recorded("Where is my order?")],
    "silent video": [media.video(None)],
}


@pytest.mark.parametrize("name", list(_servers()))
def test_each_kind_of_file_through_each_provider(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, sees, hears = _servers()[name]
    with fake() as server:
        for variable, value in keys(name, server).items():
            monkeypatch.setenv(variable, value)
        sees_and_hears(server, 1)
        routes = {"text": [sees], "image": [sees]} | ({"voice": [hears]} if hears else {"voice": []})
        model = make_language_model(Settings.model_validate({"llm": {"routes": routes}}), Health())
        assert model is not None
        for kind, contents in _FILES.items():
            before = len(server.requests)
            said = _understood(model, {"album": "photo"}.get(kind, kind.rpartition(" ")[2]), contents)
            requests = server.requests[before:]
            assert said == ("no_model" if kind == "voice" and not hears else _SAID.get(kind, f"A box. {WORDS}"))
            assert len(requests) == (said != "no_model")
            _ROWS.append((kind, "-", name, told(requests), shown(said)))


def sees_and_hears(server: FakeOpenAI, recordings: int) -> None:
    """All pictures show the same, and all recordings say the same."""
    server.enqueue(f"A box. {WORDS}", match="a customer sent", times=None)
    server.enqueue(f"A box. {WORDS}", match="customer sent th", times=None)
    for _ in range(recordings):
        server.enqueue_transcript("Where is my order?")
    if isinstance(server, FakeGemini):
        server.heard = "Where is my order?"


@pytest.mark.drill
@pytest.mark.parametrize("name", ["azure", "gemini", "anthropic", "ollama", "gateway"])
def test_files_of_each_channel_through_each_provider(name: str, tmp_path: Path) -> None:
    """The whole way: from a channel to a provider and back to the customer."""
    fake, sees, hears = _servers()[name]
    kinds = ["photo", "voice", "silent video", *(["video"] if hears else [])]
    cases = [(channel, kind) for channel in ("telegram", "umnico", "api", "widget") for kind in kinds]
    with fake(answer=repeats) as server:
        sees_and_hears(server, len(cases))
        voice = f"['{hears}']" if hears else "[]"
        routes = {"TEXT": f"['{sees}']", "IMAGE": f"['{sees}']", "VIDEO": f"['{sees}']", "VOICE": voice}
        settings = {f"RAGLINE__LLM__ROUTES__{modality}": route for modality, route in routes.items()}
        with channels(tmp_path, **keys(name, server), **settings) as sites:
            heard = sites.send(cases)
    for (channel, kind), text in heard.items():
        deaf = kind == "voice" and not hears
        said = "не могу|cannot" if deaf else "Where is my order" if kind == "voice" else WORDS
        assert re.search(said, text), (channel, kind, text)
        _ROWS.append((kind, channel, name, "none" if deaf else f"{hears if kind == 'voice' else sees}", shown(text)))


def _understood(model: LiteLlm, kind: Any, contents: list[bytes]) -> str:
    """What a message with these files says, or why nothing."""
    tools = Tools(Settings().media, model, lambda audio, language: model.transcribe(audio, language=language), "en")
    refs = [MediaRef(type=kind, ref=str(number)) for number in range(len(contents))]
    asked = Asked("m", kind, refs)

    def fetch(message: Asked, position: int, into: IO[bytes]) -> None:
        into.write(contents[position])

    understand([asked], tools=tools, fetch=fetch, keep=lambda message: None)
    part = asked.parts[0]
    assert part is not None
    return part.problem or " ".join(filter(None, (part.heard, part.seen, part.read)))


# The table


def told(requests: list[Served]) -> str:
    """The requests in a few words."""
    found = []
    for one in requests:
        wire = str(one.body)
        pictures = wire.count("image/jpeg")
        if one.route == "transcriptions":
            sound = one.body["file"]
            found.append(f"{one.model}: {len(sound.content) // 1024 + 1} kB of {sound.content_type}")
        elif "audio/ogg" in wire:
            found.append(f"{one.model}: audio/ogg in chat")
        else:
            found.append(f"{one.model}: {pictures or 'an Ollama list of'} JPEG")
    return "; ".join(found) or "none"


def shown(text: str) -> str:
    return " ".join(_MARK.sub("…", text).split())[:110]


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Written where MEDIA_TABLE names a file."""
    yield
    if path := os.environ.get("MEDIA_TABLE"):
        head = "| modality | channel | provider | request that left | answer that arrived |\n|---|---|---|---|---|\n"
        rows = "".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in _ROWS)
        Path(path).write_text(head + rows, encoding="utf-8")
