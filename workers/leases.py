"""Keeps the leases of the steps and sends this process is at, for as long as it lives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection

from ragline.logs import get_logger
from storage.session import Database, DatabaseUnavailable

log = get_logger(__name__)


#: Prolongs one lease: (connection, now, lease).
Extend = Callable[[Connection, datetime, timedelta], object]


class LeaseKeeper:
    """One thread a process renews every held lease three times a lease; most work ends before the first time."""

    def __init__(self, database: Database, lease: timedelta, clock: Callable[[], datetime]) -> None:
        self._database, self._lease, self._clock = database, lease, clock
        self._held: dict[object, Extend] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def hold(self, extend: Extend) -> Iterator[None]:
        """Keep a lease while the block runs."""
        key = object()
        with self._lock:
            self._held[key] = extend
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._held[key]

    def _renew(self, held: list[Extend], connection: Connection) -> None:
        for extend in held:
            extend(connection, self._clock(), self._lease)

    def _run(self) -> None:
        tick = threading.Event()
        while True:
            tick.wait(self._lease.total_seconds() / 3)
            with self._lock:
                held = list(self._held.values())
            if not held:
                continue
            try:
                self._database.commit(partial(self._renew, held))
            except DatabaseUnavailable as error:
                log.warning("leases_not_renewed", held=len(held), error=str(error))
