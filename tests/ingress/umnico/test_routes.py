"""The webhook: verified, accepted once, never a 5xx for what Umnico sends."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingress.channels.base import MAX_BODY
from storage.session import DatabaseUnavailable
from tests.ingress.umnico.world import SECRET, World, accepted, incoming, load, outgoing, world


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("routes")) as found:
        yield found


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as found:
        yield found


def test_a_message_is_accepted_once(here: World) -> None:
    before = here.stored()
    for _ in range(3):
        accepted(here, incoming("once"))
    assert here.stored() == (before[0] + 1, before[1])
    assert here.messages()[-1].external_id == "once"
    assert {(channel, account) for _, channel, account in here.hints} == {("umnico", "default")}


@pytest.mark.parametrize("secret", ["wrong", SECRET + "x", SECRET[:-1], "%00", "ü", "."])
def test_without_the_secret_nothing_is_stored(here: World, secret: str) -> None:
    before = here.stored()
    for request in ({"json": incoming("no")}, {"content": b"{"}, {"content": b"x" * 2 * MAX_BODY}):
        assert here.post(f"/umnico/default/{secret}/webhook", **request).status_code in (403, 404)
    assert here.post(f"/umnico/default/{'x' * 32}/webhook", json=incoming("no")).status_code == 403
    assert here.stored() == before


@pytest.mark.parametrize(
    "path", [f"/umnico/other/{SECRET}/webhook", "/umnico/default/webhook", "/umnico/default//webhook"]
)
def test_what_there_is_not_is_404(here: World, path: str) -> None:
    before = here.stored()
    assert here.post(path, json=incoming("no")).status_code == 404
    assert here.stored() == before


@pytest.mark.parametrize("secret", [SECRET, "None", "null"])
def test_an_account_without_a_secret_refuses_everything(tmp_path: Path, secret: str) -> None:
    with world(tmp_path, UMNICO_WEBHOOK_SECRET="") as bare:
        assert bare.post(f"/umnico/default/{secret}/webhook", json=incoming("no")).status_code == 403
        assert bare.stored() == (0, 0)


def test_the_secret_is_not_logged(
    fresh: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel("WARNING")  # this test's own client
    accepted(fresh, incoming("1"))
    accepted(fresh, load("unknown_event"))
    fresh.post(content=b"{")
    fresh.post(f"/umnico/default/{SECRET[:-1]}/webhook", json={})
    written = capsys.readouterr().out + caplog.text
    assert "umnico_webhook_refused" in written
    assert SECRET[:-1] not in written


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[1]",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"type": "message.incoming", "leadId": ' + b"9" * 5000 + b"}",
        b'{"type": "message.incoming"}',
        json.dumps(incoming("") | {"leadId": None}).encode(),
    ],
)
def test_an_authentic_body_nobody_can_read_is_kept(here: World, body: bytes) -> None:
    before = here.stored()
    for _ in range(2):
        assert here.post(content=body).status_code == 200
    kept = {bytes(item.body): item for item in here.quarantine()}
    assert kept[body].error
    assert here.stored() == (before[0], before[1] + 1), "the same body is kept once"


def test_an_oversized_authentic_body_is_cut_and_kept(here: World) -> None:
    body = json.dumps(incoming("huge", "x" * 2 * MAX_BODY)).encode()
    assert here.post(content=body).status_code == 200
    assert body[:MAX_BODY] in {bytes(item.body) for item in here.quarantine()}


@pytest.mark.parametrize("name", ["lead_created", "lead_changed_status", "customer_changed", "unknown_event"])
def test_events_that_are_no_messages_are_heard_and_forgotten(here: World, name: str) -> None:
    before = here.stored()
    accepted(here, load(name))
    assert here.stored() == before


def test_texts_no_database_takes_are_cleaned(here: World) -> None:
    event = load("nul_and_lone_surrogate")
    event["message"]["messageId"] = "cle\0an"
    accepted(here, event)
    assert ("cle\ufffdan", "a\ufffdb\ufffdc") in {(item.external_id, item.text) for item in here.messages()}


def test_another_message_under_a_known_id_is_kept(here: World) -> None:
    accepted(here, incoming("taken", "first"))
    before = here.stored()
    second = incoming("taken", "second", sa=6)
    accepted(here, second)
    assert here.stored() == (before[0], before[1] + 1)
    assert json.loads(here.quarantine()[-1].body) == second


def test_a_database_that_is_down_is_told(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def down(_: object) -> None:
        raise DatabaseUnavailable("down")

    monkeypatch.setattr(here.inlet.acceptor, "accept", down)
    response = here.post(json=incoming("later"))
    assert (response.status_code, "retry-after" in response.headers) == (503, True)


def test_connected_accounts_with_the_same_source_do_not_mix(fresh: World) -> None:
    accepted(fresh, incoming("1", sa=5, lead=100))
    accepted(fresh, incoming("2", sa=6, lead=101))
    accepted(fresh, incoming("3", sa=5, lead=100))
    first, second, third = fresh.messages()
    assert first.conversation_id == third.conversation_id != second.conversation_id
    assert [fresh.conversation(item).address["lead"] for item in (first, second)] == [100, 101]
    assert [fresh.conversation(item).address["sa"] for item in (first, second)] == [5, 6]


def test_a_new_lead_is_the_conversations_new_address(fresh: World) -> None:
    accepted(fresh, incoming("1", lead=100))
    accepted(fresh, incoming("2", lead=200))
    first, second = fresh.messages()
    assert first.conversation_id == second.conversation_id
    assert fresh.conversation(first).address["lead"] == 200
    accepted(fresh, outgoing("3", "by hand") | {"leadId": 300})
    conversation = fresh.conversation(first)
    assert conversation.address["lead"] == 300
    assert (conversation.sender_id, conversation.sender_name) == ("9", "Анна Петрова"), "a person is no customer"


def test_a_persons_message_is_noted_once(fresh: World) -> None:
    accepted(fresh, incoming("1"))
    for _ in range(3):
        accepted(fresh, outgoing("2", "I take it"))
    accepted(fresh, outgoing("3", "from the phone", user=None))
    assert [(item.kind, item.text, item.answerable) for item in fresh.messages()] == [
        ("text", "hello", True),
        ("outgoing", "I take it", False),
        ("outgoing", "from the phone", False),
    ]
    assert len({item.conversation_id for item in fresh.messages()}) == 1
    fresh.inlet.acceptor.close()
    assert len(fresh.hints) == 1, "nobody is woken for what a person wrote"


BROKEN = st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
VALUES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just({}) | st.just([])
)
MEMBERS = st.sampled_from(
    ["messageId", "datetime", "sa", "message", "sender", "source", "replyTo", "customId", "userId"]
)
TYPES = st.sampled_from(["message.incoming", "message.outgoing"])
ODD_MESSAGES = st.tuples(TYPES, st.dictionaries(MEMBERS, VALUES, min_size=1, max_size=4)).map(
    lambda drawn: json.dumps({**load("text"), "type": drawn[0], "message": load("text")["message"] | drawn[1]}).encode()
)
ODD_EVENTS = st.dictionaries(
    st.sampled_from(["type", "accountId", "leadId", "message", "lead", "x"]),
    TYPES | VALUES | st.lists(VALUES, max_size=2) | st.dictionaries(st.text(max_size=5), VALUES, max_size=3),
    max_size=4,
).map(lambda body: json.dumps(body).encode())


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(BROKEN | ODD_EVENTS | ODD_MESSAGES)
@example(b"\x00")
def test_no_authentic_body_gets_a_5xx(here: World, body: bytes) -> None:
    assert here.post(content=body).status_code == 200
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("type"), str):
        assert body in {bytes(item.body) for item in here.quarantine()}
