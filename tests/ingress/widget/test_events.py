"""The stream, over a real socket: replay, live, typing, limits, and a prompt end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from functools import partial

import httpx
import pytest

from ingress.channels.widget import routes, stream
from ingress.channels.widget.sessions import Limits
from ingress.live import Listener, Live
from ingress.wakeups import Wakeups
from storage.models import Conversation, Message
from storage.transcript import Look


@pytest.fixture
def page(served):
    """A page with a session: posts, and opens streams."""
    page = Page(served())
    yield page
    page.http.close()


@pytest.fixture
def limited(served, monkeypatch):
    """``limited(streams=3)`` starts an application with these limits; its result opens a page from an address."""
    pages = []

    def start(**limits):
        monkeypatch.setattr(routes, "Limits", partial(Limits, **limits))
        server = served()

        def visit(address="127.0.0.1"):
            pages.append(Page(server, address))
            return pages[-1]

        return visit

    yield start
    for page in pages:
        page.http.close()


class Page:
    def __init__(self, server, address="127.0.0.1"):
        self.server = server
        self.http = httpx.Client(
            base_url=f"{server.url}/widget/default/",
            timeout=20,
            transport=httpx.HTTPTransport(local_address=address),
        )
        self.token = self.http.post("session", json={}).json()["token"]
        self.http.headers["Authorization"] = f"Bearer {self.token}"

    def post(self, id_, text="Hi"):
        return self.http.post("messages", json={"id": id_, "text": text}).json()

    def knock(self):
        """The status with which a stream is opened, or refused, and its Retry-After."""
        with self.http.stream("GET", "events") as response:
            return response.status_code, response.headers.get("Retry-After")

    @contextlib.contextmanager
    def events(self, after=0, **headers):
        """An iterator over (event, id, data)."""
        headers = {"Accept": "text/event-stream", **headers}
        with self.http.stream("GET", f"events?after={after}", headers=headers) as response:
            assert response.status_code == 200
            assert response.headers["Content-Type"].startswith("text/event-stream")
            yield _parse(response)


def _at_last(knock):
    """The server needs a moment to see that a visitor has left."""
    deadline = time.monotonic() + 5
    while (found := knock())[0] != 200 and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def _parse(response):
    fields = {}
    for line in response.iter_lines():
        if not line and "data" in fields:
            yield fields["event"], fields.get("id"), json.loads(fields["data"])
            fields = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


def test_replay_then_live_in_order(page, workers):
    first = page.post("m1", "One")
    workers.answer(first["message_id"], "Answer one")
    with page.events() as events:
        assert [(kind, id_, data["role"], data["text"]) for kind, id_, data in (next(events), next(events))] == [
            ("message", "1", "visitor", "One"),
            ("message", "2", "assistant", "Answer one"),
        ]
        second = page.post("m2", "Two")
        kind, id_, data = next(events)
        assert (kind, id_, data["client_id"]) == ("message", "3", "m2")
        assert next(events) == ("typing", None, {"on": True})
        begun = time.monotonic()
        workers.answer(second["message_id"], "Answer two")
        kind, id_, data = next(events)
        assert (kind, id_, data["text"]) == ("message", "4", "Answer two")
        assert data["citations"] == [{"id": "k1", "title": "Delivery"}]
        assert next(events) == ("typing", None, {"on": False})
        assert time.monotonic() - begun < 2  # woken: a poll comes after fifteen seconds


def test_a_stream_opened_before_the_first_word_hears_it_at_once(page, workers):
    with page.events() as events:
        begun = time.monotonic()
        threading.Timer(0.3, page.post, ["m1"]).start()
        assert next(events)[2]["client_id"] == "m1"
        assert time.monotonic() - begun < 2


def test_a_stream_goes_on_where_it_broke_off(page, workers):
    for number in range(3):
        page.post(f"m{number}")
    with page.events(after=1) as events:
        assert [next(events)[1] for _ in range(2)] == ["2", "3"]
    with page.events(**{"Last-Event-ID": "2"}) as events:
        assert next(events)[1] == "3"
    with page.events(after=2, **{"Last-Event-ID": "nonsense"}) as events:
        assert next(events)[1] == "3"


def test_a_page_that_comes_back_gets_what_it_missed_and_nothing_twice(page, workers):
    first = page.post("m1")
    with page.events() as events:
        _, last, _ = next(events)
    workers.answer(first["message_id"], "While you were away")
    with page.events(**{"Last-Event-ID": last}) as events:
        kind, last, data = next(events)
        assert (kind, last, data["text"]) == ("message", "2", "While you were away")
    with page.events(**{"Last-Event-ID": last}) as events:
        page.post("m2", "Back again")
        # The stream may be looking just now, and see that an answer is due before it sees the message.
        assert next(number for kind, number, _ in events if kind == "message") == "3"


def test_an_answer_that_comes_while_the_stream_begins_is_not_left_for_the_poll():
    """It is written after the first look and said before the stream watches the conversation."""

    class Twin:
        looks = 0

        async def read(self, site, key, after):
            self.looks += 1
            return Look("c1", [], typing=self.looks == 1, more=False)

    async def scenario():
        events = stream._events(Wakeups(None), Twin(), Listener(Live(None)), "default", "key", 0)
        async with asyncio.timeout(2), contextlib.aclosing(events):
            return [(await anext(events)).data for _ in range(3)]

    assert asyncio.run(scenario()) == [None, '{"on": true}', '{"on": false}']


@pytest.mark.parametrize("path", ["messages", "events"])
def test_a_token_in_the_address_opens_nothing(page, path):
    """Addresses are written to logs on the way."""
    del page.http.headers["Authorization"]
    with page.http.stream("GET", path, params={"token": page.token}) as response:
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"


def test_one_address_keeps_a_bounded_number_of_streams(limited):
    visit = limited(streams_per_address=2)
    page, neighbour, stranger = visit(), visit(), visit("127.0.0.2")
    with page.events(), neighbour.events():
        assert page.knock() == (429, "30")
        assert stranger.knock() == (200, None)
        detail = page.http.get("events", headers={"Accept-Language": "ru"}).json()["detail"]
        assert detail == "Чат открыт в слишком многих окнах. Закройте лишние."
        assert page.http.get("messages").status_code == 200  # it can still ask
    assert _at_last(page.knock) == (200, None)


def test_a_process_keeps_a_bounded_number_of_streams(limited):
    visit = limited(streams=2)
    page, stranger, late = visit(), visit("127.0.0.2"), visit("127.0.0.3")
    with page.events():
        with stranger.events():
            assert late.knock() == (503, "30")
            assert page.knock() == (503, "30")
        assert _at_last(late.knock) == (200, None)


def test_a_stream_that_is_refused_or_fails_to_begin_takes_no_place(limited):
    visit = limited(streams_per_address=1)
    page = visit()
    for _ in range(3):
        assert page.http.get("events", headers={"Authorization": "Bearer x"}).status_code == 401
        assert page.http.get("events?after=x").status_code == 422
    with page.events():
        assert [page.knock()[0] for _ in range(3)] == [429] * 3
    assert _at_last(page.knock)[0] == 200


@pytest.mark.parametrize("gone", ["before", "while sending"])
def test_a_stream_tells_its_end_once_though_nobody_hears_it(gone):
    ended = []

    class Twin:
        async def read(self, site, key, after):
            return None

    async def receive():
        if gone == "before":
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()

    async def send(message):
        if gone != "before":
            raise OSError

    async def scenario():
        response = stream.events(
            Wakeups(None), Twin(), Listener(Live(None)), "default", "key", 0, ended=lambda: ended.append(gone)
        )
        async with asyncio.timeout(5):
            with contextlib.suppress(OSError):
                await response({"type": "http", "method": "GET"}, receive, send)

    asyncio.run(scenario())
    assert ended == [gone]


def test_an_address_that_reads_without_end_is_slowed_down(limited):
    visit = limited(reads_per_address=4)
    page, neighbour, stranger = visit(), visit(), visit("127.0.0.2")
    assert [page.http.get("messages").status_code for _ in range(3)] == [200] * 3
    assert neighbour.knock() == (200, None)  # opening a stream is a read
    refused = page.http.get("messages", headers={"Accept-Language": "ru"})
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 15
    assert refused.json()["detail"] == "Слишком много запросов. Подождите немного."
    assert neighbour.knock()[0] == 429
    assert stranger.http.get("messages").status_code == 200


def test_looks_for_streams_have_threads_of_their_own_which_end_with_the_process(limited):
    page = limited(readers=2)()
    others = {thread for thread in threading.enumerate() if thread.name.startswith("widget")}
    page.post("m1")
    for _ in range(5):
        assert page.http.get("messages").is_success
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("widget") and thread not in others]
    assert 1 <= len(ours) <= 2
    page.server.stop()
    assert not any(thread.is_alive() for thread in ours)


def test_a_long_replay_comes_whole(page, workers, monkeypatch):
    monkeypatch.setattr("storage.transcript.PAGE", 4)
    first = page.post("m0")
    turn = workers.take(first["message_id"], "deliver")
    for part in range(10):
        workers.send(turn, f"part {part}", part=part)
    begun = time.monotonic()
    with page.events() as events:
        assert [next(events)[1] for _ in range(11)] == [str(n) for n in range(1, 12)]
    assert time.monotonic() - begun < 2


def test_nothing_is_typed_while_a_person_answers(page, workers, database):
    first = page.post("m1")
    with database.write() as session:
        message = session.get_one(Message, first["message_id"])
        conversation = session.get_one(Conversation, message.conversation_id)
        conversation.mode = "human"
        session.add(conversation)
    turn = workers.take(first["message_id"])
    with page.events() as events:
        assert next(events)[0] == "message"
        workers.send(turn, "I am a person.", kind="operator")
        kind, _, data = next(events)
        assert (kind, data["role"]) == ("message", "operator")


def test_without_redis_the_stream_looks_by_itself(page, workers, monkeypatch):
    monkeypatch.setattr(stream, "POLL", 0.2)
    first = page.post("m1")
    workers.wake = lambda _: None
    with page.events(after=1) as events:
        assert next(events) == ("typing", None, {"on": True})
        workers.answer(first["message_id"], "Found")
        assert next(events)[2]["text"] == "Found"


def test_heartbeats_keep_the_connection_alive(page, monkeypatch):
    monkeypatch.setattr(stream, "HEARTBEAT", 0.2)
    with page.http.stream("GET", "events") as response:
        lines = response.iter_lines()
        assert next(lines) == ": open"
        assert next(line for line in lines if line.startswith(":")) == ": alive"


def test_the_stream_is_written_as_the_page_reads_it(page, monkeypatch):
    """Events end with an empty line, lines with LF alone, and data is one line."""
    monkeypatch.setattr(stream, "HEARTBEAT", 0.2)
    page.post("m1", "One\r\ntwo\u2028three")
    with page.http.stream("GET", "events") as response:
        text = ""
        for part in response.iter_text():
            text += part
            if "alive" in text:
                break
    first, message, typing, alive = text.removesuffix("\n\n").split("\n\n")[:4]
    assert (first, alive) == (": open", ": alive")
    id_, event, data = message.split("\n")
    assert (id_, event, data.partition(": ")[0]) == ("id: 1", "event: message", "data")
    assert json.loads(data.removeprefix("data: "))["text"] == "One\r\ntwo\u2028three"
    assert typing == 'event: typing\ndata: {"on": true}'


def test_a_visitor_who_leaves_leaves_nothing_behind(page):
    waiting = page.server.app.state.wakeups._waiting
    page.post("m1")
    with page.events() as events:
        next(events)
        assert waiting
    deadline = time.monotonic() + 5
    while waiting and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not waiting


def test_open_streams_do_not_hold_up_a_stop(page):
    page.post("m1")
    ended = threading.Event()

    def listen():
        with page.events() as events:
            for _ in events:
                pass
        ended.set()

    listeners = [threading.Thread(target=listen, daemon=True) for _ in range(3)]
    for listener in listeners:
        listener.start()
    while len(next(iter(page.server.app.state.wakeups._waiting.values()), ())) < 3:
        time.sleep(0.02)
    begun = time.monotonic()
    page.server.stop()
    assert time.monotonic() - begun < 3
    assert ended.wait(5)


def test_a_text_is_told_as_it_grows_and_its_message_has_a_plain_number(page, workers):
    turn = workers.take(page.post("m1")["message_id"], "generate")
    draft = workers.writes(turn)
    with page.events() as events:
        assert [next(events)[0] for _ in range(2)] == ["message", "typing"]
        draft.write("It takes")
        kind, place, data = next(events)
        assert (kind, data) == ("delta", {"offset": 0, "text": "It takes"})
        assert place.startswith(f"1-{turn.id}-")
    draft.write("It takes two days")
    with page.events(**{"Last-Event-ID": place}) as events:
        assert next(events)[0] == "typing"
        kind, place, data = next(events)
        assert (kind, data) == ("delta", {"offset": 8, "text": " two days"})
        draft.finish()
        workers.send(turn, "It takes two days.")
        workers.close_turn(turn)
        kind, id_, data = next(events)
        assert (kind, id_, data["text"]) == ("message", "2", "It takes two days.")
        assert next(events) == ("typing", None, {"on": False})
    with page.events(**{"Last-Event-ID": place}) as events:
        assert next(events)[1] == "2"


def test_without_redis_the_answer_still_arrives(served, make_settings, workers, monkeypatch):
    monkeypatch.setattr(stream, "POLL", 0.2)
    page = Page(served(make_settings(REDIS_URL="redis://127.0.0.1:9/0")))
    turn = workers.take(page.post("m1")["message_id"], "generate")
    with page.events(after=1) as events:
        assert next(events) == ("typing", None, {"on": True})
        workers.writes(turn).write("It takes")
        workers.send(turn, "It takes two days.")
        assert next(events)[2]["text"] == "It takes two days."
    page.http.close()
