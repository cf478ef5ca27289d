"""Outage drills on the real stack: a provider that fails, one that asks to wait, all of them gone.

``OUTAGE_CONVERSATIONS`` (20) and ``OUTAGE_SECONDS`` (3) set the size; ``make outage`` plays the long one: 200
conversations and a minute.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import col, select

from storage.models import Message, ModelCall, Outbox, RedFlag
from tests.acceptance.stack import Stack, running
from tests.acceptance.topics import QUESTIONS, answer, write_base
from tests.support import faults
from tests.support.fake_openai import FakeOpenAI

CONVERSATIONS = int(os.environ.get("OUTAGE_CONVERSATIONS", "20"))
SECONDS = float(os.environ.get("OUTAGE_SECONDS", "3"))
ASKS_TO_WAIT = 1
#: Nothing the base answers directly: these go to a model.
VAGUE = "Tell me in your own words about number {}, please, and whatever belongs to it"
pytestmark = [pytest.mark.stack, pytest.mark.drill, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[FakeOpenAI], Stack]]:
    folder: Path = tmp_path_factory.mktemp("outage")
    with FakeOpenAI() as a, FakeOpenAI() as b, FakeOpenAI() as c:
        bases = {"a": a.api_base, "b": b.api_base, "c": c.api_base}
        places = ", ".join(f"{{model: openai/{name}, api_base: '{base}'}}" for name, base in bases.items())
        with running(
            folder / "data",
            OPENAI_API_KEY=a.api_key,
            RAGLINE__LLM__ROUTES__TEXT=f"[{places}]",
            RAGLINE__LLM__COOLDOWN="2",
            RAGLINE__ANSWER__MODES="[direct, grounded]",
            RAGLINE__ANSWER__DIRECT_THRESHOLD="0.9",
            RAGLINE__ANSWER__GROUNDED_THRESHOLD="0",
            RAGLINE__TURN__RETRY_BASE="0.1",
            RAGLINE__TURN__MAX_ATTEMPTS="3",
            RAGLINE__LIMITS__PER_SENDER="1000",
            RAGLINE__KNOWLEDGE__DEMO="off",
            RAGLINE_QUIET_WINDOW="0",
            RAGLINE__LOG__LEVEL="INFO",
        ) as stack:
            stack.ragline("kb", "import", str(write_base(folder / "topics.jsonl")))
            first = {"warm": ask(stack, "warm", VAGUE.format("zero"))}  # a worker's first call imports LiteLLM
            assert ends(stack, first, 60)["warm"]["status"] == "answered"
            a.reset()
            yield [a, b, c], stack


@contextmanager
def failing_for(server: FakeOpenAI, seconds: float) -> Iterator[None]:
    """500 to everything, for so long."""
    server.faults.add(faults.status(500), "chat", times=None)
    end = threading.Timer(seconds, server.faults.clear)
    end.start()
    yield
    end.cancel()
    server.faults.clear()


def ask(stack: Stack, conversation: str, text: str) -> str:
    """Post and return the message's id; it waits for nothing."""
    with stack.api(60) as api:
        found: str = api.post("/api/v1/messages", json={"conversation": conversation, "text": text}).json()[
            "message_id"
        ]
        return found


def ask_all(stack: Stack, questions: dict[str, str], over: float) -> dict[str, str]:
    """Each conversation's message id; they write spread over so many seconds."""

    def one(position: int, conversation: str) -> str:
        time.sleep(over * position / len(questions))
        return ask(stack, conversation, questions[conversation])

    with ThreadPoolExecutor(len(questions)) as pool:
        return dict(zip(questions, pool.map(one, range(len(questions)), questions), strict=True))


def ends(stack: Stack, ids: dict[str, str], timeout: float) -> dict[str, dict[str, Any]]:
    """What became of each message, once all are over."""
    found: dict[str, dict[str, Any]] = {}
    until = time.monotonic() + timeout
    with stack.api() as api:
        while len(found) < len(ids):
            assert time.monotonic() < until, f"{len(found)} of {len(ids)} are over"
            for conversation, message_id in ids.items():
                if conversation not in found:
                    state = api.get(f"/api/v1/messages/{message_id}").json()
                    if state["status"] not in ("accepted", "processing"):
                        found[conversation] = state
            time.sleep(0.1)
    return found


def ledger(stack: Stack, ids: dict[str, str]) -> list[ModelCall]:
    with stack.sql() as session:
        turns = session.exec(select(Message.turn_id).where(col(Message.id).in_(ids.values()))).all()
        query = select(ModelCall).where(col(ModelCall.turn_id).in_(turns)).order_by(col(ModelCall.started_at))
        return list(session.exec(query))


def test_a_failing_provider_and_a_waiting_one_cost_nobody_an_answer(world: tuple[list[FakeOpenAI], Stack]) -> None:
    (a, b, c), stack = world
    b.faults.add(faults.too_many(ASKS_TO_WAIT), "chat", times=None)
    questions = {f"o{number}": VAGUE.format(number) for number in range(CONVERSATIONS)}
    with failing_for(a, SECONDS):
        ids = ask_all(stack, questions, over=SECONDS * 0.8)
        found = ends(stack, ids, SECONDS + 120)
    b.faults.clear()
    assert Counter(state["status"] for state in found.values()) == {"answered": CONVERSATIONS}
    assert {state["answer"]["mode"] for state in found.values()} == {"grounded"}
    calls = ledger(stack, ids)
    answered, failed = ([call for call in calls if call.outcome == end] for end in ("answered", "failed"))
    assert len(answered) == CONVERSATIONS
    assert len(answered) == sum(len(server.requests) for server in (a, b, c)), "one answer paid for each"
    assert Counter(call.model for call in failed) == {
        f"openai/{name}": len(server.faults.fired) for name, server in (("a", a), ("b", b)) if server.faults.fired
    }, "each call that gave nothing is a row"
    assert {(call.model, call.error_class) for call in failed} == {
        ("openai/a", "server_error"), ("openai/b", "rate_limit"),
    }  # fmt: skip
    # Each is tried again about every two seconds, not by every turn.
    assert len(a.faults.fired) <= 3 + SECONDS
    waits = [later.at - sooner.at for sooner, later in zip(b.faults.fired, b.faults.fired[1:], strict=False)]
    assert all(wait > ASKS_TO_WAIT - 0.2 for wait in waits if wait > 0.5), "it is left alone for as long as it asked"
    with stack.sql() as session:
        flags = session.exec(select(RedFlag.cause).where(col(RedFlag.message_id).in_(ids.values()))).all()
    assert list(flags) == []
    shown = _wait_metric(stack, "ragline_model_failures_total")
    assert 'kind="server_error"' in shown
    assert f"openai/b@127.0.0.1:{b.port}" in shown


def test_with_all_of_them_gone_direct_answers_go_out_and_a_replay_answers_the_rest(
    world: tuple[list[FakeOpenAI], Stack],
) -> None:
    servers, stack = world
    for server in servers:
        server.reset()
        server.faults.add(faults.status(503), "chat", times=None)
    direct = {f"d{number}": QUESTIONS[number] for number in range(5)}
    vague = {f"v{number}": VAGUE.format(number) for number in range(max(CONVERSATIONS // 4, 5))}
    ids = ask_all(stack, direct | vague, over=1)
    found = ends(stack, ids, 120)
    assert {name: found[name]["answer"]["text"] for name in direct} == {f"d{n}": answer(n) for n in range(5)}
    assert {found[name]["status"] for name in vague} == {"failed"}
    lost = {name: ids[name] for name in vague}
    stack.wait_quiet()
    assert _sent(stack, lost) == {("notice", "sent"): len(vague)}, "one notice each"
    with stack.sql() as session:
        flags = session.exec(select(RedFlag.cause).where(col(RedFlag.message_id).in_(lost.values()))).all()
    assert list(flags) == ["step_failed"] * len(vague)

    for server in servers:
        server.reset()
    done = stack.ragline("replay", "--failed")
    assert (done["matched"], done["answered"]) == (len(vague), len(vague))
    assert {state["status"] for state in ends(stack, lost, 60).values()} == {"answered"}
    assert _sent(stack, lost) == {("notice", "sent"): len(vague), ("answer", "sent"): len(vague)}
    assert sum(len(server.requests) for server in servers) == len(vague), "each is paid for once"


def _sent(stack: Stack, ids: dict[str, str]) -> Counter[tuple[str, str]]:
    with stack.sql() as session:
        turns = session.exec(select(Message.turn_id).where(col(Message.id).in_(ids.values()))).all()
        rows = session.exec(select(Outbox.kind, Outbox.status).where(col(Outbox.turn_id).in_(turns))).all()
    return Counter(rows)


def _wait_metric(stack: Stack, name: str, timeout: float = 15) -> str:
    until, text = time.monotonic() + timeout, ""
    while time.monotonic() < until:
        text = httpx.get(f"{stack.url}/metrics", trust_env=False).text
        if f"{name}{{" in text:
            return "\n".join(line for line in text.splitlines() if line.startswith(name))
        time.sleep(0.5)
    raise AssertionError(f"{name} is not among the metrics")
