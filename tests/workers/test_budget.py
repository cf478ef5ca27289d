"""A budget that ends: the service answers on without a model, and what was spent agrees with the provider's count.

`make budget-drill` runs the drill in full size.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlmodel import select

from pipeline.llm import make_language_model
from pipeline.steps.retrieve import Passage, Retrieval
from ragline.settings import Settings
from storage import replay, rows, turns
from storage.answers import message_state
from storage.models import Message, ModelCall, Outbox, RedFlag, StepRun, Turn
from storage.session import Database
from storage.spending_report import budgets, costs
from tests.support import faults
from tests.support.fake_openai import FakeOpenAI
from tests.workers.test_steps import World, world
from workers.steps import StepRetry, run_step

__all__ = ["world"]

TURNS = int(os.environ.get("DRILL_TURNS", "100"))
CALLS = int(os.environ.get("DRILL_CALLS", "20"))
MODEL = "openai/gpt-4.1-mini"
#: Dear enough for cents to be seen: a token in costs 0.001, one out 0.004.
PRICE = {"input": 1000, "output": 4000}


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    with FakeOpenAI(latency=0.02) as provider:
        monkeypatch.setenv("OPENAI_API_KEY", provider.api_key)
        monkeypatch.setenv("OPENAI_API_BASE", provider.api_base)
        yield provider


def equip(w: World, models: dict[str, dict[str, int]] | None = None, **budget: Any) -> None:
    """A real model, or two that are each asked twice, paid from these budgets."""
    prices = models or {MODEL: PRICE}
    w.runtime.settings = Settings.model_validate(
        {
            "answer": {"direct_threshold": 0.9, "grounded_threshold": 0.1, "max_tokens": 400},
            "llm": {"routes": {"text": list(prices)}, "prices": prices, "cooldown": 0, "max_retries": len(prices) - 1},
            "turn": {"max_attempts": 3, "retry_base": 1},
            "budget": budget,
        }
    )
    for made_before in ("spending", "policy", "load"):
        w.runtime.__dict__.pop(made_before, None)
    w.runtime.__dict__["model"] = make_language_model(w.runtime.settings)


def reopened(w: World, turn_id: str) -> None:
    """The turn ends as answered and is asked for again."""
    zero = timedelta()
    with w.database.write() as session:
        turn = session.get_one(Turn, turn_id)
        turn.status, turn.step = "answered", None
        for row in session.exec(select(Outbox).where(Outbox.turn_id == turn_id)):
            row.status = "sent"
        session.flush()
        assert replay.request(session, turn_id, replay.Wish(force=True)).from_step == "classify"
        session.flush()
        talk = rows.conversation(session.connection(), turn.conversation_id)
        assert talk is not None
        again = turns.open_turn(
            session.connection(), talk, now=w.now, quiet=zero, longest_wait=zero, max_messages=1, patience=zero,
            window=zero,
        )  # fmt: skip
    assert isinstance(again, turns.Opened)
    assert again.turn.id == turn_id


def price_of(provider: FakeOpenAI) -> Decimal:
    """What the provider would bill."""
    used = provider.totals("chat", unanswered=True)
    return (Decimal(used.prompt_tokens) * PRICE["input"] + Decimal(used.completion_tokens) * PRICE["output"]) / 10**6


@pytest.mark.timeout(900)
def test_the_budget_drill(
    world: Callable[..., World], database: Database, provider: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    w = world(confidence=0.3)
    equip(w)
    w.steps(w.turn_in("first"))
    each = price_of(provider)
    budget = each * (CALLS + 1)
    equip(w, day=budget)
    turns = [w.turn_in(f"customer {number}") for number in range(TURNS)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(w.steps, turns))

    with database.read() as session:
        calls = session.exec(select(ModelCall)).all()
        found = session.exec(select(Turn).where(Turn.step.is_(None))).all()  # type: ignore[union-attr]
        flags = session.exec(select(RedFlag.cause)).all()
        failures = session.exec(select(StepRun).where(StepRun.outcome != "ok")).all()
        report = costs(session.connection(), since=w.now - timedelta(days=1))
        [budgeted] = budgets(session.connection(), w.runtime.spending.limits())
    asked = provider.wait_requests(1, route="chat")
    worst = max(call.reserved for call in calls)
    if "DRILL_TURNS" in os.environ:
        done = f"{len(asked) - 1} of {CALLS} calls, {TURNS} turns, spent {price_of(provider) - each} of {budget - each}"
        with capsys.disabled():
            print(f"\n{database.engine.dialect.name}: {done}, the most a call could cost {worst}")
    assert price_of(provider) <= budget + worst
    assert len(asked) - 1 >= 0.95 * CALLS
    modes = Counter(turn.mode for turn in found)
    assert modes == {"grounded": len(asked), "unknown": TURNS + 1 - len(asked)}
    assert Counter(flags) == {"budget": modes["unknown"]}
    assert failures == []
    [total] = report["total"]
    assert Decimal(total["cost"]) == price_of(provider) == Decimal(budgeted.shown()["spent"])
    assert (total["calls"], total["unpriced"], total["uncertain"]) == (len(asked), 0, 0)
    used = provider.totals("chat")
    assert (total["tokens_in"], total["tokens_out"]) == (used.prompt_tokens, used.completion_tokens)
    assert sum(Decimal(row["cost"]) for row in report["model"]) == Decimal(total["cost"])
    assert budgeted.state.reserved == 0
    assert budgeted.state.exhausted_at is not None


def test_the_sums_are_the_providers_with_fallbacks_retries_and_streams_cut(
    world: Callable[..., World], database: Database, provider: FakeOpenAI
) -> None:
    w = world(confidence=0.3)
    prices = {"openai/first": PRICE, "openai/second": {"input": 3000, "output": 7000}}
    equip(w, prices, day=10_000)
    troubles = [
        (faults.status(500), 1), (faults.status(500), 2), (faults.cut(), 1), (faults.reset(), 2), (faults.broken(), 1),
        (faults.status(503, after=True), 1), (faults.too_many(), 1),
    ]  # fmt: skip
    for number, (fault, times) in enumerate(troubles):
        provider.faults.add(fault, "chat", chat="first", times=times)
        w.steps(w.turn_in(f"customer {number}"))
    assert provider.faults.pending() == []

    def billed(*, answered: bool) -> Decimal:
        made = [one for one in provider.requests if one.answered is answered]
        costs = (
            one.usage.prompt_tokens * prices[f"openai/{one.model}"]["input"]
            + one.usage.completion_tokens * prices[f"openai/{one.model}"]["output"]
            for one in made
        )
        return Decimal(sum(costs)) / 10**6

    with database.read() as session:
        report = costs(session.connection(), since=w.now - timedelta(days=1))
        calls = session.exec(select(ModelCall)).all()
        [budgeted] = budgets(session.connection(), w.runtime.spending.limits())
    [total] = report["total"]
    nobody_heard = [call for call in calls if call.cost is None]
    assert Decimal(total["cost"]) == billed(answered=True)
    assert total["calls"] == len(calls) == len(provider.calls)
    assert {call.error_class for call in nobody_heard} == {"connection", "server_error"}
    assert Decimal(total["assumed"]) >= billed(answered=False), "what nobody heard of is counted at its most"
    assert Decimal(budgeted.shown()["spent"]) == Decimal(total["cost"]) + Decimal(total["assumed"])
    assert budgeted.state.reserved == 0


def test_a_budget_that_is_raised_answers_a_replay_once(world: Callable[..., World], provider: FakeOpenAI) -> None:
    w = world(confidence=0.3)
    equip(w, day=0)
    turn_id = w.turn()
    w.steps(turn_id)
    assert (w.one(Turn, turn_id).mode, w.one(RedFlag, turn_id).cause) == ("unknown", "budget")
    equip(w, day=100)
    reopened(w, turn_id)
    written = w.steps(turn_id).rows
    w.steps(turn_id)
    assert (w.one(Turn, turn_id).mode, len(written), len(provider.requests)) == ("grounded", 1, 1)
    assert w.one(ModelCall, turn_id).cost == price_of(provider)


def test_a_spent_budget_asks_back_where_items_are_close(world: Callable[..., World], provider: FakeOpenAI) -> None:
    w = world()
    likely = (("a", 0.6), ("b", 0.3))
    close = [Passage(id=i, score=score, question=f"About {i}?", answer=f"{i}.", locale="en") for i, score in likely]
    w.runtime.__dict__["_searcher"].found = Retrieval(passages=tuple(close), confidence=0.6)
    equip(w, day=0)
    turn_id = w.turn()
    w.steps(turn_id)
    assert (w.one(Turn, turn_id).mode, w.one(RedFlag, turn_id).cause) == ("clarify", "budget")
    assert provider.requests == []


def test_a_turns_usage_is_the_sum_of_its_calls(
    world: Callable[..., World], database: Database, provider: FakeOpenAI
) -> None:
    w = world(confidence=0.5)
    equip(w, sender={"day": 100})
    provider.faults.add(faults.status(500), "chat")
    turn_id = w.turn()
    w.steps(turn_id, "retrieve")
    with pytest.raises(StepRetry):
        run_step(w.runtime, turn_id, "generate")
    run_step(w.runtime, turn_id, "generate")
    run_step(w.runtime, turn_id, "deliver")
    with database.write() as session:
        turn = session.get_one(Turn, turn_id)
        turn.status = "answered"
        message = session.exec(select(Message)).one()
    with database.read() as session:
        calls = {call.outcome: call for call in session.exec(select(ModelCall)).all()}
        state = message_state(session, message.id)
    assert set(calls) == {"failed", "answered"}
    paid = calls["answered"]
    assert (paid.turn_id, paid.step, paid.attempt) == (turn_id, "generate", 2)
    assert paid.conversation_id == message.conversation_id
    assert (paid.channel, paid.account, paid.sender, calls["failed"].attempt) == ("api", "default", "u", 1)
    assert state is not None
    assert state.usage is not None
    assert (state.usage.tokens_in, state.usage.cost, state.usage.currency) == (
        paid.tokens_in,
        price_of(provider),
        "USD",
    )
