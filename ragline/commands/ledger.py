"""The ledger for a command that works beside the base in use: in a copy of it, or on no base at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.llm import count_embeddings, listed_price
from pipeline.metering import Spending
from pipeline.spending import Booked, Meter, Quote, Reservation
from ragline.settings import Settings
from ragline.stack import folder
from storage.migrate import upgrade
from storage.session import Database, make_engine
from storage.spending import Payer


class Ledger:
    """Opened at the first call that is paid for: most of these commands make none, and need no database then.

    It needs no lock of the folder: a row more disturbs no stack that runs there. Thread-safe.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._database: Database | None = None
        self._spending: Spending | None = None

    def meter(self, purpose: Booked | None = None, *, binding: bool = True) -> Meter:
        """What calls of nobody's turn are paid from; see :meth:`Spending.meter`."""
        return _Meter(self, purpose, binding)

    def open(self) -> Spending:
        """Raises ``DatabaseUnavailable``: a call that cannot be written down is not made."""
        with self._lock:
            if self._spending is None:
                self._database = Database(make_engine(_address(self._settings)))
                self._spending = Spending(self._database, self._settings, listed_price)
            return self._spending

    def close(self) -> None:
        if self._database is not None:
            self._database.close()


@contextmanager
def ledger(settings: Settings) -> Iterator[Ledger]:
    """The ledger of the base in use, in which the embeddings of this process are counted until the block ends."""
    opened = Ledger(settings)
    before = count_embeddings(opened.meter(binding=False))
    try:
        yield opened
    finally:
        count_embeddings(before)
        opened.close()


class _Meter:
    def __init__(self, own: Ledger, purpose: Booked | None, binding: bool) -> None:
        self._own, self._purpose, self._binding = own, purpose, binding

    def reserve(self, quote: Quote) -> Reservation:
        paid = self._own.open().meter(Payer(), binding=self._binding, purpose=self._purpose)
        return paid.reserve(quote)


def _address(settings: Settings) -> str:
    """The database of a running stack, else that of the settings, which is made where it is not there yet."""
    data = folder.prepare(settings.data)
    running = folder.find_running(data)
    if running and not settings.database_url:
        return running.database_url
    upgrade(settings.database)
    return settings.database
