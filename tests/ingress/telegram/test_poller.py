"""Polling against a Bot API on a real socket: nothing confirmed that is not committed, one poller a bot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from ingress.channels.base import Inlet
from ingress.channels.telegram import mount
from ingress.channels.telegram.intake import Intake
from ingress.channels.telegram.poller import Poller
from pipeline.envelope import Envelope
from ragline.channels import TelegramAccount
from ragline.logs import configure_logging
from storage.inbox import Acceptance
from storage.models import PollLease
from storage.session import DatabaseUnavailable
from tests.ingress.telegram.world import TOKEN, World, world
from tests.support import faults
from tests.support.fake_telegram import FakeTelegram


@pytest.fixture
def telegram() -> Iterator[FakeTelegram]:
    with FakeTelegram() as found:
        yield found


@pytest.fixture
def here(tmp_path: Path, telegram: FakeTelegram) -> Iterator[World]:
    with world(tmp_path, TELEGRAM_API_BASE=telegram.url) as found:
        yield found


@pytest.fixture
def log_lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    """What was logged under an event name; the token never is."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    configure_logging("INFO", "json")
    root.handlers[:] = [caplog.handler]

    def lines(event: str) -> list[dict[str, Any]]:
        assert TOKEN not in str([record.__dict__ for record in caplog.records])
        found = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
        return [line for line in found if line["event"] == event]

    yield lines
    root.handlers[:], level = before
    root.setLevel(level)


class Pauses:
    """Pauses that are recorded instead of slept."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0.01)


def poller(here: World, *, inlet: Inlet | None = None, pauses: Pauses | None = None, lease: float = 30) -> Poller:
    inlet = inlet or here.inlet
    account = here.settings.accounts("telegram", TelegramAccount)["default"]
    intake = Intake("default", account, inlet)
    span = timedelta(seconds=lease)
    return Poller("default", account, inlet, intake, long_poll=5, lease=span, pause=pauses or Pauses())


@asynccontextmanager
async def running(*pollers: Poller) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(item.run()) for item in pollers]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(found: Callable[[], object], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not found():
            await asyncio.sleep(0.01)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


def leases(here: World) -> list[PollLease]:
    with here.database.read() as session:
        return list(session.exec(select(PollLease)))


class Failing:
    """An acceptor that fails before or after the real one has committed, as long as `broken` says so."""

    def __init__(self, here: World, broken: Callable[[Sequence[Envelope]], Exception | None], *, after: bool) -> None:
        self._real, self._broken, self._after = here.inlet.acceptor, broken, after
        self.quarantine = self._real.quarantine

    async def accept(self, envelopes: Sequence[Envelope]) -> list[Acceptance]:
        error = self._broken(envelopes)
        if error is not None and not self._after:
            raise error
        done = await self._real.accept(envelopes)
        if error is not None:
            raise error
        return done

    def inlet(self, here: World) -> Inlet:
        return replace(here.inlet, acceptor=self)  # type: ignore[arg-type]


def test_updates_are_accepted_and_confirmed(telegram: FakeTelegram, here: World) -> None:
    telegram.set_webhook("http://127.0.0.1:9/old", "x")
    for number in range(5):
        telegram.user_says(100 + number, f"question {number}")

    async def test() -> None:
        async with running(poller(here)):
            await until(lambda: telegram.pending_updates() == 0)
            telegram.user_says(7, "and later")
            await until(lambda: len(here.messages()) == 6)

    run(test)
    assert {message.text for message in here.messages()} == {*(f"question {n}" for n in range(5)), "and later"}
    methods = [call.method for call in telegram.calls]
    assert methods[:2] == ["deleteWebhook", "getUpdates"]
    assert telegram.calls[1].params["allowed_updates"][0] == "message"


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_between_commit_and_offset_loses_nothing(telegram: FakeTelegram, here: World, after: bool) -> None:
    sent = [telegram.user_says(100, f"question {number}") for number in range(3)]
    dying = Failing(here, lambda _: MemoryError("the process dies"), after=after)

    async def crash() -> None:
        with pytest.raises(ExceptionGroup):
            await poller(here, inlet=dying.inlet(here)).run()

    run(crash)
    assert telegram.pending_updates() == 3, "nothing was confirmed"
    assert len(here.messages()) == (3 if after else 0)

    async def again() -> None:
        async with running(poller(here)):
            await until(lambda: telegram.pending_updates() == 0)

    run(again)
    assert [m.external_id for m in here.messages()] == [str(u["message"]["message_id"]) for u in sent]
    assert here.quarantine() == []


def test_a_database_that_is_down_holds_the_batch(telegram: FakeTelegram, here: World) -> None:
    left = [3]

    def broken(_: object) -> Exception | None:
        left[0] -= 1
        return DatabaseUnavailable("down") if left[0] >= 0 else None

    pauses = Pauses()
    for number in range(3):
        telegram.user_says(100, f"question {number}")

    async def test() -> None:
        async with running(poller(here, inlet=Failing(here, broken, after=False).inlet(here), pauses=pauses)):
            await until(lambda: telegram.pending_updates() == 0)

    run(test)
    assert [message.text for message in here.messages()] == ["question 0", "question 1", "question 2"]
    assert pauses.seconds == [1.0, 2.0, 4.0]
    assert here.quarantine() == []


def test_one_update_the_database_refuses_does_not_hold_up_the_rest(telegram: FakeTelegram, here: World) -> None:
    with here.database.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON message WHEN NEW.text = 'poison' "
            "BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    for text in ("before", "poison", "after"):
        telegram.user_says(100, text)

    async def test() -> None:
        async with running(poller(here)):
            await until(lambda: telegram.pending_updates() == 0)

    run(test)
    assert [message.text for message in here.messages()] == ["before", "after"]
    assert [b"poison" in bytes(item.body) for item in here.quarantine()] == [True]


def test_an_acceptor_that_is_overrun_for_long_costs_no_message(telegram: FakeTelegram, here: World) -> None:
    overrun = Failing(here, lambda _: DatabaseUnavailable("too many messages wait"), after=False)
    for number in range(3):
        telegram.user_says(100, f"question {number}")

    async def test() -> None:
        async with running(poller(here, inlet=overrun.inlet(here))):
            await until(lambda: telegram.pending_updates() == 0)

    run(test)
    assert [message.text for message in here.messages()] == ["question 0", "question 1", "question 2"]
    assert here.quarantine() == []


def test_an_unreadable_update_goes_into_quarantine(telegram: FakeTelegram, here: World) -> None:
    telegram.push({"message": {"text": "from nowhere"}})
    telegram.push({"telepathy": {}})
    telegram.user_says(100, "hello")

    async def test() -> None:
        async with running(poller(here)):
            await until(lambda: telegram.pending_updates() == 0)

    run(test)
    assert [message.text for message in here.messages()] == ["hello"]
    assert [b"from nowhere" in bytes(item.body) for item in here.quarantine()] == [True]


def test_a_webhook_set_meanwhile_is_removed(
    telegram: FakeTelegram, here: World, log_lines: Callable[[str], list[dict[str, Any]]]
) -> None:
    async def test() -> None:
        async with running(poller(here)):
            await until(lambda: any(call.method == "getUpdates" for call in telegram.calls))
            telegram.set_webhook("http://127.0.0.1:9/other", "x")
            await until(lambda: log_lines("telegram_poll_failed"))
            telegram.user_says(100, "hello")
            await until(lambda: here.messages())

    run(test)
    (line,) = log_lines("telegram_poll_failed")
    assert "409" in line["reason"]
    assert "TELEGRAM_MODE=webhook" in line["advice"]
    assert [call.method for call in telegram.calls].count("deleteWebhook") == 2


@pytest.mark.parametrize(
    ("fault", "advice", "at_least"),
    [
        (faults.status(401), "TELEGRAM_BOT_TOKEN", 60),
        (faults.status(404), "TELEGRAM_BOT_TOKEN", 60),
        (faults.status(409, "Conflict: terminated by other getUpdates request"), "another program", 10),
        (faults.too_many(17), "asks to wait", 17),
        (faults.html(502), "network", 1),
        (faults.reset(after=False), "network", 1),
        (faults.broken("html"), "network", 1),
        (faults.status(400, "Bad Request: strange"), "network", 1),
    ],
)
def test_failures_are_told_and_waited_out(
    telegram: FakeTelegram,
    here: World,
    log_lines: Callable[[str], list[dict[str, Any]]],
    fault: faults.Fault,
    advice: str,
    at_least: float,
) -> None:
    telegram.faults.add(fault, "getUpdates")
    telegram.user_says(100, "hello")
    pauses = Pauses()

    async def test() -> None:
        async with running(poller(here, pauses=pauses)):
            await until(lambda: here.messages())

    run(test)
    (line,) = log_lines("telegram_poll_failed")
    assert advice in line["advice"]
    assert pauses.seconds[0] >= at_least


def test_an_outage_is_survived(telegram: FakeTelegram, here: World) -> None:
    telegram.stop()
    pauses = Pauses()

    async def test() -> None:
        async with running(poller(here, pauses=pauses)):
            await until(lambda: len(pauses.seconds) >= 4)
            telegram.start()
            telegram.user_says(100, "hello")
            await until(lambda: here.messages())

    run(test)
    assert pauses.seconds[3] > pauses.seconds[0], "the pauses grow"


def test_one_poller_a_bot_and_the_next_follows(telegram: FakeTelegram, here: World) -> None:
    def conflicts() -> int:
        return sum(call.status == 409 for call in telegram.calls)

    async def test() -> None:
        pollers = poller(here, lease=0.6), poller(here, lease=0.6)
        async with running(*pollers) as tasks:
            for number in range(20):
                telegram.user_says(100, f"question {number}")
                await asyncio.sleep(0.05)
            await until(lambda: telegram.pending_updates() == 0)
            assert [call.method for call in telegram.calls].count("deleteWebhook") == 1
            assert conflicts() == 0
            [held] = leases(here)
            holder = tasks[[one._owner for one in pollers].index(held.owner)]
            holder.cancel()
            await asyncio.gather(holder, return_exceptions=True)
            telegram.user_says(100, "the other one")
            await until(lambda: len(here.messages()) == 21)

    run(test)
    assert [call.method for call in telegram.calls].count("deleteWebhook") == 2
    assert leases(here) == []


def test_a_poller_that_lost_its_lease_stops(telegram: FakeTelegram, here: World) -> None:
    async def test() -> None:
        async with running(poller(here, lease=0.3)):
            await until(lambda: leases(here))
            await until(lambda: any(call.method == "getUpdates" for call in telegram.calls))
            with here.database.write() as session:
                (lease,) = session.exec(select(PollLease)).all()
                lease.owner, lease.until = "another-host.1.x", lease.until + timedelta(hours=1)
                session.add(lease)
            await asyncio.sleep(0.5)
            before = len(telegram.calls)
            telegram.user_says(100, "for the other one")
            await asyncio.sleep(0.5)
            assert len(telegram.calls) == before

    run(test)
    assert here.messages() == []
    assert [lease.owner for lease in leases(here)] == ["another-host.1.x"]


def test_it_stops_at_once_and_frees_the_lease(telegram: FakeTelegram, here: World) -> None:
    async def test() -> None:
        async with running(poller(here)) as tasks:
            await until(lambda: any(call.method == "getUpdates" for call in telegram.calls))
            tasks[0].cancel()
            async with asyncio.timeout(1):
                with pytest.raises(asyncio.CancelledError):
                    await tasks[0]

    run(test)
    assert leases(here) == []


def test_only_accounts_in_polling_mode_are_polled(tmp_path: Path) -> None:
    with world(tmp_path / "p", TELEGRAM_MODE="polling") as here:
        assert len(mount(here.inlet).background) == 1
    with world(tmp_path / "w", TELEGRAM_MODE="webhook") as here:
        assert len(mount(here.inlet).background) == 0
