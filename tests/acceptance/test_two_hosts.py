"""The services of docker-compose.yml, run by hand as two hosts with one PostgreSQL, one Redis and one Chroma.

One host has the ingress and beat, both have workers. All of the second host is killed in mid-load: nothing is lost.
"""

import os
import secrets
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func
from sqlmodel import Session, create_engine, select

from storage.models import Message, Outbox, Turn
from tests.acceptance.stack import ROOT, clean_environment
from tests.acceptance.topics import QUESTIONS, answer, write_base
from tests.conftest import free_port, wait_until
from tests.stack.test_compose import SERVICES
from tests.support.fake_telegram import FakeTelegram

CHATS, EACH = 40, 8
SECRET = secrets.token_urlsafe(24)
pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@contextmanager
def host(name: str, services: list[str], environment: dict[str, str], folder: Path) -> Iterator[list[int]]:
    """The very commands of the services, in one process group: its ids, so that all of it can be killed."""
    processes = []
    for service in services:
        written = SERVICES[service]["command"]
        command = [str(word).replace("%h", name).replace("0.0.0.0", "127.0.0.1") for word in written]
        command = [sys.executable if word == "python" else word for word in command]
        command = [environment["INGRESS_PORT"] if word == "8080" else word for word in command]
        command = [str(folder / f"{name}-beat") if word == "/data/run/beat" else word for word in command]
        with (folder / f"{name}-{service}.log").open("ab") as out:
            group = os.getpgid(processes[0].pid) if processes else 0
            processes.append(
                subprocess.Popen(
                    command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, process_group=group
                )
            )
    try:
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            process.wait(30)


@pytest.mark.parametrize("empty_database_url", ["postgresql"], indirect=True)
def test_killing_a_host_loses_nothing(empty_database_url: str, redis_url: str, chroma_url: str, tmp_path: Path) -> None:
    port = free_port()
    with FakeTelegram(latency=0.05, webhook_timeout=30) as telegram:
        environment = clean_environment(
            DATABASE_URL=empty_database_url, REDIS_URL=redis_url, CHROMA_URL=chroma_url, RAGLINE_DATA=str(tmp_path),
            TELEGRAM_BOT_TOKEN=telegram.token, TELEGRAM_API_BASE=telegram.url, TELEGRAM_MODE="webhook",
            TELEGRAM_WEBHOOK_SECRET=SECRET, RAGLINE_QUIET_WINDOW="0", RAGLINE__TURN__MAX_MESSAGES="1",
            RAGLINE__TURN__LEASE="4", RAGLINE__TURN__PATIENCE="5", RAGLINE__TURN__SWEEP_PERIOD="1",
            INGRESS_PORT=str(port),
        )  # fmt: skip
        command = [sys.executable, "-m", "ragline.cli"]
        subprocess.run([*command, "db", "upgrade"], cwd=ROOT, env=environment, check=True)
        base = write_base(tmp_path / "topics.jsonl")
        subprocess.run([*command, "kb", "import", str(base)], cwd=ROOT, env=environment, check=True)
        first = ["ingress", "beat", "control", "cpu", "io"]
        with (
            host("one", first, environment, tmp_path),
            host("two", ["control", "cpu", "io"], environment, tmp_path) as second,
        ):
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: _ready(url), 60, "both hosts")
            telegram.set_webhook(f"{url}/telegram/default/webhook", SECRET)
            asked = {1000 + chat: [(chat + turn) % 20 for turn in range(EACH)] for chat in range(CHATS)}
            for turn in range(EACH):
                for chat, numbers in asked.items():
                    telegram.user_says(chat, QUESTIONS[numbers[turn]])
                if turn == EACH // 2:
                    telegram.wait_sent(CHATS, timeout=60)  # it is in the middle of things
                    os.killpg(second[0], signal.SIGKILL)
            telegram.wait_sent(CHATS * EACH, timeout=120)
            engine = create_engine(empty_database_url)
            with Session(engine) as session:
                wait_until(lambda: _over(session) == CHATS * EACH, 60, "all turns")
                assert session.exec(select(func.count()).select_from(Message)).one() == CHATS * EACH
                resent = session.exec(select(Outbox.body).where(Outbox.resent)).all()
            engine.dispose()
        heard: dict[int, list[str]] = defaultdict(list)
        again = []
        for sent in telegram.sent:
            if sent.text in heard[sent.chat_id]:
                again.append(sent.text)
            else:
                heard[sent.chat_id].append(sent.text)
        assert heard == {chat: [answer(n) for n in numbers] for chat, numbers in asked.items()}
        assert set(again) <= {str(body["text"]) for body in resent}, "twice only what was in doubt"


def _ready(url: str) -> bool:
    try:
        parts = httpx.get(f"{url}/readyz", trust_env=False).json()["parts"]
    except (httpx.HTTPError, KeyError, ValueError):
        return False
    return all(parts[f"workers.{queue}"]["up"] for queue in ("cpu", "io", "control"))


def _over(session: Session) -> int:
    session.rollback()
    return session.exec(select(func.count()).select_from(Turn).where(Turn.status == "answered")).one()
