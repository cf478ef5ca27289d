"""No statement on the way of a message reads a whole table: its cost must not grow with what is stored."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event

from storage.migrate import upgrade
from storage.session import Database, make_engine
from storage.spending import Payer
from storage.spending_report import costs
from tests.storage.test_turns import deliver, has_waiting_in, open_turn, opened, say, to_outbox
from tests.support.spender import NOON, QUOTE, make, spend

TABLES = re.compile(r"SCAN (conversation|message|turn|step_run|outbox|red_flag|model_call|budget_counter)\b(?! USING)")


def plans(database: Database, statements: dict[str, Any]) -> list[str]:
    """The steps of the plans of all statements, each with its statement."""
    found: list[str] = []
    with database.read() as session:
        for statement, parameters in list(statements.items()):
            if statement.startswith(("SELECT", "UPDATE")):
                plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                found += [f"{step.detail}: {statement}" for step in plan]
    return found


def watched(tmp_path: Path) -> tuple[Database, dict[str, Any]]:
    """A database, and the statements it has executed, with their parameters."""
    url = f"sqlite:///{tmp_path}/plans.sqlite3"
    upgrade(url)
    database = Database(make_engine(url))
    statements: dict[str, Any] = {}

    @event.listens_for(database.engine, "before_cursor_execute")
    def keep(_: Any, __: Any, statement: str, parameters: Any, ___: Any, many: bool) -> None:
        statements[statement] = parameters[0] if many else parameters

    return database, statements


def test_accepting_and_answering_reads_indexes_only(tmp_path: Path) -> None:
    database, statements = watched(tmp_path)
    conversation = say(database, "one", "two", key="c1")
    say(database, "three", key="c2")
    [row] = to_outbox(database, opened(database, conversation))
    assert deliver(database, row, "m1") is not None
    assert open_turn(database, conversation) is None
    assert not has_waiting_in(database, conversation)
    assert len(statements) > 20
    assert [step for step in plans(database, statements) if TABLES.search(step)] == []
    database.close()


def test_paying_for_a_call_reads_indexes_only(tmp_path: Path) -> None:
    database, statements = watched(tmp_path)
    now = NOON
    budget = {name: {"day": 1, "month": 1} for name in ("account", "conversation", "sender")}
    spending = make(database, lambda: now, day=1, month=1, **budget)
    spend(spending, Payer(channel="api", account="default", sender="anna"))
    spending.meter(Payer()).reserve(QUOTE)
    now += timedelta(days=1)
    assert spending.release_dead() == 1
    with database.read() as session:
        assert costs(session.connection(), since=now)["total"] == []
    found = plans(database, statements)
    assert [step for step in found if TABLES.search(step)] == []
    begun = [step for step in found if "sum(model_call" in step]
    assert all("day" in step.partition(":")[0] for step in begun), (
        "a counter begins with its period, not with all calls"
    )
    database.close()
