"""The stream, over a real socket: replay, live, typing, and a prompt end."""

from __future__ import annotations

import contextlib
import json
import threading
import time

import httpx
import pytest

from ingress.channels.widget import stream
from storage.models import Conversation, Message


@pytest.fixture
def page(served):
    """A page with a session: posts, and opens streams."""
    page = Page(served())
    yield page
    page.http.close()


class Page:
    def __init__(self, server):
        self.server = server
        self.http = httpx.Client(base_url=f"{server.url}/widget/default/", timeout=20)
        self.token = self.http.post("session", json={}).json()["token"]

    def post(self, id_, text="Hi"):
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.http.post("messages", json={"id": id_, "text": text}, headers=headers).json()

    @contextlib.contextmanager
    def events(self, after=0, **headers):
        """An iterator over (event, id, data)."""
        url = f"events?token={self.token}&after={after}"
        with self.http.stream("GET", url, headers={"Accept": "text/event-stream", **headers}) as response:
            assert response.status_code == 200
            assert response.headers["Content-Type"].startswith("text/event-stream")
            yield _parse(response)


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
        assert time.monotonic() - begun < 2  # woken: a poll comes after three seconds


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
    with page.http.stream("GET", f"events?token={page.token}") as response:
        lines = response.iter_lines()
        assert [next(lines) for _ in range(2)] == [": open", "retry: 2000"]
        assert next(line for line in lines if line.startswith(":")) == ": alive"


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
