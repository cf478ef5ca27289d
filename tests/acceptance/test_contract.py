"""Parts of the delivery contract that need real processes: bursts with several workers, and a message that kills."""

import heapq
import os
import random
import secrets
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from sqlmodel import col, select

from ragline.stack.folder import MARK
from storage.models import Message, Turn
from tests.acceptance.stack import ROOT, Stack, running
from tests.acceptance.topics import QUESTIONS, answer, write_base
from tests.chaos.sabotage import environment
from tests.support.fake_telegram import FakeTelegram

CHATS = int(os.environ.get("BURST_CHATS", "40"))
SECRET = secrets.token_urlsafe(24)
pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]


@contextmanager
def more_workers(stack: Stack, count: int) -> Iterator[None]:
    """Processes beside those of the stack, each of which serves every queue of the pipeline."""
    about = stack.about
    own = {
        "REDIS_URL": about["redis_url"], "DATABASE_URL": about["database_url"], "CHROMA_URL": about["chroma_url"],
        "RAGLINE_DATA": str(stack.data), "PYTHONPATH": str(ROOT), MARK: str(stack.data),
    }  # fmt: skip
    log = (stack.data.parent / "more.log").open("ab")
    processes = [
        subprocess.Popen(
            [
                sys.executable, "-m", "celery", "--quiet", "-A", "workers.app", "worker", "-Q", "cpu,io,control",
                "--pool", "threads", "--concurrency", "6", "--hostname", f"more{number}@ragline", "--without-gossip",
                "--without-mingle", "--loglevel", "WARNING",
            ],
            cwd=ROOT, env={**stack.environment, **own}, stdout=log, stderr=subprocess.STDOUT,
        )
        for number in range(count)
    ]  # fmt: skip
    try:
        with Redis.from_url(about["redis_url"]) as redis:
            until = time.monotonic() + 60
            while redis.exists(*(f"ragline:ready:more{number}@ragline" for number in range(count))) < count:
                assert time.monotonic() < until, "the workers do not consume"
                time.sleep(0.1)
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)
        log.close()


def converse(telegram: FakeTelegram, dice: random.Random) -> dict[int, list[list[str]]]:
    """Each chat writes 2 to 5 messages with short gaps, and again three seconds after the first reply.

    Returns what each said, by burst. One thread writes for all: hundreds would wait for each other's news of the fake
    server, and write late.
    """
    said: dict[int, list[list[str]]] = {}
    due: list[tuple[float, int, str]] = []

    def plan(chat: int, at: float) -> None:
        number = len(said.setdefault(chat, [])) + 1
        said[chat].append([f"part {number}.{position}" for position in range(dice.randint(2, 5))])
        for text in said[chat][-1]:
            heapq.heappush(due, (at, chat, text))
            at += dice.uniform(0, 0.5)

    for position in range(CHATS):
        plan(1000 + position, time.monotonic() + position * 0.02)
    seen, until = 0, time.monotonic() + 240
    while due or seen < 2 * CHATS:
        assert time.monotonic() < until, f"{seen} of {2 * CHATS} replies"
        for sent in telegram.sent[seen:]:
            seen += 1
            if len(said[sent.chat_id]) == 1:
                plan(sent.chat_id, time.monotonic() + 3)
        while due and due[0][0] <= time.monotonic():
            _, chat, text = heapq.heappop(due)
            telegram.user_says(chat, text)
        time.sleep(0.005)
    return said


def test_a_burst_is_one_turn_and_what_comes_later_is_the_next(tmp_path: Path) -> None:
    with (
        FakeTelegram(webhook_timeout=30) as telegram,
        running(
            tmp_path / "data",
            TELEGRAM_BOT_TOKEN=telegram.token,
            TELEGRAM_API_BASE=telegram.url,
            TELEGRAM_MODE="webhook",
            TELEGRAM_WEBHOOK_SECRET=SECRET,
            RAGLINE_QUIET_WINDOW="2",
            RAGLINE__TURN__LONGEST_WAIT="30",
            RAGLINE__KNOWLEDGE__DEMO="off",
        ) as stack,
        more_workers(stack, 3),
    ):
        stack.ragline("kb", "import", str(write_base(tmp_path / "topics.jsonl")))
        telegram.set_webhook(f"{stack.url}/telegram/default/webhook", SECRET)
        said = converse(telegram, random.Random(4))
        telegram.wait_idle(30)
        stack.wait_quiet()

        assert Counter(sent.chat_id for sent in telegram.sent) == dict.fromkeys(said, 2)
        with stack.sql() as session:
            rows = session.exec(
                select(Message.turn_id, Message.text, Turn.created_at)
                .join(Turn, col(Turn.id) == Message.turn_id)
                .order_by(col(Turn.created_at), col(Turn.id), col(Message.seq))
            ).all()
        gathered: dict[str, list[str]] = defaultdict(list)
        for turn_id, text, _ in rows:
            gathered[turn_id or ""].append(text)
        wanted = Counter(tuple(texts) for bursts in said.values() for texts in bursts)
        assert Counter(tuple(texts) for texts in gathered.values()) == wanted


def test_a_message_that_kills_its_worker_harms_nobody_else(tmp_path: Path) -> None:
    chats, each = 40, 5
    with (
        FakeTelegram(webhook_timeout=30) as telegram,
        running(
            tmp_path / "data",
            TELEGRAM_BOT_TOKEN=telegram.token,
            TELEGRAM_API_BASE=telegram.url,
            TELEGRAM_MODE="webhook",
            TELEGRAM_WEBHOOK_SECRET=SECRET,
            RAGLINE_QUIET_WINDOW="0",
            RAGLINE__TURN__MAX_MESSAGES="1",
            RAGLINE__TURN__LEASE="2",
            RAGLINE__TURN__PATIENCE="8",
            RAGLINE__TURN__SWEEP_PERIOD="1",
            RAGLINE__KNOWLEDGE__DEMO="off",
            **environment("poison", tmp_path / "sabotage"),
        ) as stack,
    ):
        stack.ragline("kb", "import", str(write_base(tmp_path / "topics.jsonl")))
        telegram.set_webhook(f"{stack.url}/telegram/default/webhook", SECRET)
        asked = {1000 + chat: [(chat + turn) % 20 for turn in range(each)] for chat in range(chats)}
        for turn in range(each):
            for chat, numbers in asked.items():
                telegram.user_says(chat, QUESTIONS[numbers[turn]])
                if (turn, chat) == (1, 1010):
                    telegram.user_says(1, "POISON")
        telegram.wait_sent(chats * each, timeout=150)
        until = time.monotonic() + 120
        dead: list[Turn] = []
        while not dead and time.monotonic() < until:
            time.sleep(0.5)
            with stack.sql() as session:
                dead = list(session.exec(select(Turn).where(Turn.status == "failed")))
        telegram.wait_idle(30)
        stack.wait_quiet(60)
        heard = defaultdict(list)
        for sent in telegram.sent:
            heard[sent.chat_id].append(sent.text)
        notice = heard.pop(1)
        assert heard == {chat: [answer(n) for n in numbers] for chat, numbers in asked.items()}
        assert len(notice) == 1, "the customer is told once"
        assert [(turn.step, turn.error_class) for turn in dead] == [("classify", "Poisonous")]
        with stack.sql() as session:
            assert session.exec(select(Turn.status).where(Turn.status != "answered")).all() == ["failed"]
