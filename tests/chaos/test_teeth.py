"""The short run with one protection taken out of the real processes: each time the customers must notice."""

from pathlib import Path

import pytest

from tests.chaos.harness import run
from tests.chaos.plan import make_plan
from tests.chaos.report import Report
from tests.chaos.sabotage import environment

pytestmark = [pytest.mark.chaos, pytest.mark.stack, pytest.mark.timeout(400)]


#: Work that was not begun at once is handed out again at every sweep: most tasks come several times.
IMPATIENT = {"RAGLINE__TURN__PATIENCE": "0.2"}


def carry_out(tmp_path: Path, **environment: str) -> Report:
    plan = make_plan(1, messages=220, kills=10, flushes=1, rate=7)
    report = run("sqlite", plan, tmp_path, drain=20, **environment)
    print(report.table())
    return report


def without(what: str, tmp_path: Path, **more: str) -> Report:
    return carry_out(tmp_path, **environment(what, tmp_path / "sabotage"), **more)


def test_without_deduplication_customers_get_answers_twice(tmp_path: Path) -> None:
    report = without("dedup", tmp_path)
    assert report.doubled_outside > 0
    assert report.stored > report.asked


def test_tasks_that_come_several_times_do_no_harm(tmp_path: Path) -> None:
    assert carry_out(tmp_path, **IMPATIENT).violations == []


def test_without_compare_and_set_they_collide(tmp_path: Path) -> None:
    report = without("claim", tmp_path, **IMPATIENT)
    assert report.failed_turns + report.unexpected + report.lost + report.repeated_steps > 0


def test_without_the_sweeper_messages_are_lost(tmp_path: Path) -> None:
    assert without("sweeper", tmp_path).lost > 0


def test_with_a_lease_that_never_ends_messages_are_lost(tmp_path: Path) -> None:
    assert without("lease", tmp_path).lost > 0
