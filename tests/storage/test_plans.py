"""No statement on the way of a message reads a whole table: its cost must not grow with what is stored."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sqlalchemy import event

from storage.migrate import upgrade
from storage.session import Database, make_engine
from tests.storage.test_turns import deliver, has_waiting_in, open_turn, opened, say, to_outbox

TABLES = re.compile(r"SCAN (conversation|message|turn|step_run|outbox|red_flag)\b(?! USING)")


def test_accepting_and_answering_reads_indexes_only(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/plans.sqlite3"
    upgrade(url)
    database = Database(make_engine(url))
    statements: dict[str, Any] = {}

    @event.listens_for(database.engine, "before_cursor_execute")
    def keep(_: Any, __: Any, statement: str, parameters: Any, ___: Any, many: bool) -> None:
        statements[statement] = parameters[0] if many else parameters

    conversation = say(database, "one", "two", key="c1")
    say(database, "three", key="c2")
    [row] = to_outbox(database, opened(database, conversation))
    assert deliver(database, row, "m1") is not None
    assert open_turn(database, conversation) is None
    assert not has_waiting_in(database, conversation)
    assert len(statements) > 20
    scans: list[str] = []
    with database.read() as session:
        for statement, parameters in list(statements.items()):
            if statement.startswith(("SELECT", "UPDATE")):
                plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                scans += [f"{step.detail}: {statement}" for step in plan if TABLES.search(step.detail)]
    assert scans == []
