"""The ingress stays thin: a hundred messages on each channel, and no model library is in its process."""

import secrets
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func
from sqlmodel import select

from storage.models import Message
from tests.acceptance.stack import Stack, running
from tests.acceptance.topics import QUESTIONS
from tests.support.fake_telegram import FakeTelegram
from tests.support.fake_umnico import FakeUmnico

EACH = 100
SECRET = secrets.token_urlsafe(24)
#: A native library each of them maps, and which nothing the ingress needs does.
MARKS = {
    "torch": "libtorch",
    "chromadb": "_multiarray_umath",
    "litellm": "_tiktoken",
    "sentence_transformers": "libtorch",
    "onnxruntime": "onnxruntime_pybind11_state",
}
pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.mark.parametrize("library", MARKS)
def test_a_library_that_is_loaded_shows_in_the_memory_map(library: str) -> None:
    code = f"import {library}; print(open('/proc/self/maps').read())"
    maps = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert MARKS[library] in maps


def test_the_live_ingress_loads_no_model_library(tmp_path: Path) -> None:
    with (
        FakeTelegram(webhook_timeout=30) as telegram,
        FakeUmnico(seed=5, hook_connections=4) as umnico,
        running(
            tmp_path / "data",
            TELEGRAM_BOT_TOKEN=telegram.token,
            TELEGRAM_API_BASE=telegram.url,
            TELEGRAM_MODE="webhook",
            TELEGRAM_WEBHOOK_SECRET=SECRET,
            UMNICO_API_TOKEN=umnico.token,
            UMNICO_API_BASE=umnico.api_url,
            UMNICO_WEBHOOK_SECRET=SECRET,
            UMNICO_USER_ID="502",
            RAGLINE_QUIET_WINDOW="0",
        ) as stack,
    ):
        telegram.set_webhook(f"{stack.url}/telegram/default/webhook", SECRET)
        umnico.add_hook(f"{stack.url}/umnico/default/{SECRET}/webhook")
        for number in range(EACH):
            telegram.user_says(1000 + number, QUESTIONS[number % 20])
            umnico.customer_writes(100 + number, QUESTIONS[number % 20], sa=5, source=str(number))
        _write_to_the_api_and_the_widget(stack)
        _wait_accepted(stack)
        ingress = [pid for pid, line in stack.processes() if "ingress.serve" in line]
        assert len(ingress) == 1
        maps = Path(f"/proc/{ingress[0]}/maps").read_text()
    assert "_pydantic_core" in maps
    assert [mark for mark in MARKS.values() if mark in maps] == []


def _write_to_the_api_and_the_widget(stack: Stack) -> None:
    with stack.api() as api:
        for number in range(EACH):
            body = {"conversation": f"thin-{number}", "text": QUESTIONS[number % 20]}
            assert api.post("/api/v1/messages", json=body).status_code == 202
    with httpx.Client(base_url=f"{stack.url}/widget/default", trust_env=False) as page:
        for visitor in range(EACH // 10):
            token = page.post("/session", json={"locale": "en"}).json()["token"]
            for number in range(10):
                sent = page.post(
                    "/messages",
                    json={"id": f"m{visitor}-{number}", "text": QUESTIONS[number]},
                    headers={"Authorization": f"Bearer {token}"},
                )
                assert sent.status_code == 202


def _wait_accepted(stack: Stack, timeout: float = 60) -> None:
    wanted = dict.fromkeys(("api", "telegram", "umnico", "widget"), EACH)
    until, found = time.monotonic() + timeout, {}
    while found != wanted and time.monotonic() < until:
        time.sleep(0.2)
        with stack.sql() as session:
            query = select(Message.channel, func.count()).where(Message.kind == "text").group_by(Message.channel)
            found = dict(session.exec(query).all())
    assert found == wanted
