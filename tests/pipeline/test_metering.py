"""Budgets are reserved before a call and settled after it, by many threads and processes, on both databases."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select
from structlog.testing import capture_logs

from pipeline import llm
from pipeline.errors import BudgetSpent
from pipeline.metering import Spending
from pipeline.spending import Quote, Used
from ragline.settings import Settings
from storage.models import BudgetCounter, ModelCall
from storage.session import Database
from storage.spending import UNIT, Payer
from storage.spending_report import budgets
from tests.support.fake_openai import FakeOpenAI
from tests.support.spender import NOON, QUOTE, USED, make, spend

ANNA = Payer(channel="telegram", account="default", sender="anna")
BORIS = Payer(channel="telegram", account="default", sender="boris")


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def counters(database: Database) -> dict[tuple[str, str], tuple[Decimal, Decimal]]:
    """Spent and reserved by scope and period."""
    with database.read() as session:
        rows = session.exec(select(BudgetCounter)).all()
    return {(row.scope, row.period): (Decimal(row.spent) / UNIT, Decimal(row.reserved) / UNIT) for row in rows}


def ledger(database: Database) -> list[ModelCall]:
    with database.read() as session:
        return list(session.exec(select(ModelCall).order_by(col(ModelCall.id))).all())


def test_a_call_is_written_down_before_it_is_made_and_settled_after(database: Database) -> None:
    spending = make(database, Clock(), day=1, sender={"month": 1})
    held = spending.meter(ANNA).reserve(QUOTE)
    [row] = ledger(database)
    assert (row.outcome, row.reserved, row.cost, row.tokens_in) == ("reserved", Decimal("0.5"), None, 0)
    both = {("all", "2026-11-30"), ("sender", "2026-11")}
    assert counters(database) == dict.fromkeys(both, (Decimal(0), Decimal("0.5")))
    held.settle(USED, ms=12.5)
    [row] = ledger(database)
    assert (row.outcome, row.cost, row.currency, row.price_source) == ("answered", Decimal("0.1"), "USD", "settings")
    assert (row.provider, row.model, row.purpose, row.modality) == ("openai", "openai/m", "answer", "text")
    assert (row.tokens_in, row.tokens_out, row.ms, row.sender) == (80, 2, 12.5, "anna")
    assert counters(database) == dict.fromkeys(both, (Decimal("0.1"), Decimal(0)))


@pytest.mark.parametrize(("charged", "cost", "spent"), [(False, Decimal(0), Decimal(0)), (True, None, Decimal("0.5"))])
def test_a_failed_call_is_counted_only_where_it_may_have_been_paid(
    database: Database, charged: bool, cost: Decimal | None, spent: Decimal
) -> None:
    make(database, Clock(), day=1).meter(ANNA).reserve(QUOTE).release("timeout", ms=3, charged=charged)
    [row] = ledger(database)
    assert (row.outcome, row.error_class, row.cost) == ("failed", "timeout", cost)
    assert counters(database) == {("all", "2026-11-30"): (spent, Decimal(0))}


def test_a_spent_budget_refuses_and_says_which(database: Database) -> None:
    spending = make(database, Clock(), month=100, account={"day": "0.1"})
    spend(spending, ANNA)
    with capture_logs() as logs, pytest.raises(BudgetSpent, match=r"budget.account.day \(0.1 USD\) for 2026-11-30"):
        spend(spending, BORIS)
    with capture_logs() as later, pytest.raises(BudgetSpent):
        spend(spending, BORIS)
    assert [entry["event"] for entry in logs + later] == ["budget_spent"], "told once a period"
    assert len(ledger(database)) == 1
    assert counters(database)["all", "2026-11"] == (Decimal("0.1"), Decimal(0)), "what was taken is given back"


@pytest.mark.parametrize("scope", ["sender", "account", "conversation"])
def test_each_has_a_budget_of_its_own(database: Database, scope: str) -> None:
    spending = make(database, Clock(), **{scope: {"day": "0.1"}})
    elsewhere = Payer(channel="widget", account="default", sender="anna")
    for payer in (ANNA, elsewhere):
        spend(spending, payer)
    for payer in (ANNA, elsewhere):
        if scope == "conversation":
            spend(spending, payer)  # neither is of a conversation, so none is counted
        else:
            with pytest.raises(BudgetSpent):
                spend(spending, payer)
    if scope == "sender":
        spend(spending, BORIS)


def test_days_and_months_begin_where_the_company_is(database: Database) -> None:
    clock = Clock()
    spending = make(database, clock, day="0.1", month="0.3", time_zone="Asia/Yekaterinburg")
    clock.now = datetime(2026, 11, 29, 18, 59, tzinfo=UTC)
    spend(spending, ANNA)
    with pytest.raises(BudgetSpent):
        spend(spending, ANNA)
    clock.now += timedelta(minutes=1)  # midnight there
    spend(spending, ANNA)
    clock.now += timedelta(days=1)
    spend(spending, ANNA)
    assert set(counters(database)) == {("all", period) for period in (
        "2026-11-29", "2026-11-30", "2026-12-01", "2026-11", "2026-12")}  # fmt: skip
    assert counters(database)["all", "2026-12"] == (Decimal("0.1"), Decimal(0))


def test_a_budget_that_is_set_later_knows_what_was_spent(database: Database) -> None:
    clock = Clock()
    spend(make(database, clock), ANNA)
    spend(make(database, clock), BORIS)
    spending = make(database, clock, day="0.2", sender={"month": 1})
    with pytest.raises(BudgetSpent, match=r"budget\.day"):
        spend(spending, ANNA)
    spend(make(database, clock, sender={"month": 1}), ANNA)
    assert counters(database)["sender", "2026-11"] == (Decimal("0.2"), Decimal(0))


def test_near_the_limit_calls_go_alone_and_the_budget_is_used_up(database: Database) -> None:
    spending = make(database, Clock(), day="0.35")
    first = spending.meter(ANNA).reserve(QUOTE)
    with pytest.raises(BudgetSpent, match="held by calls under way"):
        spending.meter(ANNA).reserve(QUOTE)
    first.settle(USED, ms=1)
    for _ in range(3):
        spend(spending, ANNA)
    with pytest.raises(BudgetSpent, match="is spent"):
        spend(spending, ANNA)
    assert counters(database) == {("all", "2026-11-30"): (Decimal("0.4"), Decimal(0))}


def test_a_call_waits_for_the_room_that_others_hold(database: Database) -> None:
    spending = make(database, Clock(), wait=20, day="0.6")
    first = spending.meter(ANNA).reserve(QUOTE)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(spending.meter(BORIS).reserve, QUOTE)
        assert not second.done()
        first.settle(USED, ms=1)
        second.result(20).settle(USED, ms=1)
    assert counters(database) == {("all", "2026-11-30"): (Decimal("0.2"), Decimal(0))}


def test_the_money_of_a_dead_process_is_counted_and_put_right_if_it_lives(database: Database) -> None:
    clock = Clock()
    spending = make(database, clock, day=1)
    late = spending.meter(ANNA).reserve(QUOTE)
    spending.meter(BORIS).reserve(QUOTE)
    assert spending.release_dead() == 0
    clock.now += timedelta(seconds=61)
    with pytest.raises(BudgetSpent):
        spend(spending, ANNA)  # finds them itself: both may have been paid, and together they are the whole budget
    assert counters(database) == {("all", "2026-11-30"): (Decimal(1), Decimal(0))}
    assert [(row.outcome, row.cost) for row in ledger(database)] == [("abandoned", None)] * 2
    late.settle(USED, ms=70_000)
    late.settle(USED, ms=70_000)
    assert counters(database) == {("all", "2026-11-30"): (Decimal("0.6"), Decimal(0))}
    assert [row.outcome for row in ledger(database)] == ["answered", "abandoned"]


def test_one_warning_at_four_fifths(database: Database) -> None:
    spending = make(database, Clock(), day=1)
    with capture_logs() as logs:
        for _ in range(9):
            spend(spending, ANNA)
    [warning] = [entry for entry in logs if entry["event"] == "budget_nearly_spent"]
    assert (warning["budget"], warning["limit"], warning["spent"]) == ("budget.day", "1 USD", "0.8 USD")
    with database.read() as session:
        assert session.exec(select(BudgetCounter)).one().warned_at == NOON


def made(spending: Spending) -> int:
    """Calls until one is refused."""
    number = 0
    with suppress(BudgetSpent):
        while True:
            spend(spending, ANNA)
            number += 1
    return number


def test_a_budget_that_is_raised_warns_and_ends_anew(database: Database) -> None:
    def use(limit: str) -> list[str]:
        spending = make(database, Clock(), day=limit)  # as after a restart
        with capture_logs() as logs:
            assert made(spending) > 0
        with database.read() as session:
            [stands] = budgets(session.connection(), make(database, Clock(), day=9).limits())
        assert (stands.exhausted, stands.shown()["warned_at"], stands.shown()["exhausted_at"]) == (False, None, None)
        return [entry["event"] for entry in logs]

    told = ["budget_nearly_spent", "budget_spent"]
    assert [use("0.5"), use("1"), use("2")] == [told, told, told]


def test_a_free_model_is_asked_when_nothing_is_left(database: Database) -> None:
    values = {"budget": {"day": 0}, "llm": {"prices": {"ollama/own": {}}}}
    spending = Spending(database, Settings.model_validate(values), lambda model: None, Clock())
    spending.meter(ANNA).reserve(Quote("ollama/own", "answer", "text", 10, 10)).settle(Used(10, 10), ms=1)
    with pytest.raises(BudgetSpent):
        spending.meter(ANNA).reserve(QUOTE)
    [row] = ledger(database)
    assert (row.cost, row.price_source) == (0, "settings")


def test_several_processes_spend_one_budget_to_the_end_and_no_further(database: Database) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.support.spender", url]
    root = Path(__file__).parents[2]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(2)]
    made = [int(process.communicate(timeout=100)[0]) for process in processes]
    assert sum(made) == 30, "every call that the budget holds was made, and not one more"
    assert counters(database)["all", "2026-11-30"] == (Decimal(3), Decimal(0))
    rows = ledger(database)
    assert sum(row.cost or 0 for row in rows) == 3
    assert {row.outcome for row in rows} == {"answered"}


def test_threads_that_settle_and_sweep_at_once_lose_nothing(database: Database) -> None:
    clock = Clock()
    spending = make(database, clock, day=100, account={"month": 100}, sender={"day": 100})
    held = [spending.meter(payer).reserve(QUOTE) for payer in (ANNA, BORIS) for _ in range(8)]
    clock.now += timedelta(seconds=61)
    together = threading.Barrier(4)

    def settle(mine: list[Any]) -> None:
        together.wait(10)
        for one in mine:
            one.settle(USED, ms=1)

    def sweep() -> None:
        together.wait(10)
        spending.release_dead()

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(settle, held[:8]), pool.submit(settle, held[8:]), pool.submit(sweep), pool.submit(sweep)]
        for one in work:
            one.result(30)
    assert counters(database)["all", "2026-11-30"] == (Decimal("1.6"), Decimal(0))
    assert counters(database)["account", "2026-11"] == (Decimal("1.6"), Decimal(0))


def test_embeddings_are_counted_and_never_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"budget": {"day": "0.01"}, "llm": {"prices": {"openai/e": {"input": 100}}}}
    settings = Settings.model_validate(values)
    spending = Spending(database, settings, lambda model: None, Clock())
    with FakeOpenAI() as provider:
        monkeypatch.setenv("OPENAI_API_KEY", provider.api_key)
        monkeypatch.setenv("OPENAI_API_BASE", provider.api_base)
        llm.count_embeddings(spending.meter(Payer(), binding=False))
        try:
            for _ in range(3):
                llm.embed("openai/e", ["How long does the delivery to another town take?"] * 5, settings=settings.llm)
        finally:
            llm.count_embeddings(llm.UNMETERED)
        used = provider.totals("embeddings").prompt_tokens
    rows = ledger(database)
    assert [(row.purpose, row.outcome, row.turn_id) for row in rows] == [("embed", "answered", None)] * 3
    cost = Decimal(used) / 10_000
    assert sum(row.cost or 0 for row in rows) == cost > Decimal("0.01")
    assert counters(database) == {("all", "2026-11-30"): (cost, Decimal(0))}
    with pytest.raises(BudgetSpent):
        spending.meter(ANNA).reserve(Quote("openai/e", "answer", "text", 100, 1))
