"""Tells the workers that conversations have something new. Only a hint: SQL is the truth.

What the broker does not get, the sweeper finds; so nothing here waits, is tried for long, or fails an
acceptance.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from celery import Celery

from ragline import transport
from ragline.logs import get_logger
from ragline.settings import Settings

TASK = "ragline.open_turns"
QUEUE = "control"
#: Conversations in one message, and conversations that may wait for the broker.
BATCH, BACKLOG = 500, 20_000
#: Seconds in which hints gather after one was sent; the first is sent at once.
GATHER = 0.05
#: Longest wait for the broker's answer, seconds.
TIMEOUT = 3
log = get_logger(__name__)


def _celery(settings: Settings) -> Any:
    transport.install()
    app = Celery("ragline.ingress", set_as_current=False)
    app.config_from_object("celeryconfig")
    if settings.redis_url:
        app.conf.broker_url = settings.redis_url
    app.conf.broker_transport_options = {
        **app.conf.broker_transport_options,
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
        # Without a limit a publisher looks for its broker for ever.
        "max_retries": 0,
    }
    app.conf.broker_connection_timeout = TIMEOUT
    app.conf.broker_pool_limit = 1  # one thread publishes
    return app


class Hints:
    """Gathers hints and sends one task a quiet window, from a thread of its own.

    Publishing a task costs as much as accepting several messages, so under load many conversations share one.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app = _celery(settings)
        self._pending: dict[float, dict[str, None]] = {}
        self._size = 0
        self._outage = False
        self._closed = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="hints", daemon=True)
        self._thread.start()

    def __call__(self, conversations: Iterable[tuple[str, str, str]]) -> None:
        """Hint at conversations, given as (id, channel, account). Returns at once and never raises."""
        with self._wake:
            for conversation_id, channel, account in conversations:
                if self._closed or self._size >= BACKLOG:
                    return
                window = self._settings.quiet_window(channel, account).total_seconds()
                waiting = self._pending.setdefault(window, {})
                if conversation_id not in waiting:
                    waiting[conversation_id] = None
                    self._size += 1
            self._wake.notify()

    def close(self) -> None:
        """Send what is gathered and stop."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(2 * TIMEOUT)
        self._app.close()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._pending and not self._closed:
                    self._wake.wait()
                pending, self._pending, self._size = self._pending, {}, 0
                closed = self._closed
            for window, conversations in pending.items():
                rest = iter(conversations)
                while batch := list(islice(rest, BATCH)):
                    self._send(batch, window)
            if closed:
                return
            with self._wake:
                self._wake.wait_for(lambda: self._closed, GATHER)

    def _send(self, conversations: Sequence[str], window: float) -> None:
        try:
            self._app.send_task(
                TASK, args=[list(conversations)], queue=QUEUE, countdown=window or None, retry=False, ignore_result=True
            )
        except Exception as error:
            # Every broker library has its own errors, and none of them may end this thread.
            if not self._outage:
                log.warning("hints_undelivered", error=type(error).__name__, conversations=len(conversations))
            self._outage = True
        else:
            if self._outage:
                log.info("hints_resumed")
            self._outage = False
