"""Task events for Flower, without the ones Celery loses under threads, and several a message.

Celery gathers task events in a list, publishes the list and empties it, with no lock in between (Celery 5.6,
``EventDispatcher.flush``): what a pool thread adds meanwhile is gone, and Flower shows a task that never ended. It also
publishes at every turn of its loop, an event or two at a time, which took a tenth of a worker's time.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from celery.app.events import Events as CeleryEvents
from celery.events.dispatcher import EventDispatcher

#: Seconds for which task events are gathered, and how many are sent sooner.
GATHER, MOST = 0.25, 500


class Dispatcher(EventDispatcher):  # type: ignore[misc]
    """Adds to the list and empties it under one lock; publishes the list every :data:`GATHER` seconds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._gathering = threading.RLock()  # before: the parent's constructor may flush
        super().__init__(*args, **kwargs)
        if self.buffer_group:
            self._gathered = threading.Event()
            self.on_send_buffered, self.buffer_limit = self._gathered.set, MOST
            threading.Thread(target=self._publish_gathered, name="task-events", daemon=True).start()

    def send(self, *args: Any, **kwargs: Any) -> Any:
        with self._gathering:
            return super().send(*args, **kwargs)

    def flush(self, *args: Any, **kwargs: Any) -> None:
        with self._gathering:
            super().flush(*args, **kwargs)

    def _publish_gathered(self) -> None:
        while self.producer is not None or not self.enabled:  # closed: its successor has taken what was left
            if self._gathered.wait(GATHER * 4):
                time.sleep(GATHER)
                self._gathered.clear()
                self.flush()


class Events(CeleryEvents):  # type: ignore[misc]
    """``Celery(events=...)``."""

    dispatcher_cls = "workers.events:Dispatcher"
