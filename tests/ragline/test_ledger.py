"""What commands pay providers for is in the ledger, to the last token, and under which budgets."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlmodel import select
from typer.testing import CliRunner

from ragline.commands import ask, eval, kb
from storage.models import BudgetCounter, ModelCall
from storage.session import Database, make_engine
from storage.spending import UNIT
from tests.support.fake_openai import FakeOpenAI

Run = Callable[..., Any]
#: Of a million tokens: embedded, read, written.
PRICES = """
llm:
  routes: {text: [openai/writes]}
  prices: {openai/vectors: {input: 1}, openai/writes: {input: 1000, output: 4000}}
knowledge: {store: faiss, embedder: "litellm:openai/vectors"}
answer: {direct_threshold: 1, grounded_threshold: 0, modes: [grounded]}
budget: {month: 1000}
"""


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    (tmp_path / "ragline.yaml").write_text(PRICES)
    with FakeOpenAI() as provider:
        environment = {
            "RAGLINE_CONFIG": str(tmp_path / "ragline.yaml"), "RAGLINE_DATA": str(tmp_path / "data"),
            "DATABASE_URL": f"sqlite:///{tmp_path}/base.sqlite3", "CHROMA_URL": "http://127.0.0.1:9",
            "OPENAI_API_KEY": provider.api_key, "OPENAI_API_BASE": provider.api_base,
        }  # fmt: skip
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield provider


def run(app: typer.Typer, *arguments: str, code: int = 0) -> Any:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout.splitlines()[-1]) if code == 0 else done.output


def booked(tmp_path: Path) -> tuple[dict[str, list[ModelCall]], Decimal]:
    """Calls by purpose, and what the month's budget has paid."""
    database = Database(make_engine(f"sqlite:///{tmp_path}/base.sqlite3"))
    with database.read() as session:
        calls, counter = session.exec(select(ModelCall)).all(), session.exec(select(BudgetCounter)).one()
    database.close()
    purposes = {call.purpose for call in calls}
    return {name: [call for call in calls if call.purpose == name] for name in purposes}, Decimal(counter.spent) / UNIT


def test_every_call_of_a_command_is_in_the_ledger(
    provider: FakeOpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(kb.app, "add", "How long does the delivery take?", "-a", "The delivery takes two days.", "--id", "a")
    run(kb.app, "search", "How long does it take?")
    asked = run(ask.app, "How long is the delivery?")
    (tmp_path / "asked.txt").write_text("How long does a delivery take?\n")
    kept = ("save", str(tmp_path / "kept.json"), "--questions", str(tmp_path / "asked.txt"))
    run(eval.app, *kept, "--with-model")

    calls, spent = booked(tmp_path)
    assert set(calls) == {"embed", "answer", "evaluate"}
    assert {call.outcome for one in calls.values() for call in one} == {"answered"}
    embedded, written = provider.totals("embeddings"), provider.totals("chat")
    assert len(calls["embed"]) == len(provider.wait_requests(1, route="embeddings"))
    assert sum(call.tokens_in for call in calls["embed"]) == embedded.prompt_tokens
    assert len(calls["answer"]) == len(calls["evaluate"]) == 1
    billed = Decimal(embedded.prompt_tokens + 1000 * written.prompt_tokens + 4000 * written.completion_tokens) / 10**6
    assert sum((call.cost or 0 for one in calls.values() for call in one), Decimal(0)) == billed == spent
    steps = sum(Decimal(step["cost"]) for step in asked["steps"])
    assert (steps, asked["currency"]) == (calls["answer"][0].cost, "USD"), "a command shows what the ledger says"

    monkeypatch.setenv("RAGLINE__BUDGET__MONTH", str(spent))
    assert "is spent" in run(eval.app, *kept, "--with-model", code=1)
    run(kb.app, "search", "Is it quick?")
    later, more = booked(tmp_path)
    assert len(later["evaluate"]) == 1
    assert more > spent, "searching is counted, and never refused"
