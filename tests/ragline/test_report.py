"""``ragline report`` and what ``ragline doctor`` says of budgets."""

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipeline.spending import Quote, Used
from ragline.clock import utcnow
from ragline.commands.doctor import app as doctor
from ragline.commands.report import app as report
from ragline.commands.report_cost import _money
from storage.migrate import upgrade
from storage.session import Database, make_engine
from storage.spending import Payer
from tests.support.spender import QUOTE, USED, make

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    url = f"sqlite:///{tmp_path}/report.sqlite3"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("RAGLINE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RAGLINE__BUDGET__DAY", "1.2")
    monkeypatch.setenv("RAGLINE__BUDGET__SENDER__MONTH", "9")
    monkeypatch.setenv("COLUMNS", "200")
    upgrade(url)
    database = Database(make_engine(url))
    now = utcnow()
    anna = Payer(channel="telegram", account="shop", sender="anna")
    spending = make(database, lambda: now, day="1.2", sender={"month": 9})
    spending.meter(anna).reserve(QUOTE).settle(USED, ms=5)
    spending.meter(anna).reserve(QUOTE).release("timeout", ms=5, charged=True)
    spending.meter(anna).reserve(QUOTE).release("rate_limit", ms=5)
    heard = Quote("vllm/whisper", "transcribe", "voice", audio_seconds=30)
    spending.meter(Payer(channel="widget", account="default")).reserve(heard).settle(
        Used(audio_seconds=29.5, cost=None), ms=5
    )
    old = make(database, lambda: now - timedelta(days=30))
    old.meter(anna).reserve(QUOTE).settle(USED, ms=5)
    database.close()

    def invoke(app: typer.Typer, *arguments: str) -> str:
        done = CliRunner().invoke(app, list(arguments))
        assert done.exit_code == (0 if app is report else done.exit_code), done.stderr
        return done.stdout

    return invoke


def test_the_sums_are_those_of_the_calls(run: Run) -> None:
    found: dict[str, Any] = json.loads(run(report, "--json"))
    cost = found["cost"]
    [total] = cost["total"]
    assert (total["calls"], total["failed"], total["cost"], total["unpriced"]) == (4, 2, "0.1", 1)
    assert (total["tokens_in"], total["tokens_out"], total["audio_seconds"]) == (80, 2, 29.5)
    by = {
        name: {row[name]: Decimal(row["cost"]) for row in cost[name]}
        for name in ("model", "provider", "modality", "purpose", "account")
    }
    tenth = Decimal("0.1")
    assert by == {
        "model": {"openai/m": tenth, "vllm/whisper": 0},
        "provider": {"openai": tenth, "vllm": 0},
        "modality": {"text": tenth, "voice": 0},
        "purpose": {"answer": tenth, "transcribe": 0},
        "account": {"telegram/shop": tenth, "widget/default": 0},
    }
    [unpriced], [uncertain] = cost["unpriced"], cost["uncertain"]
    assert (unpriced["model"], unpriced["calls"], Decimal(unpriced["assumed"])) == (
        "vllm/whisper",
        1,
        Decimal("0.0295"),
    )
    assert (uncertain["model"], uncertain["calls"], Decimal(uncertain["assumed"])) == ("openai/m", 1, Decimal("0.5"))
    spent = {(row["scope"], row["key"]): (Decimal(row["spent"]), Decimal(row["limit"])) for row in found["budgets"]}
    assert spent == {
        ("all", ""): (Decimal("0.6295"), Decimal("1.2")),
        ("sender", "telegram/shop/anna"): (Decimal("0.6"), Decimal(9)),
    }
    older = json.loads(run(report, "--since", "60d", "--json"))
    assert older["cost"]["total"][0]["calls"] == 5
    assert len(older["cost"]["day"]) == 2


def test_people_see_what_has_no_price_apart(run: Run) -> None:
    shown = run(report)
    assert "0.1000 USD for 4 calls, 2 of them failed, 1 unpriced" in shown
    assert "0.1000 USD + 1 unpriced" in shown, "of the day"
    assert "set llm.prices" in shown
    assert "52%" in shown


def test_what_was_paid_is_never_shown_as_nothing() -> None:
    amounts = ("0", "0.00000124", "0.012345", "12.5")
    assert [_money({"cost": amount, "currency": "USD"}, "cost") for amount in amounts] == [
        "0.0000 USD",
        "0.0000012 USD",
        "0.0123 USD",
        "12.5000 USD",
    ]


def test_a_wrong_span_says_what_is_right(run: Run) -> None:
    done = CliRunner().invoke(report, ["--since", "yesterday"])
    assert done.exit_code == 2
    assert "--since yesterday" in done.stderr


def test_doctor_shows_a_spent_budget(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGLINE__BUDGET__DAY", "0.5")
    findings = {row["part"]: row for row in json.loads(run(doctor, "--json"))}
    assert findings["budget all"]["level"] == "warn"
    assert "no model is asked" in findings["budget all"]["remedy"]
    assert findings["budget sender"]["level"] == "ok"
