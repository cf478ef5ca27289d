"""Umnico messages of twenty leads on two connected accounts: each answered where it came from.

``UMNICO_EACH=10`` makes it two hundred messages.
"""

import os
import random
import secrets
from collections import defaultdict
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func
from sqlmodel import select

from storage.models import Message
from tests.acceptance.stack import running
from tests.acceptance.topics import QUESTIONS, answer, write_base
from tests.support.fake_umnico import FakeUmnico

#: Messages of each lead.
LEADS, EACH = 20, int(os.environ.get("UMNICO_EACH", "4"))
SECRET = secrets.token_urlsafe(24)
BOT = 502


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_each_lead_is_answered_in_its_own_source(tmp_path: Path) -> None:
    with (
        FakeUmnico(seed=3, duplicates=0.1, hook_connections=4) as umnico,
        running(
            tmp_path / "data",
            UMNICO_API_TOKEN=umnico.token,
            UMNICO_API_BASE=umnico.api_url,
            UMNICO_WEBHOOK_SECRET=SECRET,
            UMNICO_USER_ID=str(BOT),
            RAGLINE_QUIET_WINDOW="0",
            RAGLINE__TURN__MAX_MESSAGES="1",
            RAGLINE__KNOWLEDGE__DEMO="off",
        ) as stack,
    ):
        stack.ragline("kb", "import", str(write_base(tmp_path / "topics.jsonl")))
        umnico.add_hook(f"{stack.url}/umnico/default/{SECRET}/webhook")
        dice = random.Random(11)
        asked = {lead: dice.sample(range(len(QUESTIONS)), EACH) for lead in range(100, 100 + LEADS)}
        for turn in range(EACH):
            for lead, numbers in asked.items():
                # Both accounts know a source of the same number: it is the pair that names a customer.
                umnico.customer_writes(lead, QUESTIONS[numbers[turn]], sa=5 + lead % 2, source=str(lead // 2 * 7))
        umnico.wait_sent(LEADS * EACH, timeout=150)
        umnico.wait_idle(30)
        umnico.manager_writes(100, "I will take it from here")
        umnico.wait_idle(30)

        heard: dict[tuple[int, str, int], list[str]] = defaultdict(list)
        for sent in umnico.sent:
            heard[sent.lead, sent.source, sent.userId or 0].append(sent.text)
        assert {key: sorted(texts) for key, texts in heard.items()} == {
            (lead, str(lead // 2 * 7), BOT): sorted(answer(n) for n in numbers) for lead, numbers in asked.items()
        }
        with stack.sql() as session:
            kinds = session.exec(select(Message.kind, func.count()).group_by(Message.kind)).all()
        assert dict(kinds) == {"text": LEADS * EACH, "outgoing": 1}, "own echoes leave nothing, a person's line is kept"

        wrong = httpx.post(f"{stack.url}/umnico/default/{'x' * 32}/webhook", json={}, trust_env=False)
        assert wrong.status_code == 403
        assert SECRET not in stack.output()
        assert umnico.token not in stack.output()
