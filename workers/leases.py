"""Keeps the leases of the steps this process is doing, for as long as it lives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from ragline.logs import get_logger
from storage import turns
from storage.session import Database, DatabaseUnavailable
from storage.turns import Claim

log = get_logger(__name__)


class LeaseKeeper:
    """One thread a process renews every held lease three times a lease; most steps end before the first time."""

    def __init__(self, database: Database, lease: timedelta, clock: Callable[[], datetime]) -> None:
        self._database, self._lease, self._clock = database, lease, clock
        self._held: dict[str, Claim] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def hold(self, claim: Claim) -> Iterator[None]:
        """Keep a claim's lease while the block runs."""
        with self._lock:
            self._held[claim.token] = claim
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._held[claim.token]

    def _run(self) -> None:
        tick = threading.Event()
        while True:
            tick.wait(self._lease.total_seconds() / 3)
            with self._lock:
                held = list(self._held.values())
            for claim in held:
                try:
                    with self._database.write() as session:
                        turns.extend(session, claim, now=self._clock(), lease=self._lease)
                except DatabaseUnavailable as error:
                    log.warning("lease_not_renewed", turn_id=claim.turn.id, error=str(error))
