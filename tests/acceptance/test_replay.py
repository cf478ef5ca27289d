"""After an outage: half the turns failed at deliver and half at generate; one command answers them all, once."""

import os
import re
import secrets
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func
from sqlmodel import select

from storage.models import Turn
from tests.acceptance.stack import Stack, running
from tests.acceptance.topics import QUESTIONS, answer, write_base
from tests.support import faults
from tests.support.fake_openai import Ask, FakeOpenAI
from tests.support.fake_telegram import FakeTelegram

CHATS, EACH = int(os.environ.get("REPLAY_CHATS", "10")), 5
SECRET = secrets.token_urlsafe(24)
pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]


def wait_failed(stack: Stack, step: str, count: int, timeout: float = 120) -> None:
    until, found = time.monotonic() + timeout, 0
    while found < count and time.monotonic() < until:
        time.sleep(0.5)
        with stack.sql() as session:
            query = select(func.count()).select_from(Turn).where(Turn.status == "failed", Turn.step == step)
            found = session.exec(query).one()
    assert found == count


def first_answer(ask: Ask) -> str:
    """The answer of the first passage the model is shown."""
    found = re.search(r"Answer number \d\d\.", ask.text)
    return found.group() if found else "?"


def answers(telegram: FakeTelegram) -> dict[int, list[str]]:
    heard = defaultdict(list)
    for sent in telegram.sent:
        if sent.text.startswith("Answer number"):
            heard[sent.chat_id].append(sent.text)
    return heard


def test_everything_that_failed_is_answered_once_and_in_order(tmp_path: Path) -> None:
    asked = {1000 + chat: [(chat + turn) % 20 for turn in range(2 * EACH)] for chat in range(CHATS)}
    with (
        FakeTelegram(webhook_timeout=30) as telegram,
        FakeOpenAI(answer=first_answer) as provider,
        running(
            tmp_path / "data",
            TELEGRAM_BOT_TOKEN=telegram.token,
            TELEGRAM_API_BASE=telegram.url,
            TELEGRAM_MODE="webhook",
            TELEGRAM_WEBHOOK_SECRET=SECRET,
            OPENAI_API_KEY=provider.api_key,
            OPENAI_API_BASE=provider.api_base,
            RAGLINE_QUIET_WINDOW="0",
            RAGLINE__TURN__MAX_MESSAGES="1",
            RAGLINE__TURN__RETRY_BASE="0.05",
            RAGLINE__TURN__MAX_SEND_ATTEMPTS="3",
            RAGLINE__TURN__MAX_ATTEMPTS="2",
            RAGLINE__LLM__COOLDOWN="0",
            RAGLINE__ANSWER__MODES="[grounded]",
            RAGLINE__ANSWER__GROUNDED_THRESHOLD="0",
            RAGLINE__KNOWLEDGE__DEMO="off",
        ) as stack,
    ):
        stack.ragline("kb", "import", str(write_base(tmp_path / "topics.jsonl")))
        telegram.set_webhook(f"{stack.url}/telegram/default/webhook", SECRET)

        telegram.faults.add(faults.status(500), "sendMessage", times=None)
        for turn in range(EACH):
            for chat, numbers in asked.items():
                telegram.user_says(chat, QUESTIONS[numbers[turn]])
        wait_failed(stack, "deliver", CHATS * EACH)
        telegram.faults.clear()
        assert telegram.sent == []
        spent = len(provider.requests)

        provider.faults.add(faults.status(500), "chat", times=None)
        for turn in range(EACH, 2 * EACH):
            for chat, numbers in asked.items():
                telegram.user_says(chat, QUESTIONS[numbers[turn]])
        wait_failed(stack, "generate", CHATS * EACH)
        telegram.wait_idle(30)
        provider.faults.clear()
        before = len(provider.requests)
        notices = Counter(sent.chat_id for sent in telegram.sent)
        assert set(notices.values()) == {EACH}, "one notice a turn that failed before it had an answer"

        total = 2 * CHATS * EACH
        dry = stack.ragline("replay", "--failed", "--dry-run")
        assert (dry["matched"], dry["replayed"], len(telegram.sent)) == (total, 0, total // 2)
        done = stack.ragline("replay", "--failed", check=False)
        assert {name: done[name] for name in ("matched", "replayed", "answered", "skipped", "failed")} == {
            "matched": total, "replayed": total, "answered": total, "skipped": 0, "failed": 0,
        }  # fmt: skip
        assert Counter(item["from_step"] for item in done["items"]) == {"deliver": total // 2, "generate": total // 2}
        assert answers(telegram) == {chat: [answer(n) for n in numbers] for chat, numbers in asked.items()}
        assert len(provider.requests) - before == CHATS * EACH, "what had been generated was not generated again"
        assert before >= spent
        assert len(telegram.sent) == 3 * total // 2
        again = stack.ragline("replay", "--failed")
        assert (again["matched"], len(telegram.sent)) == (0, 3 * total // 2)
        _admin(stack, done["items"][0]["turn_id"])


def _admin(stack: Stack, turn_id: str) -> None:
    url = f"{stack.url}/api/v1/admin/replay"

    def ask(password: str | None, **body: Any) -> httpx.Response:
        login = None if password is None else ("admin", password)
        return httpx.post(url, json=body, auth=login, trust_env=False)

    password = stack.secret("RAGLINE_ADMIN_PASSWORD")
    assert ask(None, failed=True).status_code == 401
    assert ask("wrong", failed=True).status_code == 401
    assert ask(stack.api_key, failed=True).status_code == 401
    assert ask(password).status_code == 422
    assert ask(password, failed=True).json()["matched"] == 0
    refused = ask(password, ids=[turn_id]).json()
    assert (refused["skipped"], refused["replayed"]) == (1, 0)
    assert "delivered" in refused["items"][0]["outcome"]
    forced = ask(password, ids=[turn_id], force=True, from_step="deliver", dry_run=True).json()
    assert forced["items"][0]["from_step"] == "deliver"
