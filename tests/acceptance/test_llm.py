"""Grounded answers through a provider on a real socket: what it was asked, what it cost, what its outages do."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from storage.models import Message, Outbox, RedFlag, StepRun
from tests.acceptance.stack import Stack, running
from tests.acceptance.topics import answer, write_base
from tests.support import faults
from tests.support.fake_openai import FakeOpenAI

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeOpenAI, Stack]]:
    folder: Path = tmp_path_factory.mktemp("llm")
    with (
        FakeOpenAI() as provider,
        running(
            folder / "data",
            OPENAI_API_KEY=provider.api_key,
            OPENAI_API_BASE=provider.api_base,
            RAGLINE__ANSWER__MODES="[grounded]",
            RAGLINE__ANSWER__GROUNDED_THRESHOLD="0",
            RAGLINE__TURN__RETRY_BASE="0.1",
            RAGLINE__KNOWLEDGE__DEMO="off",
        ) as stack,
    ):
        stack.ragline("kb", "import", str(write_base(folder / "topics.jsonl")))
        yield provider, stack


def ask(stack: Stack, conversation: str, text: str) -> dict[str, Any]:
    with stack.api(60) as api:
        found: dict[str, Any] = api.post(
            "/api/v1/messages?wait=40", json={"conversation": conversation, "text": text}
        ).json()
        return found


def runs(stack: Stack, message_id: str, step: str) -> list[StepRun]:
    with stack.sql() as session:
        turn_id = session.get_one(Message, message_id).turn_id
        query = select(StepRun).where(StepRun.turn_id == turn_id, StepRun.step == step)
        return list(session.exec(query.order_by(col(StepRun.attempt))))


def test_the_passages_are_asked_about_and_the_ledger_knows_it(world: tuple[FakeOpenAI, Stack]) -> None:
    provider, stack = world
    provider.enqueue("It is answer three [1].")
    before = provider.totals()
    replied = ask(stack, "g1", "How do I get a new password?")
    assert replied["status"] == "answered"
    assert replied["answer"]["mode"] == "grounded"
    assert replied["answer"]["text"] == "It is answer three."
    assert replied["answer"]["citations"][0]["id"] == "topic-03"
    prompt = str(provider.requests[-1].body)
    assert answer(3) in prompt
    assert "How do I get a new password?" in prompt
    [run] = runs(stack, replied["message_id"], "generate")
    spent = provider.totals()
    assert run.tokens_in == spent.prompt_tokens - before.prompt_tokens
    assert run.tokens_out == spent.completion_tokens - before.completion_tokens
    assert (run.template, run.template_version) == ("text_answer_template", "2+1.2+3")
    assert replied["usage"]["tokens_in"] == run.tokens_in
    assert Decimal(replied["usage"]["cost"]) == run.cost
    assert run.cost


def test_earlier_lines_of_the_conversation_are_in_the_prompt(world: tuple[FakeOpenAI, Stack]) -> None:
    provider, stack = world
    provider.enqueue("Answer number thirteen, remembered [1].")
    ask(stack, "g2", "How heavy is the lawn mower?")
    ask(stack, "g2", "And the cookbook?")
    prompt = str(provider.requests[-1].body)
    assert "How heavy is the lawn mower?" in prompt
    assert "Answer number thirteen, remembered." in prompt
    ask(stack, "g3", "Another customer")
    assert "lawn mower?\\ncustomer" not in str(provider.requests[-1].body)
    assert "Answer number thirteen, remembered." not in str(provider.requests[-1].body)


def test_an_answer_that_rests_on_nothing_is_not_sent_and_a_draft_helps(world: tuple[FakeOpenAI, Stack]) -> None:
    provider, stack = world
    before = provider.totals()
    provider.enqueue("Buy it at https://evil.example for 5 dollars [1].", match="vegan chocolate", times=2)
    replied = ask(stack, "g6", "Do you sell vegan chocolate?")
    assert replied["answer"]["mode"] == "unknown"
    assert "evil" not in replied["answer"]["text"]
    assert "This answer was not sent" in str(provider.requests[-1].body)
    spent = provider.totals()
    assert replied["usage"]["tokens_in"] == spent.prompt_tokens - before.prompt_tokens, "both attempts"
    [flag] = [row for row in stack.ragline("flags") if row["question"] == "Do you sell vegan chocolate?"]
    assert flag["cause"] == "unsupported"
    provider.enqueue("Answer number 08 [1]. [?] whether it is in stock")
    drafted = stack.ragline("flags", "draft", flag["id"])
    assert (drafted["draft"], drafted["doubt"]) == ("Answer number 08. [?] whether it is in stock", "")
    assert drafted["citations"][0]["id"] == "topic-08"
    assert stack.ragline("flags")[-1]["id"] == flag["id"], "a draft answers nobody"


def test_an_outage_that_ends_is_survived(world: tuple[FakeOpenAI, Stack]) -> None:
    provider, stack = world
    provider.faults.add(faults.status(500), "chat", times=2)
    replied = ask(stack, "g4", "Do you repair broken kettles?")
    assert (replied["status"], replied["answer"]["mode"]) == ("answered", "grounded")
    assert [run.outcome for run in runs(stack, replied["message_id"], "generate")] == ["retry", "retry", "ok"]


def test_a_refused_key_gives_one_notice_a_flag_and_a_reason(world: tuple[FakeOpenAI, Stack]) -> None:
    provider, stack = world
    provider.faults.add(faults.status(401), "chat", times=None)
    try:
        replied = ask(stack, "g5", "Is the shop open on Sunday?")
    finally:
        provider.faults.clear()
    assert (replied["status"], replied["step"]) == ("failed", "generate")
    [run] = runs(stack, replied["message_id"], "generate")
    assert (run.outcome, run.error_class) == ("failed", "ProviderRefused")
    assert "OPENAI_API_KEY" in (run.error or "")
    with stack.sql() as session:
        notices = session.exec(select(Outbox).where(Outbox.turn_id == run.turn_id)).all()
        flags = session.exec(select(RedFlag.cause).where(RedFlag.turn_id == run.turn_id)).all()
    assert [(row.kind, row.status) for row in notices] == [("notice", "sent")]
    assert list(flags) == ["step_failed"]
    [listed] = [row for row in stack.ragline("messages", "--failed") if row["id"] == replied["message_id"]]
    assert (listed["step"], listed["status"]) == ("generate", "failed")
    assert provider.api_key not in stack.output()
