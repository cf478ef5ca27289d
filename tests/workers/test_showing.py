"""When a model call is streamed, and to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from pipeline.llm import Completion
from pipeline.turn import Usage
from ragline.ids import new_id
from ragline.settings import Settings
from storage.live import Draft, key, watched_key
from storage.rows import ConversationRow, TurnRow
from storage.steps import Claim
from tests.conftest import wait_until
from workers.runtime import Runtime
from workers.showing import ShowsWork


class Model:
    """Writes two words; ``streamed`` says of each call whether it was."""

    def __init__(self) -> None:
        self.streamed: list[bool] = []
        self.meanwhile: Callable[[], Any] = lambda: None

    def complete(self, messages: Any, *, on_text: Any, **_: Any) -> Completion:
        self.streamed.append(on_text is not None)
        if on_text:
            on_text("Two")
            on_text("Two days [1].")
        self.meanwhile()
        return Completion("Two days [1].", Usage())


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def call(redis: Redis, redis_url: str) -> Iterator[Callable[..., tuple[Model, ShowsWork, TurnRow]]]:
    runtimes = []

    def make(*, mode: str = "bot", watched: bool = True, **settings: Any) -> tuple[Model, ShowsWork, TurnRow]:
        runtimes.append(runtime := Runtime(Settings.model_validate({"redis_url": redis_url, **settings})))
        turn = TurnRow(new_id(), new_id(), "processing", "generate", attempt=1, crashes=0, round=0)
        talk = ConversationRow(turn.conversation_id, "widget", "default", "k", 1, mode, False, None, {})
        if watched:
            redis.set(watched_key(talk.id), 1)
        model = Model()
        held = Claim(turn, talk, [], {}, "generate", 1, "token")
        return model, ShowsWork(runtime, held, model), turn  # type: ignore[arg-type]

    yield make
    for runtime in runtimes:
        runtime.close()


def text_of(redis: Redis, turn: TurnRow) -> Draft:
    return Draft().after(fields for _, fields in redis.xrange(key(turn.id)))  # type: ignore[union-attr]


def test_a_watched_answer_is_written_to_its_turn_and_ends(call: Any, redis: Redis) -> None:
    model, shows, turn = call()
    assert shows.complete([], max_tokens=9).text == "Two days [1]."
    wait_until(lambda: text_of(redis, turn).over, 5, "the end")
    first = text_of(redis, turn)
    assert first.text == "Two days."
    shows.complete([], max_tokens=9)  # asked once more: the first text was rejected
    wait_until(lambda: text_of(redis, turn).number > first.number and text_of(redis, turn).over, 5, "the second text")
    assert model.streamed == [True, True]


@pytest.mark.parametrize(
    ("options", "purpose"),
    [
        ({"watched": False}, "answer"),
        ({"mode": "human"}, "answer"),
        ({}, "check"),
        ({}, "classify"),
        ({"streaming": {"enabled": "off"}}, "answer"),
        ({"answer": {"ground_check": "llm"}}, "answer"),
        ({"redis_url": "redis://127.0.0.1:9/0"}, "answer"),
    ],
)
def test_what_nobody_is_to_see_is_not_streamed(call: Any, redis: Redis, options: dict[str, Any], purpose: str) -> None:
    model, shows, turn = call(**options)
    assert shows.complete([], max_tokens=9, purpose=purpose).text == "Two days [1]."
    assert model.streamed == [False]
    assert not redis.exists(key(turn.id))


def test_a_process_shows_a_bounded_number_of_texts(call: Any) -> None:
    model, shows, _ = call(streaming={"at_once": 1})
    model.meanwhile = lambda: len(model.streamed) == 1 and shows.complete([], max_tokens=9)
    shows.complete([], max_tokens=9)
    shows.complete([], max_tokens=9)
    assert model.streamed == [True, False, True]
