"""Engines and transactions.

SQLite under several processes: write-ahead log, ``BEGIN IMMEDIATE`` for writes (a deferred transaction
that turns into a write fails at once with *database is locked*), a busy time-out of 30 s, and
``synchronous=FULL`` where a message is accepted, ``NORMAL`` in workers (https://www.sqlite.org/wal.html).

PostgreSQL: workers commit with ``synchronous_commit=off``, but for what they say of the channel (``durable``). A server
that crashes forgets the newest of the other commits, never one in the middle
(https://www.postgresql.org/docs/current/wal-async-commit.html): a step is done again.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic_core import PydanticSerializationError, from_json, to_json, to_jsonable_python
from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection, Dialect, Engine, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    DisconnectionError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool
from sqlmodel import Session

from ragline.batching import Batched
from ragline.errors import ConfigurationError, TransientError
from ragline.settings import get_settings

#: Longest wait for SQLite's one writer, seconds.
BUSY = 30
#: Seconds after which an idle connection is asked whether it lives.
IDLE = 1
#: Pieces of work committed in one transaction at most.
GROUP = 16

#: ``file``: the lock this thread holds.
_writing = threading.local()
Result = TypeVar("Result")
#: What is to be done in a transaction. It may be done twice, so it touches nothing but the database.
Work = Callable[[Connection], Result]


class DatabaseUnavailable(TransientError):
    """The database does not answer; what was asked was not done."""


class _BrokenBefore(DatabaseUnavailable):
    """The connection broke before the commit was asked for."""


def parse_url(url: str) -> URL:
    """A database's address. Raises :class:`ConfigurationError`, which does not repeat it: it may hold a password."""
    try:
        parsed = make_url(url)
        dialect = parsed.get_dialect()
    except (ArgumentError, ValueError, ImportError):
        parsed = None
    if parsed is None or dialect.is_async or parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigurationError(
            "DATABASE_URL is no address of a database; it looks like postgresql://user:password@host/name "
            "or sqlite:////folder/file.sqlite3"
        )
    try:
        dialect.import_dbapi()
    except ImportError as error:
        raise ConfigurationError(
            f"DATABASE_URL asks for the driver {parsed.get_driver_name()}, which is not installed; "
            f"begin it with {parsed.get_backend_name()}://"
        ) from error
    return parsed


def make_engine(url: str, *, durable: bool = True, pool_size: int = 20) -> Engine:
    """An engine for ``url``. ``durable``: each commit waits for the disk."""
    parsed = parse_url(url)
    # hide_parameters: an error's text is logged, and parameters hold what customers wrote
    options: dict[str, Any] = {
        "json_serializer": _to_json,
        "json_deserializer": from_json,
        "pool_size": pool_size,
        "max_overflow": 10,
        "pool_timeout": 30,
        "hide_parameters": True,
    }
    if parsed.get_backend_name() != "sqlite":
        engine = create_engine(url, connect_args={"connect_timeout": 5}, **options)
        if not durable:
            event.listen(engine, "connect", _do_not_wait_for_the_disk)
        event.listen(engine, "checkin", _note_use)
        event.listen(engine, "checkout", partial(_ask_if_idle, engine.dialect))
        return engine

    if parsed.database and parsed.database != ":memory:":
        folder = Path(parsed.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"DATABASE_URL: the folder {folder} cannot be made ({error.strerror})") from error
    engine = create_engine(
        url, poolclass=QueuePool, connect_args={"timeout": BUSY, "check_same_thread": False}, **options
    )

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        cursor.execute("PRAGMA foreign_keys=ON")
        # A page written by several commits goes to the database once a checkpoint (16 MB of log, not 4), and what
        # a savepoint would need to go back stays in memory instead of in a file made for each.
        cursor.execute("PRAGMA wal_autocheckpoint=4000")
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("ragline_writes", False)
        driver: Any = connection.connection.driver_connection
        driver.execute("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _to_json(value: object) -> str:
    """JSON of any value, models within it included."""
    try:
        return to_json(value).decode()
    except PydanticSerializationError:  # half a surrogate pair, which JSON can write and UTF-8 cannot
        return json.dumps(to_jsonable_python(value))


def _do_not_wait_for_the_disk(connection: Any, _: Any) -> None:
    connection.execute("SET synchronous_commit TO off")
    connection.commit()


def _note_use(_: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()


def _ask_if_idle(dialect: Dialect, connection: Any, record: Any, _: Any) -> None:
    """Whether a connection that lay idle still lives; asking each time would cost each transaction a round trip."""
    if time.monotonic() - record.info.get("used", math.inf) > IDLE:
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            raise DisconnectionError("the server closed it") from error  # the pool makes another


@contextmanager
def _named() -> Iterator[None]:
    """The database's own errors by one name."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout, sqlite3.OperationalError) as error:
        cause = getattr(error, "orig", None) or error
        # Without a statement nothing that was stored can be in the text, and it is what has to be known: "too many
        # clients", "connection refused".
        unasked = getattr(error, "statement", None) is None and cause is not error
        said = f": {' '.join(str(cause).split())[-200:]}" if unasked else ""
        raise DatabaseUnavailable(
            f"the database does not answer ({type(cause).__name__}{said}); check DATABASE_URL and the disk"
        ) from error


@dataclass(frozen=True)
class _Done:
    """What became of one piece of work in a group."""

    result: Any = None
    error: Exception | None = None


class Database:
    """One database, with a transaction for reading, one for writing, and one for the work of many threads.

    All raise :class:`DatabaseUnavailable` when the database cannot be reached, or when a program that does not know
    the lock of ours keeps SQLite locked for :data:`BUSY` seconds.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writer = engine.execution_options(ragline_writes=True)
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        stored = self.is_sqlite and engine.url.database not in (None, "", ":memory:")
        self._lock_file = f"{engine.url.database}.lock" if stored else None

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for queries; whatever it changed is rolled back."""
        with self._session(self.engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session committed at the end of the block, rolled back when it raises."""
        with self._turn(), self._session(self._writer) as session:
            yield session
            session.commit()

    def commit(self, work: Work[Result], *, single: bool = False, durable: bool = False) -> Result:
        """Do ``work`` in a transaction, commit it, and return what it returned; what it raises is rolled back.

        SQLite has one writer, so there the work of all threads that wait is done in one transaction.

        On PostgreSQL, ``single``: one statement of it writes, which is then committed by itself, two round trips
        cheaper. ``durable``: the commit survives a crash of the server even where the engine's others may not. On
        SQLite every commit survives the death of its process.
        """
        done = self._grouped(work) if self.is_sqlite else self._commit_twice(work, single=single, durable=durable)
        if done.error is not None:
            raise done.error
        return cast("Result", done.result)

    def _commit_twice(self, work: Work[Any], *, single: bool, durable: bool) -> _Done:
        """Work whose connection broke before the commit left nothing behind, and is done once more on a new one.

        ``single`` work may have been committed by then; it must bear being done twice.
        """
        done = self._commit_one(work, single=single, durable=durable)
        again = isinstance(done.error, _BrokenBefore)
        return self._commit_one(work, single=single, durable=durable) if again else done

    @cached_property
    def _grouped(self) -> Batched[Work[Any], _Done]:
        return Batched(self._commit_group, most=GROUP)

    def _commit_group(self, group: Sequence[Work[Any]]) -> list[_Done]:
        if len(group) > 1:
            try:
                with self._transaction() as connection:
                    return [_Done(work(connection)) for work in group]
            except DatabaseUnavailable as error:
                return [_Done(error=error) for _ in group]
            except Exception:  # noqa: S110 - it is raised again below, where it spoils nobody else's work
                pass
        return [self._commit_one(work) for work in group]

    def _commit_one(self, work: Work[Any], *, single: bool = False, durable: bool = False) -> _Done:
        try:
            with self._transaction(single=single, durable=durable) as connection:
                return _Done(work(connection))
        except Exception as error:
            return _Done(error=error)

    @contextmanager
    def _transaction(self, *, single: bool = False, durable: bool = False) -> Iterator[Connection]:
        engine = self._autocommit if single else self._writer
        with self._turn(), _named(), engine.connect() as connection, nullcontext() if single else connection.begin():
            try:
                if durable:
                    connection.exec_driver_sql("SET LOCAL synchronous_commit TO on")
                yield connection
            except DBAPIError as error:
                if error.connection_invalidated:
                    raise _BrokenBefore("the database closed the connection") from error
                raise

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for SQLite's one writer at a lock of the system, which wakes the next one at once.

        SQLite's own way to wait is to sleep up to 100 ms and look again. The system frees the lock when its holder
        dies; who writes without it (another program) is waited for in SQLite's way.
        """
        if self._lock_file is None:
            yield
            return
        if getattr(_writing, "file", None) == self._lock_file:
            raise AssertionError("this thread has a transaction open and would wait for itself")
        try:
            lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DatabaseUnavailable(f"{self._lock_file} cannot be opened ({error.strerror})") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _writing.file = self._lock_file
            yield
        finally:
            _writing.file = None
            os.close(lock)

    @contextmanager
    def _session(self, engine: Engine) -> Iterator[Session]:
        with _named(), Session(engine, expire_on_commit=False) as session:
            yield session

    def ping(self) -> None:
        """Raise :class:`DatabaseUnavailable` unless a query comes back."""
        try:
            with self.engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1")
        except SQLAlchemyError as error:
            raise DatabaseUnavailable(f"the database does not answer ({type(error).__name__})") from error

    def close(self) -> None:
        self.engine.dispose()


@lru_cache(maxsize=2)
def get_database(*, durable: bool = True) -> Database:
    """The database of this process. Workers need not wait for the disk at each commit (``durable``)."""
    return Database(make_engine(get_settings().database, durable=durable))
