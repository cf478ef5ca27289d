"""Parts of the delivery contract that need real processes: bursts with several workers, and a message that kills."""

import os
import random
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
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
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)
        log.close()


def test_a_burst_is_one_turn_and_what_comes_later_is_the_next(tmp_path: Path) -> None:
    """Each chat writes 2 to 5 messages with short gaps, and again three seconds after the first reply."""
    dice = random.Random(4)
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
        said: dict[int, list[list[str]]] = defaultdict(list)

        def burst(chat: int, number: int, gaps: list[float]) -> None:
            texts = [f"part {number}.{position}" for position in range(len(gaps))]
            said[chat].append(texts)
            for text, gap in zip(texts, gaps, strict=True):
                telegram.user_says(chat, text)
                time.sleep(gap)

        def chat_life(chat: int, plan: list[list[float]]) -> None:
            burst(chat, 1, plan[0])
            telegram.wait_sent(1, timeout=120, chat_id=chat)
            time.sleep(3)
            burst(chat, 2, plan[1])
            telegram.wait_sent(2, timeout=120, chat_id=chat)

        threads = []
        for chat in range(1000, 1000 + CHATS):
            plan = [[dice.uniform(0, 0.5) for _ in range(dice.randint(2, 5))] for _ in range(2)]
            threads.append(threading.Thread(target=chat_life, args=(chat, plan)))
            threads[-1].start()
            time.sleep(0.02)
        for thread in threads:
            thread.join(300)
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
