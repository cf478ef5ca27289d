"""Hints to the workers, read from a real Redis list as a worker would."""

from __future__ import annotations

import base64
import json
import logging
import time
from datetime import UTC, datetime

import pytest

from ingress.hints import Hints
from ragline.logs import configure_logging
from ragline.settings import load_settings


@pytest.fixture
def make_hints(redis_url, redis):
    made = []

    def make(url=redis_url, **environ):
        environ = {"REDIS_URL": url, "RAGLINE_API_KEY": "k", "RAGLINE_QUIET_WINDOW": "2", **environ}
        made.append(Hints(load_settings(environ)))
        return made[-1]

    yield make
    for hints in made:
        hints.close()


def sent(redis, wanted, seconds=10):
    """The tasks in the queue: (conversations, seconds until due)."""
    deadline = time.monotonic() + seconds
    while redis.llen("control") < wanted and time.monotonic() < deadline:
        time.sleep(0.02)
    tasks = []
    for raw in reversed(redis.lrange("control", 0, -1)):
        message = json.loads(raw)
        assert message["headers"]["task"] == "ragline.open_turns"
        args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
        assert kwargs == {}
        eta = message["headers"]["eta"]
        due = (datetime.fromisoformat(eta) - datetime.now(UTC)).total_seconds() if eta else 0
        tasks.append((args[0], due))
    return tasks


def test_one_task_a_window(make_hints, redis):
    make_hints()(
        [("a", "api", "default"), ("b", "widget", "default"), ("c", "api", "default"), ("a", "api", "default")]
    )
    tasks = dict((tuple(ids), due) for ids, due in sent(redis, 2))
    assert set(tasks) == {("a", "c"), ("b",)}
    assert tasks["a", "c"] == 0
    assert 1 < tasks["b",] <= 2


def test_what_gathers_goes_together_in_batches(make_hints, redis, monkeypatch):
    monkeypatch.setattr("ingress.hints.BATCH", 3)
    make_hints()((str(n), "api", "default") for n in range(7))
    assert [len(ids) for ids, _ in sent(redis, 3)] == [3, 3, 1]


def test_closing_sends_what_is_left(make_hints, redis):
    hints = make_hints()
    hints([("a", "api", "default")])
    hints.close()
    assert [ids for ids, _ in sent(redis, 1)] == [["a"]]
    hints([("b", "api", "default")])
    assert len(sent(redis, 1)) == 1


def test_a_broker_that_is_away_costs_nothing_and_is_reported_once(make_hints, capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    configure_logging()
    hints = make_hints("redis://127.0.0.1:9/0")
    begun = time.monotonic()
    for n in range(5):
        hints([(str(n), "api", "default")])
        assert time.monotonic() - begun < 1
        time.sleep(0.1)
    hints.close()
    assert time.monotonic() - begun < 5
    assert capsys.readouterr().out.count("hints_undelivered") == 1


def test_after_flushall_the_queue_still_works(make_hints, redis):
    hints = make_hints()
    hints([("a", "api", "default")])
    assert len(sent(redis, 1)) == 1
    redis.flushall()
    hints([("b", "api", "default")])
    assert [ids for ids, _ in sent(redis, 1)] == [["b"]]


def test_memory_is_bounded_while_the_broker_hangs(make_hints, monkeypatch):
    monkeypatch.setattr("ingress.hints.BACKLOG", 10)
    hints = make_hints()
    with hints._wake:  # the sender cannot take anything meanwhile
        hints((str(n), "api", "default") for n in range(1000))
        assert hints._size == 10
