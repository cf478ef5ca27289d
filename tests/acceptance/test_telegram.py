"""A thousand Telegram messages through real processes: each answered once, in order, and accounted for."""

import random
import secrets
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func
from sqlmodel import select

from storage.models import Message, Outbox, Quarantine, StepRun, Turn
from tests.acceptance.stack import Stack, running
from tests.acceptance.topics import QUESTIONS, answer, write_base
from tests.support.fake_telegram import FakeTelegram

CHATS, EACH = 50, 20
SECRET = secrets.token_urlsafe(24)
pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]


@pytest.fixture(scope="module", params=["webhook", "polling"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[FakeTelegram, Stack]]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    with (
        FakeTelegram(webhook_timeout=30) as telegram,
        running(
            folder / "data",
            TELEGRAM_BOT_TOKEN=telegram.token,
            TELEGRAM_API_BASE=telegram.url,
            TELEGRAM_MODE=request.param,
            TELEGRAM_WEBHOOK_SECRET=SECRET,
            RAGLINE_QUIET_WINDOW="0",
            RAGLINE__TURN__MAX_MESSAGES="1",
            RAGLINE__KNOWLEDGE__DEMO="off",
        ) as stack,
    ):
        stack.ragline("kb", "import", str(write_base(folder / "topics.jsonl")))
        if request.param == "webhook":
            telegram.set_webhook(f"{stack.url}/telegram/default/webhook", SECRET)
        yield telegram, stack


def test_a_thousand_updates_get_a_thousand_answers_in_order(world: tuple[FakeTelegram, Stack]) -> None:
    telegram, stack = world
    dice = random.Random(7)
    asked = {1000 + chat: dice.sample(range(len(QUESTIONS)), EACH) for chat in range(CHATS)}
    for turn in range(EACH):
        for chat, numbers in asked.items():
            telegram.user_says(chat, QUESTIONS[numbers[turn]])
    telegram.wait_sent(CHATS * EACH, timeout=180)
    telegram.wait_idle(30)

    heard: dict[int, list[str]] = defaultdict(list)
    for sent in telegram.sent:
        heard[sent.chat_id].append(sent.text)
    assert {chat: [answer(n) for n in numbers] for chat, numbers in asked.items()} == heard

    total = CHATS * EACH
    stack.wait_quiet()
    with stack.sql() as session:
        assert session.exec(select(func.count()).select_from(Message)).one() == total
        statuses = session.exec(select(Turn.status, func.count()).group_by(Turn.status)).all()
        assert dict(statuses) == {"answered": total}
        steps = session.exec(
            select(StepRun.step, func.count()).where(StepRun.outcome == "ok", StepRun.ms > 0).group_by(StepRun.step)
        ).all()
        assert dict(steps) == dict.fromkeys(("classify", "retrieve", "generate", "deliver"), total)
        assert session.exec(select(func.count()).select_from(Outbox).where(Outbox.status == "sent")).one() == total


def test_the_same_update_five_times_gives_one_answer(world: tuple[FakeTelegram, Stack]) -> None:
    telegram, _ = world
    before = len(telegram.sent)
    update = telegram.user_says(77, QUESTIONS[0])
    telegram.wait_sent(1, chat_id=77)
    telegram.redeliver(update, 4, parallel=True)
    telegram.user_says(78, QUESTIONS[1])
    telegram.wait_sent(1, chat_id=78)
    telegram.wait_idle()
    assert len(telegram.sent) - before == 2


def test_a_wrong_secret_is_refused_and_nothing_is_stored(world: tuple[FakeTelegram, Stack]) -> None:
    _, stack = world
    body = {"update_id": 1, "message": {"message_id": 1, "date": 1, "chat": {"id": 5, "type": "private"}, "text": "x"}}
    url = f"{stack.url}/telegram/default/webhook"

    def rows() -> tuple[int, int]:
        with stack.sql() as session:
            return (
                session.exec(select(func.count()).select_from(Message)).one(),
                session.exec(select(func.count()).select_from(Quarantine)).one(),
            )

    before = rows()
    assert httpx.post(url, json=body, trust_env=False).status_code in (401, 403)
    wrong = {"X-Telegram-Bot-Api-Secret-Token": "wrong"}
    assert httpx.post(url, json=body, headers=wrong, trust_env=False).status_code in (401, 403)
    assert rows() == before


def test_no_customer_text_and_no_secret_in_the_log(world: tuple[FakeTelegram, Stack]) -> None:
    telegram, stack = world
    secret_words = "zanzibar-7731"
    telegram.user_says(90, f"My password is {secret_words}, help")
    telegram.wait_sent(1, chat_id=90)
    output = stack.output()
    assert "message_accepted" in output
    assert secret_words not in output
    assert telegram.token not in output
    assert SECRET not in output
    assert stack.api_key not in output
