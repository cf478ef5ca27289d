"""The acceptor: many deliveries, one commit, and no delivery pays for its neighbour."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import event, text
from sqlmodel import SQLModel, select

from ingress.accept import Acceptor
from pipeline.envelope import Envelope, Sender
from ragline.ids import new_id
from storage.models import Message, Quarantine
from storage.session import Database, DatabaseUnavailable, make_engine

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def envelope(external_id, conversation="chat", account="default", **fields):
    return Envelope(
        **{
            "id": new_id(),
            "channel": "api",
            "account": account,
            "conversation": conversation,
            "external_id": external_id,
            "sender": Sender(id="u"),
            "kind": "text",
            "text": external_id,
            "received_at": NOW,
            **fields,
        }
    )


class Hinted:
    """Remembers hints, and can fail as they must not."""

    def __init__(self):
        self.news = []
        self.error = None

    def __call__(self, conversations):
        self.news.extend(conversations)
        if self.error:
            raise self.error


@pytest.fixture
def hints():
    return Hinted()


@pytest.fixture
def acceptor(database, hints):
    acceptor = Acceptor(database, hints)
    yield acceptor
    acceptor.close()


def count(database, table=Message):
    with database.read() as session:
        return len(session.exec(select(table)).all())


def commits(database):
    """Counts the transactions of the block."""
    seen = []
    event.listen(database.engine, "commit", lambda _: seen.append(1))
    return seen


def test_nothing_is_nothing(acceptor):
    assert asyncio.run(acceptor.accept([])) == []


def test_what_waits_together_is_committed_together(database, hints):
    seen = commits(database)

    async def scenario():
        acceptor = Acceptor(database, hints)
        try:
            with database.write() as session:  # holds the first group up, so that the others gather
                if not database.is_sqlite:
                    session.connection().execute(text("LOCK TABLE conversation IN EXCLUSIVE MODE"))
                session.connection().execute(text("UPDATE conversation SET last_seq = last_seq"))
                waiting = [asyncio.create_task(acceptor.accept([envelope(str(n), f"c{n}")])) for n in range(100)]
                await asyncio.sleep(0.3)
            return await asyncio.gather(*waiting)
        finally:
            acceptor.close()

    results = asyncio.run(scenario())
    assert [result.outcome for (result,) in results] == ["new"] * 100
    assert count(database) == 100
    assert 2 <= len(seen) <= 5  # the holder's, the first group's, the rest
    assert len(hints.news) == 100


def test_a_bad_row_does_not_refuse_its_neighbours(acceptor, database):
    """Found too long by PostgreSQL, and by SQLite not at all: only a real failure may be answered with one."""
    bad = envelope("bad", account="a" * 500)

    async def scenario():
        return await asyncio.gather(
            acceptor.accept([envelope("1", "a"), envelope("2", "a")]),
            acceptor.accept([bad]),
            acceptor.accept([envelope("3", "b")]),
            return_exceptions=True,
        )

    good, failed, also_good = asyncio.run(scenario())
    assert [result.outcome for result in good + also_good] == ["new"] * 3
    if database.is_sqlite:
        assert failed[0].outcome == "new"
    else:
        assert isinstance(failed, DatabaseUnavailable)
        assert "aaa" not in str(failed)
    assert count(database) == (4 if database.is_sqlite else 3)


def test_results_come_in_the_order_given_with_duplicates_among_them(acceptor, hints):
    first = envelope("1")

    async def scenario():
        return await acceptor.accept([first, envelope("1"), envelope("1", text="other"), envelope("2")])

    results = asyncio.run(scenario())
    acceptor.close()  # the hint follows the receipt
    assert [result.outcome for result in results] == ["new", "duplicate", "conflict", "new"]
    assert hints.news == [(results[0].conversation_id, "api", "default")]


def test_what_needs_no_answer_is_not_hinted_at(acceptor, hints):
    asyncio.run(acceptor.accept([envelope("1", kind="event")]))
    asyncio.run(acceptor.accept([envelope("2")]))
    acceptor.close()  # the hint follows the receipt
    assert len(hints.news) == 1


def test_a_hint_that_raises_costs_no_later_delivery(acceptor, hints, database):
    hints.error = RuntimeError("broken")
    asyncio.run(acceptor.accept([envelope("1")]))
    hints.error = None
    assert asyncio.run(asyncio.wait_for(acceptor.accept([envelope("2")]), 10))[0].seq == 2
    assert count(database) == 2


def test_a_caller_that_left_does_not_stop_the_others(acceptor, database):
    async def scenario():
        left = asyncio.create_task(acceptor.accept([envelope("1")]))
        await asyncio.sleep(0)
        left.cancel()
        return await acceptor.accept([envelope("2")])

    assert asyncio.run(scenario())[0].outcome == "new"
    assert count(database) == 2  # the first was committed although nobody waited


def test_observed_with_outcome_and_time(database, hints):
    observed = []
    acceptor = Acceptor(database, hints, observe=lambda *seen: observed.append(seen))
    try:
        asyncio.run(acceptor.accept([envelope("1"), envelope("1")]))
    finally:
        acceptor.close()
    ((envelopes, results, seconds),) = observed
    assert [e.external_id for e in envelopes] == ["1", "1"]
    assert [r.outcome for r in results] == ["new", "duplicate"]
    assert 0 < seconds < 30


def test_closing_finishes_what_waits_and_then_refuses(database, hints):
    acceptor = Acceptor(database, hints)

    async def scenario():
        waiting = [asyncio.create_task(acceptor.accept([envelope(str(n))])) for n in range(50)]
        await asyncio.sleep(0)
        await asyncio.to_thread(acceptor.close)
        results = await asyncio.gather(*waiting)
        with pytest.raises(DatabaseUnavailable, match="stopping"):
            await acceptor.accept([envelope("late")])
        return results

    assert sorted(result.seq for (result,) in asyncio.run(scenario())) == list(range(1, 51))
    assert count(database) == 50


def test_a_database_that_is_away_is_told_once_for_the_whole_group():
    """A connection that is refused costs its time-out; a hundred of them would cost a hundred."""
    database = Database(make_engine("postgresql+psycopg://nobody@127.0.0.1:9/none"))
    acceptor = Acceptor(database, lambda _: None)

    async def scenario():
        begun = time.monotonic()
        jobs = [acceptor.accept([envelope(str(n))]) for n in range(100)]
        return await asyncio.gather(*jobs, return_exceptions=True), time.monotonic() - begun

    try:
        results, seconds = asyncio.run(scenario())
    finally:
        acceptor.close()
        database.close()
    assert all(isinstance(result, DatabaseUnavailable) for result in results)
    assert seconds < 5


def test_a_database_without_tables_refuses_and_recovers_with_them(tmp_path, hints):
    database = Database(make_engine(f"sqlite:///{tmp_path / 'empty.sqlite3'}"))
    acceptor = Acceptor(database, hints)
    try:
        with pytest.raises(DatabaseUnavailable):
            asyncio.run(acceptor.accept([envelope("1")]))
        SQLModel.metadata.create_all(database.engine)
        assert asyncio.run(acceptor.accept([envelope("1")]))[0].outcome == "new"
    finally:
        acceptor.close()
        database.close()


def test_deliveries_from_several_loops_and_threads(acceptor, database):
    outcomes = []

    def deliver(worker):
        async def scenario():
            return await asyncio.gather(*(acceptor.accept([envelope(f"{n}", f"c{n % 3}")]) for n in range(30)))

        outcomes.extend(result.outcome for (result,) in asyncio.run(scenario()))

    threads = [threading.Thread(target=deliver, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count("new"), outcomes.count("duplicate")) == (30, 90)
    assert count(database) == 30


def test_quarantine(acceptor, database):
    asyncio.run(acceptor.quarantine("umnico", "default", b"{}", "no message"))
    assert count(database, Quarantine) == 1
