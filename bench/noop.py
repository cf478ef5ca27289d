"""The yardstick: a chain of four Celery tasks that do nothing, on the queues and pools of the real one."""

from __future__ import annotations

import os
import threading

from celery import Celery, chain
from redis import Redis

app = Celery("noop")
app.config_from_object("celeryconfig")
app.conf.broker_url = os.environ["REDIS_URL"]
app.conf.task_queues = None
app.conf.task_create_missing_queues = True
app.conf.beat_schedule = {}
QUEUES = {"first": "noop-cpu", "second": "noop-cpu", "third": "noop-io", "last": "noop-io"}
app.conf.task_routes = {f"noop.{name}": {"queue": queue} for name, queue in QUEUES.items()}
_done = 0
_lock = threading.Lock()
_redis: Redis | None = None


@app.task(name="noop.first")
def first(number: int) -> None:
    """Nothing."""


@app.task(name="noop.second")
def second(number: int) -> None:
    """Nothing."""


@app.task(name="noop.third")
def third(number: int) -> None:
    """Nothing."""


@app.task(name="noop.last")
def last(number: int) -> None:
    """Nothing, and says when ``number`` of them are done."""
    global _done, _redis
    with _lock:
        _done += 1
        if _done == number:
            _done = 0
            _redis = _redis or Redis.from_url(os.environ["REDIS_URL"])
            _redis.lpush("noop-done", 1)


def submit(number: int) -> None:
    """One chain, of ``number`` in this run."""
    chain(*(app.signature(f"noop.{name}", args=(number,), immutable=True) for name in QUEUES)).apply_async()
