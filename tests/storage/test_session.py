"""Addresses that are none, work committed in groups, connections that break, and a writer that dies with the lock."""

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from ragline.errors import ConfigurationError
from storage.session import Database, DatabaseUnavailable, make_engine


@pytest.mark.parametrize("url", ["foo", "mysql://u:s3cret@h/d", "nodb+x://u:s3cret@h/d", "postgresql://u:s3cret@h:x/d"])
def test_a_wrong_address_is_one_line_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL") as raised:
        make_engine(url)
    assert "s3cret" not in str(raised.value)


@pytest.fixture
def numbers(database: Database) -> Database:
    with database.write() as session:
        session.connection().execute(text("CREATE TABLE number (n INTEGER PRIMARY KEY)"))
    return database


def insert(connection: Connection, number: int) -> int:
    connection.execute(text("INSERT INTO number VALUES (:n)"), {"n": number})
    return number


def stored(database: Database) -> list[int]:
    with database.read() as session:
        return list(session.connection().execute(text("SELECT n FROM number ORDER BY n")).scalars())


def test_what_several_threads_commit_is_there_and_a_failure_is_its_callers_alone(numbers: Database) -> None:
    gate, begun = threading.Event(), threading.Event()

    def first(connection: Connection) -> int:
        begun.set()
        gate.wait(5)
        return insert(connection, 0)

    with ThreadPoolExecutor(9) as pool:
        results = [pool.submit(numbers.commit, first)]
        begun.wait(5)
        # 3 comes twice: the second one breaks the primary key, and with it whatever shares its transaction.
        wanted = [1, 2, 3, 3, 4, 5]
        results += [pool.submit(numbers.commit, lambda c, n=number: insert(c, n)) for number in wanted]  # type: ignore[misc]
        time.sleep(0.2)
        gate.set()
        errors = [result.exception(10) for result in results]
    assert stored(numbers) == [0, 1, 2, 3, 4, 5]
    assert [type(error).__name__ for error in errors if error] == ["IntegrityError"]


def test_a_group_is_one_transaction_on_sqlite(tmp_path: Path) -> None:
    database = Database(make_engine(f"sqlite:///{tmp_path}/group.sqlite3"))
    transactions: list[Any] = []
    gate, begun = threading.Event(), threading.Event()

    def work(connection: Connection) -> None:
        transactions.append(connection.get_transaction())
        begun.set()
        gate.wait(5)

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(database.commit, work)]
        begun.wait(5)
        results += [pool.submit(database.commit, work) for _ in range(3)]
        time.sleep(0.2)
        gate.set()
        for result in results:
            result.result(5)
    assert len(transactions) == 4
    assert len({id(transaction) for transaction in transactions}) == 2


@pytest.mark.parametrize("empty_database_url", ["postgresql"], indirect=True)  # SQLite has no server
def test_work_is_done_again_where_the_server_had_closed_the_connection(numbers: Database) -> None:
    numbers.commit(lambda connection: insert(connection, 1))
    with numbers.engine.connect() as other:
        # Not through the pool's own knowledge: the server ends every other session of this database.
        other.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
        assert numbers.commit(lambda connection: insert(connection, 2)) == 2
    assert stored(numbers) == [1, 2]


def test_a_transaction_inside_another_is_a_fault_and_does_not_hang(tmp_path: Path) -> None:
    database = Database(make_engine(f"sqlite:///{tmp_path}/nested.sqlite3"))
    with database.write():
        with pytest.raises(AssertionError, match="wait for itself"):
            database.commit(lambda connection: None)
        with pytest.raises(AssertionError, match="wait for itself"), database.write():
            pass
    assert database.commit(lambda connection: 1) == 1


HOLDER = """
import sys, time
from storage.session import Database, DatabaseUnavailable, make_engine
with Database(make_engine(sys.argv[1])).write():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_writer_that_is_killed_holds_nobody_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/lock.sqlite3"
    database = Database(make_engine(url))
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == b"held\n"
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(database.commit, lambda connection: 1)
            time.sleep(0.3)
            assert not waiting.done(), "one writer at a time"
            holder.send_signal(signal.SIGKILL)
            holder.wait(10)
            assert waiting.result(5) == 1


def test_what_keeps_a_connection_from_being_made_is_said(postgres_url: str) -> None:
    database = Database(make_engine(postgres_url.replace("/postgres?", "/nowhere?")))
    with pytest.raises(DatabaseUnavailable, match='database "nowhere" does not exist'), database.read() as session:
        session.connection()
    database.close()
