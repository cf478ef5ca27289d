"""The widget's requests as a page makes them."""

from __future__ import annotations

import asyncio

import pytest
from sqlmodel import select

from ingress.app import create_app
from ingress.channels.widget import assets
from ragline.settings import load_settings
from storage.models import Conversation, Message

PAGE = "https://shop.example"
CONFIG = """
channels:
  widget:
    default: {}
    shop:
      origins: [https://shop.example]
      title: {ru: Лампа, en: Lampa, de: Lampe}
      greeting: {en: Hi there}
"""


@pytest.fixture
def talk(database_url, redis_url, opened, tmp_path):
    """``talk(scenario)``: run ``scenario(client)`` against an application with the sites default and shop."""
    config = tmp_path / "ragline.yaml"

    def run(scenario, text=CONFIG):
        config.write_text(text, encoding="utf-8")
        settings = load_settings({"DATABASE_URL": database_url, "REDIS_URL": redis_url}, config)

        async def inside():
            async with opened(create_app(settings)) as client:
                client.headers.pop("Authorization")
                return await scenario(client)

        return asyncio.run(inside())

    return run


async def visit(client, site="default", **body):
    session = (await client.post(f"/widget/{site}/session", json=body)).json()
    return {"Authorization": f"Bearer {session['token']}"}


def test_a_session_is_given_and_kept(talk, database):
    async def scenario(client):
        first = await client.post("/widget/default/session", json={"token": None, "locale": "ru"})
        kept = await client.post("/widget/default/session", json={"token": first.json()["token"]})
        fresh = await client.post("/widget/default/session", json={"token": "forged\0"})
        return first, kept, fresh

    first, kept, fresh = talk(scenario)
    assert first.status_code == 200
    assert first.json() == {
        "token": first.json()["token"],
        "locale": "ru",
        "title": "Чат поддержки",
        "greeting": "Здравствуйте! Задайте вопрос, и мы постараемся помочь.",
        "files": first.json()["files"],
    }
    assert first.headers["Cache-Control"] == "no-store"
    assert kept.json()["token"] == first.json()["token"]
    assert fresh.json()["token"] not in (first.json()["token"], "forged\0")
    assert kept.json()["locale"] == "en"
    with database.read() as session:
        assert session.exec(select(Conversation)).all() == []


@pytest.mark.parametrize(
    ("locale", "accept", "expected"),
    [
        ("ru-RU", "en", ("ru", "Лампа", "Здравствуйте! Задайте вопрос, и мы постараемся помочь.")),
        (None, "de-AT,de;q=0.9", ("de", "Lampe", "Hi there")),
        ("fi", "", ("en", "Lampa", "Hi there")),
        ("<b>", "ru", ("ru", "Лампа", "Здравствуйте! Задайте вопрос, и мы постараемся помочь.")),
    ],
)
def test_the_window_speaks_the_visitors_language(talk, locale, accept, expected):
    async def scenario(client):
        return await client.post("/widget/shop/session", json={"locale": locale}, headers={"Accept-Language": accept})

    found = talk(scenario).json()
    assert (found["locale"], found["title"], found["greeting"]) == expected


def test_a_message_and_its_answer(talk, workers, database):
    async def scenario(client):
        who = await visit(client)
        empty = await client.get("/widget/default/messages", headers=who)
        posted = await client.post(
            "/widget/default/messages", json={"id": "m-1", "text": " How long? ", "locale": "en"}, headers=who
        )
        again = await client.post("/widget/default/messages", json={"id": "m-1", "text": "How long?"}, headers=who)
        other = await client.post("/widget/default/messages", json={"id": "m-1", "text": "Other"}, headers=who)
        turn = workers.answer(posted.json()["message_id"], "Two days.")
        workers.send(turn, "I am Ann, a person.", kind="operator")
        whole = await client.get("/widget/default/messages", headers=who)
        later = await client.get("/widget/default/messages?after=2", headers=who)
        stranger = await client.get("/widget/default/messages", headers=await visit(client))
        elsewhere = await client.get("/widget/shop/messages", headers=who)
        return who, empty, posted, again, other, whole, later, stranger, elsewhere

    who, empty, posted, again, other, whole, later, stranger, elsewhere = talk(scenario)
    assert empty.json() == {"messages": []}
    assert posted.status_code == again.status_code == 202
    assert posted.json() == {"message_id": posted.json()["message_id"], "seq": 1}
    assert again.json() == {**posted.json(), "duplicate": True}
    assert other.status_code == 409
    messages = whole.json()["messages"]
    assert [(m["seq"], m["role"], m["text"]) for m in messages] == [
        (1, "visitor", "How long?"),
        (2, "assistant", "Two days."),
        (3, "operator", "I am Ann, a person."),
    ]
    assert messages[0]["client_id"] == "m-1"
    assert messages[1]["citations"] == [{"id": "k1", "title": "Delivery"}]
    assert "citations" not in messages[2]
    assert messages[1]["sent_at"].endswith("+00:00")
    assert later.json()["messages"] == messages[2:]
    assert stranger.json() == elsewhere.json() == {"messages": []}
    token = who["Authorization"].removeprefix("Bearer ")
    with database.read() as session:
        (conversation,) = session.exec(select(Conversation)).all()
        (message,) = session.exec(select(Message)).all()
    assert token not in str(conversation.model_dump()) + str(message.model_dump())
    assert (conversation.locale, conversation.account) == ("en", "default")


def test_events_of_the_conversation_are_no_messages(talk, database):
    async def scenario(client):
        who = await visit(client)
        for number in range(3):
            await client.post("/widget/default/messages", json={"id": f"m{number}", "text": "hi"}, headers=who)
        with database.write() as session:
            first, second, _ = session.exec(select(Message).order_by(Message.seq)).all()
            first.kind, second.kind = "edit", "event"
            session.add_all([first, second])
        return await client.get("/widget/default/messages", headers=who)

    assert [message["client_id"] for message in talk(scenario).json()["messages"]] == ["m2"]


def test_without_a_number_the_newest_page_and_after_it_page_by_page(talk, database, monkeypatch):
    monkeypatch.setattr("storage.transcript.PAGE", 3)

    async def scenario(client):
        who = await visit(client)
        for number in range(5):
            await client.post("/widget/default/messages", json={"id": f"m{number}", "text": "hi"}, headers=who)
        paths = ("messages", "messages?after=1", "messages?after=4")
        return [(await client.get(f"/widget/default/{path}", headers=who)).json()["messages"] for path in paths]

    assert [[m["seq"] for m in page] for page in talk(scenario)] == [[3, 4, 5], [2, 3, 4], [5]]


@pytest.mark.parametrize("token", ["", "short", "x" * 44, "ключ"])
def test_without_a_token_401(talk, token):
    async def scenario(client):
        headers = {"Authorization": f"Bearer {token}".encode(), "Accept-Language": "ru"}
        return [
            await client.get("/widget/default/messages", headers=headers),
            await client.post("/widget/default/messages", json={"id": "1", "text": "hi"}, headers=headers),
            await client.get("/widget/default/events", headers=headers),
        ]

    for response in talk(scenario):
        assert response.status_code == 401
        assert response.json()["detail"] == "Сеанс чата не найден. Обновите страницу."


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"id": "1", "text": "x" * 4001, "locale": "ru"}, 413, "Сообщение слишком длинное: не больше 4000 знаков."),
        ({"id": "1", "text": "x" * 4001, "locale": "fr"}, 413, "The message is too long: 4000 characters at most."),
        ({"id": "1", "text": " \n ", "locale": "ru"}, 422, "Напишите текст сообщения."),
        ({"id": "1", "text": "x" * 70_000}, 413, "the body is larger than 64000 bytes"),
        ({"text": "hi"}, 422, "id: Field required"),
    ],
    ids=["long", "long, no such language", "empty", "huge", "no id"],
)
def test_a_message_that_cannot_be_taken(talk, body, status, detail):
    async def scenario(client):
        return await client.post("/widget/default/messages", json=body, headers=await visit(client))

    response = talk(scenario)
    assert response.status_code == status
    assert response.json()["detail"] == detail


def test_the_longest_message_is_taken(talk):
    async def scenario(client):
        body = {"id": "1", "text": "\U0001f600" * 4000}
        return await client.post("/widget/default/messages", json=body, headers=await visit(client))

    assert talk(scenario).status_code == 202


def test_a_visitor_who_writes_without_end_is_slowed_down(talk):
    async def scenario(client):
        who = await visit(client)
        responses = [
            await client.post(
                "/widget/default/messages", json={"id": str(n), "text": "hi", "locale": "ru"}, headers=who
            )
            for n in range(21)
        ]
        other = await client.post(
            "/widget/default/messages", json={"id": "1", "text": "hi"}, headers=await visit(client)
        )
        return responses, other

    responses, other = talk(scenario)
    assert [response.status_code for response in responses] == [202] * 20 + [429]
    assert 1 <= int(responses[-1].headers["Retry-After"]) <= 3
    assert "Подождите" in responses[-1].json()["detail"]
    assert other.status_code == 202


def test_an_address_that_opens_sessions_without_end_is_slowed_down(talk):
    async def scenario(client):
        return [(await client.post("/widget/default/session", json={})).status_code for _ in range(31)]

    assert talk(scenario) == [200] * 30 + [429]


def test_pages_of_the_account_may_embed_it_and_no_others(talk):
    async def scenario(client):
        ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        resume = {
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization,last-event-id",
        }
        return {
            "preflight": await client.options("/widget/shop/messages", headers={"Origin": PAGE, **ask}),
            "post": await client.post("/widget/shop/session", json={}, headers={"Origin": PAGE}),
            "refused": await client.post("/widget/shop/session", content=b"{", headers={"Origin": PAGE}),
            "unauthorised": await client.get("/widget/shop/messages", headers={"Origin": PAGE}),
            "own": await client.post("/widget/shop/session", json={}, headers={"Origin": "http://ragline.test"}),
            "stream preflight": await client.options("/widget/shop/events", headers={"Origin": PAGE, **resume}),
            "foreign preflight": await client.options("/widget/default/messages", headers={"Origin": PAGE, **ask}),
            "foreign post": await client.post("/widget/default/session", json={}, headers={"Origin": PAGE}),
            "foreign get": await client.get("/widget/default/messages", headers={"Origin": PAGE}),
            "none": await client.post("/widget/default/session", json={}),
        }

    got = talk(scenario)
    allowed = {name: response.headers.get("Access-Control-Allow-Origin") for name, response in got.items()}
    assert allowed == {
        "preflight": PAGE,
        "post": PAGE,
        "refused": PAGE,
        "unauthorised": PAGE,
        "own": "http://ragline.test",
        "stream preflight": PAGE,
        "foreign preflight": None,
        "foreign post": None,
        "foreign get": None,
        "none": None,
    }
    statuses = {name: response.status_code for name, response in got.items()}
    assert statuses == {
        "preflight": 204,
        "post": 200,
        "refused": 422,
        "unauthorised": 401,
        "own": 200,
        "stream preflight": 204,
        "foreign preflight": 403,
        "foreign post": 403,
        "foreign get": 401,
        "none": 200,
    }
    assert all(response.headers["Vary"] == "Origin" for response in got.values())
    assert "Authorization" in got["preflight"].headers["Access-Control-Allow-Headers"]
    assert {"Authorization", "Last-Event-ID"} <= set(
        got["stream preflight"].headers["Access-Control-Allow-Headers"].split(", ")
    )
    assert got["unauthorised"].headers["Access-Control-Expose-Headers"] == "Retry-After"


@pytest.mark.parametrize("path", ["session", "messages", "events"])
def test_an_unknown_site_is_not_found(talk, path):
    async def scenario(client):
        return await client.request("POST" if path == "session" else "GET", f"/widget/none/{path}", json={})

    assert talk(scenario).status_code == 404


@pytest.mark.parametrize("after", ["-1", "x", str(2**31)])
def test_a_number_no_message_has_is_refused(talk, after):
    async def scenario(client):
        return await client.get(f"/widget/default/messages?after={after}", headers=await visit(client))

    assert talk(scenario).status_code == 422


def test_the_script_and_the_demo_page(talk):
    async def scenario(client):
        paths = ("/widget.js", "/widget-files.js", "/", "/demo.js", "/demo.css")
        found = {path: await client.get(path) for path in paths}
        tag = found["/widget.js"].headers["ETag"]
        found["cached"] = await client.get("/widget.js", headers={"If-None-Match": f'"other", W/{tag}'})
        found["head"] = await client.head("/widget.js")
        return found

    found = talk(scenario)
    assert found["/widget.js"].content == (assets.FOLDER / "widget.js").read_bytes()
    assert len(found["/widget.js"].content) < 30_000
    assert found["/widget.js"].headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert found["/widget.js"].headers["Cache-Control"] == "no-cache"
    assert found["/widget.js"].headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    for name in ("content-type", "cache-control", "cross-origin-resource-policy", "access-control-allow-origin"):
        assert found["/widget-files.js"].headers[name] == found["/widget.js"].headers[name]
    assert (found["cached"].status_code, found["cached"].content) == (304, b"")
    assert (found["head"].status_code, found["head"].content) == (200, b"")
    assert found["/"].headers["Content-Type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in found["/"].headers["Content-Security-Policy"]
    assert found["/demo.css"].headers["Content-Type"].startswith("text/css")
    assert found["/demo.js"].status_code == 200


def test_without_the_default_site_there_is_no_demo_page(talk):
    async def scenario(client):
        return [(await client.get(path)).status_code for path in ("/", "/widget.js")]

    assert talk(scenario, "channels: {widget: {shop: {}}}") == [404, 200]


def test_without_a_site_there_is_no_widget(talk):
    async def scenario(client):
        return [(await client.get(path)).status_code for path in ("/", "/widget.js", "/widget/default/messages")]

    assert talk(scenario, "channels: {widget: off}") == [404, 404, 404]
