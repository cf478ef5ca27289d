"""The webhook: verified, accepted once, never a 5xx for what Telegram sends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingress.channels.base import MAX_BODY
from ingress.channels.telegram import mount
from ingress.webhooks import Application, Webhooks
from storage.session import DatabaseUnavailable
from tests.ingress.telegram.world import SECRET, World, world
from tests.support.fake_telegram import FakeTelegram

PATH = "/telegram/default/webhook"
HEADER = {"X-Telegram-Bot-Api-Secret-Token": SECRET}


class Client:
    """Posts to the channel's routes, in one event loop and without a socket."""

    def __init__(self, here: World) -> None:
        webhooks = Webhooks(lambda *_: None)
        webhooks.add(mount(here.inlet).webhooks)
        app = Application(webhooks)
        self._runner = asyncio.Runner()
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ragline.test")

    def post(self, path: str, **request: Any) -> httpx.Response:
        return self._runner.run(self._http.post(path, **request))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._http.aclose())
        self._runner.close()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("routes"), TELEGRAM_MODE="webhook") as found:
        yield found


@pytest.fixture(scope="module")
def client(here: World) -> Iterator[Client]:
    with Client(here) as found:
        yield found


def update(number: int, **fields: Any) -> dict[str, Any]:
    person = {"id": 42, "is_bot": False, "first_name": "Anna"}
    head = {"message_id": number, "date": 1700000000, "chat": {"id": 42, "type": "private"}, "from": person}
    return {"update_id": number, "message": {**head, "text": "hello", **fields}}


def stored(here: World) -> tuple[int, int]:
    return len(here.messages()), len(here.quarantine())


def test_an_update_is_accepted_once(here: World, client: Client) -> None:
    before = stored(here)
    for _ in range(3):
        response = client.post(PATH, json=update(101), headers=HEADER)
        assert (response.status_code, response.content) == (200, b"")
    assert stored(here) == (before[0] + 1, before[1])
    assert here.messages()[-1].external_id == "101"
    assert {channel for _, channel, _ in here.hints} == {"telegram"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"X-Telegram-Bot-Api-Secret-Token": "wrong"}, 403), ({"X-Telegram-Bot-Api-Secret-Token": ""}, 403)],
)
def test_without_the_secret_nothing_is_stored(
    here: World, client: Client, headers: dict[str, str], status: int
) -> None:
    before = stored(here)
    assert client.post(PATH, json=update(102), headers=headers).status_code == status
    assert client.post(PATH, content=b"{", headers=headers).status_code == status
    assert stored(here) == before


def test_an_unknown_account_is_404(client: Client) -> None:
    assert client.post("/telegram/other/webhook", json=update(103), headers=HEADER).status_code == 404


@pytest.mark.parametrize("headers", [{}, HEADER, {"X-Telegram-Bot-Api-Secret-Token": ""}])
def test_an_account_without_a_secret_refuses_everything(tmp_path: Path, headers: dict[str, str]) -> None:
    with world(tmp_path, TELEGRAM_WEBHOOK_SECRET="") as bare, Client(bare) as client:
        assert client.post(PATH, json=update(104), headers=headers).status_code == 403
        assert stored(bare) == (0, 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[1]",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"update_id": ' + b"9" * 5000 + b"}",
        b'{"update_id": 1e400, "message": {}}',
        b'{"update_id": 5, "message": {"chat": {"id": 123456789012345678901234567890}}}',
        json.dumps(update(105, text={"a": 1})).encode(),
    ],
)
def test_an_authentic_body_nobody_can_read_is_kept(here: World, client: Client, body: bytes) -> None:
    before = stored(here)
    assert client.post(PATH, content=body, headers=HEADER).status_code == 200
    kept = {bytes(item.body): item for item in here.quarantine()}
    assert body in kept
    assert kept[body].error
    assert stored(here)[0] == before[0]
    assert client.post(PATH, content=body, headers=HEADER).status_code == 200
    assert stored(here)[1] == before[1] + 1, "the same body is kept once"


def test_an_oversized_authentic_body_is_cut_and_kept(here: World, client: Client) -> None:
    body = json.dumps(update(106, text="x" * (2 * MAX_BODY))).encode()
    assert client.post(PATH, content=body, headers=HEADER).status_code == 200
    assert body[:MAX_BODY] in {bytes(item.body) for item in here.quarantine()}
    assert (
        client.post(PATH, content=body, headers={**HEADER, "X-Telegram-Bot-Api-Secret-Token": "no"}).status_code == 403
    )


def test_texts_no_database_takes_are_cleaned(here: World, client: Client) -> None:
    body = b'{"update_id":107,"message":{"message_id":107,"date":1,"chat":{"id":42},"text":"a\\u0000b\\ud800c"}}'
    assert client.post(PATH, content=body, headers=HEADER).status_code == 200
    assert "a\ufffdb\ufffdc" in [message.text for message in here.messages()]


def test_another_update_under_a_known_number_is_kept(here: World, client: Client) -> None:
    """`update_id` may start anew after a week of silence: what comes then must not be lost."""
    first, second = update(108), update(108, message_id=9108, text="another")
    assert client.post(PATH, json=first, headers=HEADER).status_code == 200
    before = stored(here)
    assert client.post(PATH, json=second, headers=HEADER).status_code == 200
    assert stored(here) == (before[0], before[1] + 1)
    assert json.loads(here.quarantine()[-1].body) == second


def test_a_database_that_is_down_is_told(here: World, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def down(_: object) -> None:
        raise DatabaseUnavailable("down")

    monkeypatch.setattr(here.inlet.acceptor, "accept", down)
    assert client.post(PATH, json=update(109), headers=HEADER).status_code == 503


def test_the_username_is_asked_once_and_only_for_groups(tmp_path: Path) -> None:
    group = {"id": -5, "type": "group"}
    mention = {"text": "@test_bot hi", "entities": [{"type": "mention", "offset": 0, "length": 9}], "chat": group}
    with (
        FakeTelegram() as telegram,
        world(tmp_path, TELEGRAM_MODE="webhook", TELEGRAM_API_BASE=telegram.url) as asked,
        Client(asked) as client,
    ):
        client.post(PATH, json=update(1), headers=HEADER)
        assert telegram.calls == []
        for number in (2, 3):
            client.post(PATH, json=update(number, **mention), headers=HEADER)
        client.post(PATH, json=update(4, chat=group, text="chatter"), headers=HEADER)
        assert [call.method for call in telegram.calls] == ["getMe"]
        assert [(message.kind, message.text) for message in asked.messages()] == [
            ("text", "hello"),
            ("text", "hi"),
            ("text", "hi"),
            ("event", "chatter"),
        ]


BROKEN = st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just({}) | st.just([])
MEMBERS = st.sampled_from(["message_id", "date", "chat", "from", "text", "photo", "entities", "voice", "location"])
ODD_MESSAGES = st.dictionaries(MEMBERS, VALUES, min_size=1, max_size=4).map(
    lambda changes: json.dumps({"update_id": 55, "message": {**update(55)["message"], **changes}}).encode()
)
ODD_UPDATES = st.dictionaries(
    st.sampled_from(["update_id", "message", "edited_message", "callback_query", "my_chat_member", "x"]),
    VALUES | st.lists(VALUES, max_size=2) | st.dictionaries(st.text(max_size=5), VALUES, max_size=3),
    max_size=3,
).map(lambda body: json.dumps(body).encode())


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(BROKEN | ODD_UPDATES | ODD_MESSAGES)
@example(b"\x00")
def test_no_authentic_body_gets_a_5xx(here: World, client: Client, body: bytes) -> None:
    response = client.post(PATH, content=body, headers=HEADER)
    assert response.status_code == 200
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("update_id"), int):
        assert body in {bytes(item.body) for item in here.quarantine()}
