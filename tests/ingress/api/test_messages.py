"""``/api/v1/messages`` as a caller sees it."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from decimal import Decimal

import httpx
import pytest
from sqlmodel import select

from ingress.app import create_app
from ragline.ids import new_id
from ragline.settings import load_settings
from storage.models import Message

PATH = "/api/v1/messages"
HELLO = {"conversation": "c1", "text": "Where is my order?"}


@pytest.fixture
def talk(make_settings, opened):
    """``talk(scenario, **environ)``: run ``scenario(client)`` against a running application."""

    def run(scenario, **environ):
        async def inside():
            async with opened(create_app(make_settings(**environ))) as client:
                return await scenario(client)

        return asyncio.run(inside())

    return run


def test_a_message_is_stored_before_it_is_accepted(talk, database):
    async def scenario(client):
        return await client.post(PATH, json={**HELLO, "id": "m1", "sender": {"id": "u1", "locale": "en"}})

    response = talk(scenario)
    assert response.status_code == 202
    with database.read() as session:
        (message,) = session.exec(select(Message)).all()
    assert response.json() == {"message_id": message.id, "status": "accepted"}
    assert (message.external_id, message.text, message.channel, message.account) == (
        "m1", "Where is my order?", "api", "default",
    )  # fmt: skip


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic dGVzdA=="}, {"Authorization": "Bearer "},
     {"Authorization": "Bearer ключ".encode()}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_the_key_nothing(talk, database, headers, method):
    async def scenario(client):
        client.headers.pop("Authorization")
        path = PATH if method == "POST" else f"{PATH}/{new_id()}"
        return await client.request(method, path, json=HELLO, headers=headers)

    response = talk(scenario)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    with database.read() as session:
        assert session.exec(select(Message)).all() == []


def test_without_an_account_every_key_is_wrong(talk):
    async def scenario(client):
        return await client.post(PATH, json=HELLO, headers={"Authorization": "Bearer "})

    response = talk(scenario, RAGLINE_API_KEY="")
    assert response.status_code == 401
    assert "RAGLINE_API_KEY" not in response.text


def test_each_key_is_an_account_that_sees_its_own_messages(database_url, redis_url, opened, tmp_path):
    config = tmp_path / "ragline.yaml"
    config.write_text("channels: {api: {shop: {key: key-shop}, bank: {key: key-bank}}}")
    settings = load_settings({"DATABASE_URL": database_url, "REDIS_URL": redis_url}, config)

    async def scenario():
        async with opened(create_app(settings)) as client:
            shop, bank = ({"Authorization": f"Bearer key-{name}"} for name in ("shop", "bank"))
            first = (await client.post(PATH, json={**HELLO, "id": "1"}, headers=shop)).json()
            second = (await client.post(PATH, json={**HELLO, "id": "1"}, headers=bank)).json()
            own = await client.get(f"{PATH}/{first['message_id']}", headers=shop)
            foreign = await client.get(f"{PATH}/{first['message_id']}", headers=bank)
            return first, second, own, foreign

    first, second, own, foreign = asyncio.run(scenario())
    assert first["message_id"] != second["message_id"]
    assert "duplicate" not in second
    assert (own.status_code, foreign.status_code) == (200, 404)


def test_the_same_id_is_the_same_message(talk):
    async def scenario(client):
        first = await client.post(PATH, json={**HELLO, "id": "1"})
        again = await client.post(PATH, json={**HELLO, "id": "1"})
        other_body = await client.post(PATH, json={**HELLO, "id": "1", "text": "Something else"})
        other_conversation = await client.post(PATH, json={**HELLO, "id": "1", "conversation": "c2"})
        return first, again, other_body, other_conversation

    first, again, other_body, other_conversation = talk(scenario)
    assert "duplicate" not in first.json()
    assert again.status_code == 202
    assert again.json() == {**first.json(), "duplicate": True}
    assert other_body.status_code == 409
    assert "another body" in other_body.json()["detail"]
    assert "duplicate" not in other_conversation.json()


def test_without_an_id_each_is_its_own_message(talk):
    async def scenario(client):
        return [(await client.post(PATH, json=HELLO)).json()["message_id"] for _ in range(2)]

    assert len(set(talk(scenario))) == 2


def test_the_idempotency_key_stands_for_a_missing_id(talk):
    async def scenario(client):
        key = {"Idempotency-Key": "k-1"}
        first = await client.post(PATH, json=HELLO, headers=key)
        again = await client.post(PATH, json=HELLO, headers=key)
        named = await client.post(PATH, json={**HELLO, "id": "k-1"})
        return first.json(), again.json(), named.json()

    first, again, named = talk(scenario)
    assert again == named == {**first, "duplicate": True}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": "hi"}, "conversation"),
        ({**HELLO, "text": " \n "}, "text"),
        ({**HELLO, "text": "тайна" * 5000}, "text"),
        ({**HELLO, "text": {"secret": "тайна"}}, "text"),
        ({**HELLO, "id": "x" * 201}, "id"),
        ({**HELLO, "sender": {"id": "u", "тайна": 1}}, "sender.(unnamed)"),
        ({**HELLO, "attachments": ["тайна"]}, "attachments"),
        (["тайна"], "body"),
        ("тайна", "body"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_named_and_nothing_is_echoed(talk, body, field):
    async def scenario(client):
        return await client.post(PATH, json=body)

    response = talk(scenario)
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert response.json()["detail"].startswith(field)
    assert "тайна" not in response.text


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"{", 422), (b"", 422), (b"\xff\xfe{", 400), (b'{"text": ' + b"[" * 100_000, 400), (b"x" * 2_000_000, 413)],
    ids=["cut", "empty", "not UTF-8", "deep", "large"],
)
def test_a_body_that_is_no_json(talk, content, status):
    async def scenario(client):
        return await client.post(PATH, content=content, headers={"Content-Type": "application/json"})

    response = talk(scenario, RAGLINE__MEDIA__LARGEST="1")
    assert response.status_code == status
    assert set(response.json()) <= {"detail", "errors"}


def test_who_has_no_key_may_send_little(talk):
    async def scenario(client):
        client.headers.pop("Authorization")
        return [await client.post(PATH, content=b"x" * size) for size in (300_000, 500_000)]

    assert [response.status_code for response in talk(scenario)] == [401, 413]


def test_a_file_of_the_body_is_stored_before_the_message_and_once(talk, database, tmp_path):
    file = {"type": "voice", "name": "a.ogg", "data_base64": base64.b64encode(b"OggS").decode()}
    body = {"conversation": "c1", "id": "m1", "media": [file, {"type": "photo", "url": "https://example.com/a.jpg"}]}

    async def scenario(client):
        other = {**file, "data_base64": base64.b64encode(b"else").decode()}
        return [await client.post(PATH, json=one) for one in (body, body, {**body, "media": [other]})]

    new, again, conflict = talk(scenario, RAGLINE_DATA=str(tmp_path))
    assert [response.status_code for response in (new, again, conflict)] == [202, 202, 409]
    assert again.json()["message_id"] == new.json()["message_id"]
    with database.read() as session:
        (message,) = session.exec(select(Message)).all()
    assert (message.kind, message.text) == ("voice", "")
    assert [(ref["type"], ref["url"], ref["size"]) for ref in message.envelope["media"]] == [
        ("voice", None, 4),
        ("photo", "https://example.com/a.jpg", None),
    ]
    kept = list((tmp_path / "media").rglob("*-0"))
    assert [(path.name, path.read_bytes()) for path in kept] == [(f"{message.id}-0", b"OggS")]


@pytest.mark.parametrize(
    "media",
    [
        [{"type": "photo"}],
        [{"type": "photo", "url": "https://example.com/a", "data_base64": "AAAA"}],
        [{"type": "photo", "url": "file:///etc/passwd"}],
        [{"type": "photo", "data_base64": "тайна"}],
        [{"type": "sticker", "url": "https://example.com/a"}],
        [],
    ],
    ids=["neither", "both", "scheme", "base64", "type", "nothing"],
)
def test_a_wrong_file_is_named_and_not_echoed(talk, media):
    async def scenario(client):
        return await client.post(PATH, json={"conversation": "c1", "media": media})

    response = talk(scenario)
    assert response.status_code == 422
    assert "тайна" not in response.text
    assert "passwd" not in response.text


def test_a_form_is_told_to_be_json(talk):
    async def scenario(client):
        return await client.post(PATH, data=HELLO)

    response = talk(scenario)
    assert response.status_code == 422
    assert "Content-Type: application/json" in response.json()["detail"]


@pytest.mark.parametrize("wait", ["61", "-1", "nan", "soon"])
def test_a_wait_out_of_range_is_refused(talk, database, wait):
    async def scenario(client):
        return await client.post(f"{PATH}?wait={wait}", json=HELLO)

    assert talk(scenario).status_code == 422
    with database.read() as session:
        assert session.exec(select(Message)).all() == []


def test_unstorable_characters_are_replaced(talk, workers):
    async def scenario(client):
        body = rb'{"conversation": "c\u0000", "text": "a\u0000b\ud800", "id": "i\u0000"}'
        posted = await client.post(PATH, content=body, headers={"Content-Type": "application/json"})
        message_id = posted.json()["message_id"]
        workers.answer(message_id, "ok")
        return posted, await client.get(f"{PATH}/{message_id}")

    posted, got = talk(scenario)
    assert posted.status_code == 202
    assert got.json()["status"] == "answered"


def test_the_answer_within_the_time_to_wait(talk, workers):
    async def scenario(client):
        posting = asyncio.create_task(client.post(f"{PATH}?wait=20", json={**HELLO, "id": "1"}))
        message_id = await _stored(workers.database)
        begun = time.monotonic()
        await asyncio.to_thread(workers.answer, message_id, "It takes two days.")
        response = await posting
        took = time.monotonic() - begun
        again = await client.post(f"{PATH}?wait=20", json={**HELLO, "id": "1"})
        return message_id, response, took, again, await client.get(f"{PATH}/{message_id}")

    message_id, response, took, again, later = talk(scenario)
    assert response.status_code == 200
    assert response.json() == {
        "message_id": message_id,
        "status": "answered",
        "answer": {
            "text": "It takes two days.",
            "mode": "direct",
            "confidence": 0.93,
            "citations": [{"id": "k1", "title": "Delivery"}],
        },
        "usage": {"tokens_in": 120, "tokens_out": 30, "cost": "0.00183", "currency": "USD"},
    }
    assert took < 0.9  # woken, not polled
    assert again.status_code == 200
    assert again.json() == {**response.json(), "duplicate": True}
    assert later.json() == response.json()


def test_a_lost_wake_up_costs_a_second(talk, workers):
    async def scenario(client):
        posting = asyncio.create_task(client.post(f"{PATH}?wait=20", json=HELLO))
        message_id = await _stored(workers.database)
        workers.wake = lambda _: None
        await asyncio.to_thread(workers.answer, message_id, "Yes.")
        return await asyncio.wait_for(posting, 5)

    assert talk(scenario).json()["answer"]["text"] == "Yes."


def test_a_wait_that_runs_out_says_how_far_it_is(talk, workers):
    async def scenario(client):
        accepted = await client.post(f"{PATH}?wait=0.2", json=HELLO)
        workers.take(accepted.json()["message_id"], "generate")
        return accepted, await client.get(f"{PATH}/{accepted.json()['message_id']}")

    accepted, working = talk(scenario)
    assert (accepted.status_code, accepted.json()["status"]) == (202, "accepted")
    assert working.json() == {"message_id": accepted.json()["message_id"], "status": "processing", "step": "generate"}


def test_a_failure_tells_the_step_and_not_the_reason(talk, workers):
    async def scenario(client):
        message_id = (await client.post(PATH, json=HELLO)).json()["message_id"]
        turn = workers.take(message_id)
        workers.run(turn, "generate", "retry", tokens_in=10, cost=None)
        workers.send(turn, "We could not answer yet.", kind="notice")
        workers.close_turn(turn, "failed", step="generate", error="gpt-9 at 10.0.0.7 refused sk-123456", attempt=5)
        failed = await client.get(f"{PATH}/{message_id}")
        workers.run(turn, "deliver", tokens_out=5)
        workers.send(turn, "Part one.", part=0)
        workers.send(turn, "Part two.", part=1)
        workers.close_turn(turn, "answered")
        return failed.json(), (await client.get(f"{PATH}/{message_id}")).json()

    failed, replayed = talk(scenario)
    assert (failed["status"], failed["step"], failed["notice"]) == ("failed", "generate", "We could not answer yet.")
    assert "generate" in failed["error"]
    assert "gpt" not in str(failed)
    assert "answer" not in failed
    assert failed["usage"] == {"tokens_in": 10, "tokens_out": 0, "cost": None, "currency": "USD"}
    assert replayed["answer"]["text"] == "Part one.\n\nPart two."
    assert "error" not in replayed


def test_cost_is_added_up_without_rounding(talk, workers):
    async def scenario(client):
        message_id = (await client.post(PATH, json=HELLO)).json()["message_id"]
        turn = workers.take(message_id)
        workers.run(turn, "classify", cost=Decimal("0.1"))
        workers.run(turn, "generate", cost=Decimal("0.0000000000000000000000000000000001"))
        workers.run(turn, "deliver", cost=Decimal(3))
        workers.send(turn, "Yes.")
        workers.close_turn(turn)
        return (await client.get(f"{PATH}/{message_id}")).json()["usage"]["cost"]

    assert talk(scenario) == "3.1000000000000000000000000000000001"


def test_what_a_person_answers_reaches_the_caller(talk, workers):
    async def scenario(client):
        message_id = (await client.post(PATH, json=HELLO)).json()["message_id"]
        turn = workers.take(message_id)
        workers.run(turn, "generate", result={"text": "A suggestion nobody sent", "mode": "grounded"})
        workers.close_turn(turn, "suggested")
        suggested = (await client.get(f"{PATH}/{message_id}")).json()
        workers.send(turn, "Your parcel is at the post office.", kind="operator")
        return suggested, (await client.get(f"{PATH}/{message_id}")).json()

    suggested, answered = talk(scenario)
    assert suggested["status"] == "suggested"
    assert "suggestion" not in str(suggested)
    assert [line["text"] for line in answered["operator"]] == ["Your parcel is at the post office."]


@pytest.mark.parametrize("message_id", ["01a22096-20ba-76d0-bc13-af958925beac", "nothing", "%00", "'; --", "x" * 2000])
def test_an_unknown_message_is_not_found(talk, message_id):
    async def scenario(client):
        return await client.get(f"{PATH}/{message_id}")

    assert talk(scenario).status_code == 404


def test_a_message_of_another_channel_is_not_shown(talk):
    async def scenario(client):
        session = (await client.post("/widget/default/session", json={})).json()
        posted = await client.post(
            "/widget/default/messages",
            json={"id": "1", "text": "hi"},
            headers={"Authorization": f"Bearer {session['token']}"},
        )
        return await client.get(f"{PATH}/{posted.json()['message_id']}")

    assert talk(scenario).status_code == 404


def test_waiting_requests_end_when_the_process_does(served):
    server = served()
    found = []

    def post():
        headers = {"Authorization": "Bearer test-key-of-the-api"}
        found.append(httpx.post(f"{server.url}{PATH}?wait=60", json=HELLO, headers=headers, timeout=90))

    poster = threading.Thread(target=post)
    poster.start()
    deadline = time.monotonic() + 10
    while not server.app.state.wakeups._waiting and time.monotonic() < deadline:
        time.sleep(0.02)
    begun = time.monotonic()
    server.stop()
    poster.join(10)
    assert time.monotonic() - begun < 5
    assert found[0].status_code == 202
    assert found[0].json()["status"] == "accepted"


async def _stored(database):
    def look():
        with database.read() as session:
            return session.exec(select(Message.id)).first()

    while (message_id := await asyncio.to_thread(look)) is None:
        await asyncio.sleep(0.02)
    return message_id
