"""The growing text of an answer: written to a real Redis by the worker's part, read by the ingress' part."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ingress.live import Listener, Update
from ingress.live import Live as Reader
from ragline.ids import new_id
from storage import live
from storage.live import Draft, Place, parse_event_id
from storage.rows import TurnRow
from tests.conftest import wait_until
from workers.live import Live, LiveDraft

TEXT = "".join(f"Слово {n} [1]. " for n in range(250))
FINAL = TEXT.replace(" [1]", "").rstrip()


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def writer(redis: Redis) -> Iterator[Live]:
    live_ = Live(lambda: redis, "ragline:news", timedelta(milliseconds=10))
    yield live_
    live_.close()


def turn() -> TurnRow:
    return TurnRow(new_id(), "c1", "processing", "generate", attempt=1, crashes=0, round=0)


def entries(redis: Redis, turn_: TurnRow) -> list[dict[bytes, bytes]]:
    return [fields for _, fields in redis.xrange(live.key(turn_.id))]  # type: ignore[union-attr]


def text_of(redis: Redis, turn_: TurnRow) -> str:
    return Draft().after(entries(redis, turn_)).text


async def listen(
    url: str, turn_id: str | None, place: Place | None = None, *, until: Callable[[str], bool], seconds: float = 5
) -> tuple[str, list[Update]]:
    """What a listener who holds the text at ``place`` makes of the updates; ends at ``until(text)``."""
    reader = Reader(url)
    listener, text, seen = Listener(reader, place), "", []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            async for update in listener.follow(turn_id, asyncio.Event(), seconds):
                seen.append(update)
                text = "" if update.kind == "reset" else text + update.data["text"]
                if until(text):
                    break
    listener.close()
    await reader.close()
    return text, seen


def test_a_text_grows_in_a_capped_stream_and_announces_itself(redis: Redis, writer: Live) -> None:
    heard = redis.pubsub()
    heard.subscribe("ragline:news")
    mine = turn()
    draft = writer.begin(mine, 1, 1)
    for end in range(0, len(TEXT), 3):
        draft.write(TEXT[:end])
        if end % 1000 == 0:
            wait_until(lambda: not draft.queued, 5, "the writing thread")
    draft.write(TEXT)
    draft.finish()
    wait_until(lambda: text_of(redis, mine) == FINAL, 5, "the text")
    assert entries(redis, mine)[-1][b"over"] == b"1"
    assert 0 < redis.ttl(live.key(mine.id)) <= 300  # type: ignore[operator]
    news = [message["data"] for _ in range(3) if (message := heard.get_message(timeout=1))]
    assert news == [1, b"c1"]
    heard.close()


def test_what_is_cut_off_is_missed_by_nobody(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "KEPT", 60)
    monkeypatch.setattr(live, "WHOLE_EVERY", 50)
    draft = LiveDraft(Live(lambda: redis, "n", timedelta(1)), mine := turn(), 1, 1)
    for end in range(0, len(TEXT), 10):
        draft._raw = TEXT[:end]
        with redis.pipeline(transaction=False) as pipe:
            draft.put(pipe)
            pipe.execute()
    kept = entries(redis, mine)
    assert len(kept) < 250
    assert FINAL.startswith(text := Draft().after(kept).text)
    assert len(text) > len(FINAL) - 20


def test_another_model_and_a_rejected_text_begin_anew(redis: Redis, redis_url: str, writer: Live) -> None:
    mine = turn()
    draft = writer.begin(mine, 1, 1)
    draft.write("One model says this")
    wait_until(lambda: text_of(redis, mine) == "One model says this", 5, "the first text")
    numbers = [Draft().after(entries(redis, mine)).number]
    draft.write("")
    draft.write("Another one says more, but NO_ANSWER")
    wait_until(lambda: text_of(redis, mine) == "", 5, "the reset")
    numbers.append(Draft().after(entries(redis, mine)).number)
    again = writer.begin(mine, 2, 1)
    again.write("The second attempt")
    wait_until(lambda: text_of(redis, mine) == "The second attempt", 5, "the second attempt")
    numbers.append(Draft().after(entries(redis, mine)).number)
    assert numbers == sorted(set(numbers))
    before = len(entries(redis, mine))
    draft.write("Words of the first attempt, which was taken for dead")
    draft.finish()
    wait_until(lambda: len(entries(redis, mine)) > before, 5, "the late entry")
    assert text_of(redis, mine) == "The second attempt"
    held = Place(mine.id, numbers[0], 10)
    text, seen = asyncio.run(listen(redis_url, mine.id, held, until=bool))
    assert ([update.kind for update in seen], text) == (["reset", "delta"], "The second attempt")


def test_without_redis_nothing_waits_and_its_return_shows_the_whole_text(redis: Redis) -> None:
    away = [True]

    def connect() -> Any:
        return Redis(port=9, socket_connect_timeout=0.1, retry=Retry(NoBackoff(), 0)) if away[0] else redis

    writer, mine = Live(connect, "n", timedelta(milliseconds=10)), turn()
    draft = writer.begin(mine, 1, 1)
    draft.write("The beginning")
    wait_until(lambda: writer._failing, 5, "the failure")
    away[0] = False
    draft.write("The beginning and more")
    wait_until(lambda: text_of(redis, mine) == "The beginning and more", 5, "the whole text")
    assert not writer._failing
    writer.close()


def test_a_listener_who_comes_back_anywhere_loses_and_doubles_nothing(
    redis: Redis, redis_url: str, writer: Live
) -> None:
    """Its connection breaks again and again at random places while the text grows."""
    mine, dice = turn(), random.Random(5)

    async def scenario() -> tuple[str, int]:
        draft, held, place, breaks = writer.begin(mine, 1, 1), "", None, 0

        async def write() -> None:
            for end in range(0, len(TEXT), 7):
                draft.write(TEXT[:end])
                await asyncio.sleep(0.005)  # slow enough for the listener to break often on a busy machine too
            draft.write(TEXT)
            draft.finish()

        writing = asyncio.ensure_future(write())
        while held != FINAL and breaks < 500:
            enough = len(held) + dice.randint(1, 300)
            text, seen = await listen(
                redis_url, mine.id, place, until=lambda text, n=enough - len(held): len(text) >= n, seconds=0.5
            )  # type: ignore[misc]
            assert all(update.kind == "delta" for update in seen)
            if seen:
                assert seen[0].data["offset"] == len(held)
                place = parse_event_id(f"7{seen[-1].place}")[1]
            held, breaks = held + text, breaks + 1
        await writing
        return held, breaks

    held, breaks = asyncio.run(scenario())
    assert held == FINAL
    assert breaks > 10


def test_a_listener_is_told_nothing_of_another_turn_and_forgets_what_came_to_nothing(
    redis: Redis, redis_url: str, writer: Live
) -> None:
    mine, other = turn(), turn()
    writer.begin(mine, 1, 1).write("Mine")
    writer.begin(other, 1, 1).write("Of another customer")
    wait_until(lambda: text_of(redis, other) != "", 5, "the texts")
    text, _ = asyncio.run(listen(redis_url, mine.id, until=bool))
    assert text == "Mine"
    # A person took the conversation over, or the turn ended without a word.
    _, seen = asyncio.run(listen(redis_url, None, Place(mine.id, 1001, 3), until=lambda _: True))
    assert [(update.kind, update.place) for update in seen] == [("reset", Place(mine.id, 1001, 0))]


def test_after_its_message_a_text_is_not_told_again(redis: Redis, redis_url: str, writer: Live) -> None:
    """A second part of the answer may be on its way."""
    mine = turn()
    writer.begin(mine, 1, 1).write("Mine")
    wait_until(lambda: text_of(redis, mine) == "Mine", 5, "the text")

    async def scenario() -> list[list[str]]:
        reader, told = Reader(redis_url), []
        listener = Listener(reader)
        for _ in range(2):
            told.append([update.data["text"] async for update in listener.follow(mine.id, asyncio.Event(), 0.3)])
            listener.answered()
        listener.close()
        await reader.close()
        return told

    assert asyncio.run(scenario()) == [["Mine"], []]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("7", (7, None)),
        ("", (0, None)),
        ("x", (0, None)),
        ("7-x", (0, None)),
        ("99999999999", (0, None)),
        ("٧", (0, None)),
        (f"7-{'0' * 36}-1001-40", (7, Place("0" * 36, 1001, 40))),
        (f"7-{'0' * 36}-1001-4000000000", (0, None)),
    ],
)
def test_event_ids(given: str, expected: tuple[int, Place | None]) -> None:
    assert parse_event_id(given) == expected
    if expected[1]:
        assert f"{expected[0]}{expected[1]}" == given


def test_a_redis_that_is_full_is_tried_again(redis: Redis, writer: Live) -> None:
    draft = writer.begin(mine := turn(), 1, 1)
    draft.write("Text")
    wait_until(lambda: text_of(redis, mine) == "Text", 5, "the text")
    redis.execute_command("CONFIG", "SET", "maxmemory", "1")
    try:
        draft.write("Text that does not fit")
        wait_until(lambda: writer._failing, 5, "the refusal")
    finally:
        redis.execute_command("CONFIG", "SET", "maxmemory", "0")
    wait_until(lambda: text_of(redis, mine) == "Text that does not fit", 5, "another try")
    assert not writer._failing
