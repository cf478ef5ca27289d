"""A message's events over a real socket: the growing text, its resumption, and the answer as it is stored."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from storage.live import watched_key
from storage.models import Conversation
from tests.conftest import wait_until
from tests.ingress.conftest import KEY

pytestmark = pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)


@pytest.fixture
def api(served: Any) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=f"{served().url}/api/v1", headers=headers, timeout=20) as client:
        yield client


def post(api: httpx.Client, **query: Any) -> str:
    return str(
        api.post("/messages", params=query, json={"conversation": "c", "text": "How long?"}).json()["message_id"]
    )


@contextlib.contextmanager
def events(api: httpx.Client, message_id: str, last: str = "") -> Iterator[Iterator[tuple[str, str, Any]]]:
    """(event, id, data) each."""
    with api.stream(
        "GET", f"/messages/{message_id}/events", headers={"Last-Event-ID": last} if last else {}
    ) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")

        def read() -> Iterator[tuple[str, str, Any]]:
            fields: dict[str, str] = {}
            for line in response.iter_lines():
                if not line and "data" in fields:
                    yield fields["event"], fields["id"], json.loads(fields["data"])
                    fields = {}
                elif line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    fields[name] = value

        yield read()


def test_the_text_grows_breaks_off_goes_on_and_ends_with_the_stored_answer(api: httpx.Client, workers: Any) -> None:
    turn = workers.take(message_id := post(api), "generate")
    draft = workers.writes(turn)
    with events(api, message_id) as told:
        draft.write("It takes [1")
        kind, place, data = next(told)
        assert (kind, data) == ("delta", {"offset": 0, "text": "It takes"})
    draft.write("It takes [1] two days")
    with events(api, message_id, place) as told:
        assert next(told)[2] == {"offset": 8, "text": " two days"}
        draft.write("It takes [1] two days NO_ANSWER")
        assert next(told)[0] == "reset"
        draft.finish()
        workers.run(turn, "generate", result={"mode": "unknown"})
        workers.send(turn, "I do not know.")
        workers.close_turn(turn)
        kind, last, data = next(told)
        assert (kind, last, data["status"]) == ("final", "2", "answered")
        assert data == api.get(f"/messages/{message_id}").json()
        assert data["answer"]["text"] == "I do not know."
        assert next(told, None) is None, "the stream ends by itself"
    with events(api, message_id, place) as told:
        assert [kind for kind, *_ in told] == ["final"]
    assert api.get(f"/messages/{message_id}/events", headers={"Last-Event-ID": last}).status_code == 204


def test_another_model_a_second_attempt_and_what_a_person_took_over(
    api: httpx.Client, workers: Any, database: Any
) -> None:
    turn = workers.take(message_id := post(api), "generate")
    first = workers.writes(turn)
    with events(api, message_id) as told:
        first.write("One model")
        assert next(told)[2]["text"] == "One model"
        workers.writes(turn, attempt=2).write("Another attempt")
        first.write("One model, taken for dead")
        assert next(told)[0] == "reset"
        assert next(told)[2] == {"offset": 0, "text": "Another attempt"}
        with database.write() as session:
            conversation = session.get_one(Conversation, turn.conversation_id)
            conversation.mode = "human"
            session.add(conversation)
        workers.wake(turn.conversation_id)
        assert next(told)[0] == "reset"
        workers.close_turn(turn, "suggested")
        assert next(told)[2]["status"] == "suggested"


def test_who_listens_says_so_and_others_hear_nothing(api: httpx.Client, workers: Any, redis: Any) -> None:
    turn = workers.take(message_id := post(api), "generate")
    watched = watched_key(turn.conversation_id)
    assert not redis.exists(watched)
    assert post(api, stream="true")
    assert 0 < redis.ttl(watched) <= 60
    redis.delete(watched)
    with events(api, message_id):
        wait_until(lambda: redis.exists(watched), 5, "the mark")
    assert api.get(f"/messages/{'0' * 36}/events").status_code == 404
    assert api.get(f"/messages/{message_id}/events", headers={"Authorization": "Bearer no"}).status_code == 401


def test_the_events_are_documented(api: httpx.Client) -> None:
    root = str(api.base_url).partition("/api/")[0]
    described = httpx.get(f"{root}/openapi.json").json()["paths"]["/api/v1/messages/{message_id}/events"]["get"]
    assert "delta" in described["responses"]["200"]["description"]
    assert "text/event-stream" in described["responses"]["200"]["content"]
    assert "events" in httpx.get(f"{root}/docs").text
