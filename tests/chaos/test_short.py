"""Kills, pauses, a flush, broken connections, an absent database, all within a minute: each message answered once."""

from pathlib import Path

import pytest

from tests.chaos.harness import run
from tests.chaos.plan import make_plan

SEED = 1
pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_message_is_answered_once_and_in_order(database: str, tmp_path: Path) -> None:
    plan = make_plan(SEED, messages=180, kills=6, flushes=1, rate=8)
    report = run(database, plan, tmp_path)
    story = "\n".join([f"seed {SEED}", report.table(), *report.timeline])
    assert not report.violations, story
    # a row whose sender died twice is left to a person: docs/delivery.md, "Outbox"
    assert report.answered + report.held == report.asked == report.stored == 180, story
    # what was planned did happen
    assert sum(report.kills.values()) == 6, story
    assert report.blows["flush"] == 1, story
    assert report.ambiguous > 0, story
