"""Task events for Flower, without the ones Celery loses under threads.

Celery gathers task events in a list, publishes the list and empties it, with no lock in between (Celery 5.6,
``EventDispatcher.flush``): what a pool thread adds meanwhile is gone, and Flower shows a task that never ended.
"""

from __future__ import annotations

import threading
from typing import Any

from celery.app.events import Events as CeleryEvents
from celery.events.dispatcher import EventDispatcher


class Dispatcher(EventDispatcher):  # type: ignore[misc]
    """Adds to the list and empties it under one lock."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._gathering = threading.RLock()  # before: the parent's constructor may flush
        super().__init__(*args, **kwargs)

    def send(self, *args: Any, **kwargs: Any) -> Any:
        with self._gathering:
            return super().send(*args, **kwargs)

    def flush(self, *args: Any, **kwargs: Any) -> None:
        with self._gathering:
            super().flush(*args, **kwargs)


class Events(CeleryEvents):  # type: ignore[misc]
    """``Celery(events=...)``."""

    dispatcher_cls = "workers.events:Dispatcher"
