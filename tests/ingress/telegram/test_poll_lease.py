"""The lease in SQL: one owner at a time, for as long as it says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage import poll_lease
from storage.session import Database
from tests.ingress.telegram.world import world

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=30)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with world(tmp_path) as here:
        yield here.database


def acquire(database: Database, owner: str, now: datetime = NOW, account: str = "default") -> bool:
    with database.write() as session:
        return poll_lease.acquire(session, channel="telegram", account=account, owner=owner, now=now, lease=LEASE)


def release(database: Database, owner: str) -> None:
    with database.write() as session:
        poll_lease.release(session, channel="telegram", account="default", owner=owner)


def test_one_owner_until_it_runs_out(database: Database) -> None:
    assert acquire(database, "a")
    assert not acquire(database, "b", NOW + LEASE / 2)
    assert acquire(database, "b", NOW + LEASE)
    assert not acquire(database, "a", NOW + LEASE * 1.5)


def test_an_owner_prolongs_its_own(database: Database) -> None:
    assert acquire(database, "a")
    assert acquire(database, "a", NOW + LEASE / 2)
    assert not acquire(database, "b", NOW + LEASE)


def test_accounts_are_apart(database: Database) -> None:
    assert acquire(database, "a")
    assert acquire(database, "b", account="second")


def test_a_released_lease_is_free_and_only_its_owner_releases(database: Database) -> None:
    assert acquire(database, "a")
    release(database, "b")
    assert not acquire(database, "b")
    release(database, "a")
    assert acquire(database, "b")


def test_of_many_at_once_one_gets_it(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda number: acquire(database, f"owner {number}"), range(8)))
    assert got.count(True) == 1


def test_the_lease_of_a_dead_process_of_this_host_is_taken_at_once(database: Database) -> None:
    program = "from storage.poll_lease import new_owner; print(new_owner())"
    root = Path(poll_lease.__file__).parent.parent
    made = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    dead = made.stdout.strip()
    assert len(dead) <= 36
    assert acquire(database, dead)
    assert acquire(database, poll_lease.new_owner(), NOW + LEASE / 10)


def test_the_lease_of_a_living_process_or_another_host_is_not(database: Database) -> None:
    living = poll_lease.new_owner()
    assert f".{os.getpid()}." in living
    assert acquire(database, living)
    assert not acquire(database, poll_lease.new_owner())
    release(database, living)
    assert acquire(database, "0123456789ab.999999999.deadbeef")
    assert not acquire(database, poll_lease.new_owner())
