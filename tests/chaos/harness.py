"""One run: a stack, its load, the blows, and what was seen of it."""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from pathlib import Path

from tests.acceptance.stack import Stack, running
from tests.acceptance.topics import QUESTIONS, write_base
from tests.chaos.blows import Blows, dealing
from tests.chaos.databases import ChaosDatabase, database
from tests.chaos.plan import Plan
from tests.chaos.report import Asked, Report, Row, Seen, Shown, judge
from tests.support.fake_telegram import FakeTelegram

SECRET = secrets.token_urlsafe(24)
#: Seconds: short, so that what a dead process held is taken over while the run lasts.
LEASE, PATIENCE, SWEEP = 4, 5, 1
#: A stopped process sleeps longer than its lease and than the patience of whoever waits for it.
PAUSE = 7.0
#: Seconds a send takes: long enough that some are under way when their sender dies.
LATENCY = 0.25
ENVIRONMENT = {
    "TELEGRAM_MODE": "webhook",
    "TELEGRAM_WEBHOOK_SECRET": SECRET,
    "RAGLINE_QUIET_WINDOW": "0",
    "RAGLINE__TURN__MAX_MESSAGES": "1",
    "RAGLINE__TURN__LEASE": str(LEASE),
    "RAGLINE__TURN__PATIENCE": str(PATIENCE),
    "RAGLINE__TURN__SWEEP_PERIOD": str(SWEEP),
    "RAGLINE__KNOWLEDGE__DEMO": "off",
}


def run(kind: str, plan: Plan, folder: Path, *, drain: float = 120, **environment: str) -> Report:
    """Carry out ``plan`` on a stack in ``folder``; ``drain`` seconds after the last message or blow it is judged."""
    with database(kind, folder) as base:
        own = {**ENVIRONMENT, **({"DATABASE_URL": base.url} if base.url else {}), **environment}
        with (
            # Telegram waits longer for a webhook; here an ingress that hangs hears the same message again soon
            FakeTelegram(latency=LATENCY, webhook_timeout=1.5, backoff=(0.05, 0.5), max_retry_after=1) as telegram,
            running(
                folder / "data",
                TELEGRAM_BOT_TOKEN=telegram.token,
                TELEGRAM_API_BASE=telegram.url,
                **own,
            ) as stack,
        ):
            base.use(stack.about["database_url"])
            stack.ragline("kb", "import", str(write_base(folder / "topics.jsonl")))
            telegram.set_webhook(f"{stack.url}/telegram/default/webhook", SECRET)
            return judge(_observe(plan, stack, telegram, base, drain))


def _observe(plan: Plan, stack: Stack, telegram: FakeTelegram, base: ChaosDatabase, drain: float) -> Seen:
    blows = Blows(stack, telegram, base, pause=PAUSE)
    said: list[tuple[int, int, float, int]] = []
    start = time.monotonic()
    try:
        with dealing(blows, plan.blows, start):
            for say in plan.says:
                time.sleep(max(0.0, start + say.at - time.monotonic()))
                at = time.time()
                update = telegram.user_says(say.chat, QUESTIONS[say.topic])
                said.append((say.chat, say.topic, at, update["update_id"]))
                if say.again:  # behind what the chat has waiting, as when our 200 was lost
                    telegram.redeliver(update)
        telegram.faults.clear()
        over = time.monotonic()
        _wait_settled(base, telegram, len(said), drain)
        settled = time.monotonic()
    finally:
        blows.close()
    with telegram.lock:
        shown = [Shown(one.chat_id, one.text, one.at) for one in telegram.sent]
        deliveries = list(telegram.deliveries)
    accepted = {one.update_id for one in deliveries if one.status == 200}
    rows = base.query(
        "SELECT o.id, c.key, o.body, o.status, o.resent FROM outbox o JOIN conversation c ON c.id = o.conversation_id"
    )
    turns = base.query("SELECT status, count(*) AS number FROM turn GROUP BY status")
    repeated = (
        "SELECT count(*) FROM (SELECT turn_id FROM step_run WHERE outcome = 'ok'"
        " GROUP BY turn_id, step, round HAVING count(*) > 1) AS again"
    )
    return Seen(
        asked=[Asked(chat, topic, at, update in accepted) for chat, topic, at, update in said],
        shown=shown,
        rows=[Row(row.id, int(row.key), _text(row.body), row.status, bool(row.resent)) for row in rows],
        stored=base.query("SELECT count(*) FROM message")[0][0],
        turns={row.status: row.number for row in turns},
        repeated=base.query(repeated)[0][0],
        kills=blows.kills,
        exposure=blows.exposure(),
        troubles=blows.troubles,
        blows=blows.dealt,
        faults=Counter(f"{one.fault.kind}{' shown' if one.fault.after else ''}" for one in telegram.faults.fired),
        deliveries=Counter("unanswered" if one.status is None else str(one.status) for one in deliveries),
        seconds={"start": stack.ready_after, "load": over - start, "drain": settled - over},
    )


def _wait_settled(base: ChaosDatabase, telegram: FakeTelegram, messages: int, drain: float) -> None:
    """Until everything is stored and nothing is open, and then a moment for what nobody should send; or ``drain``."""
    open_work = (
        "SELECT (SELECT count(*) FROM turn WHERE status = 'processing')"
        " + (SELECT count(*) FROM outbox WHERE status IN ('pending', 'sending'))"
        " + (SELECT count(*) FROM message WHERE turn_id IS NULL AND answerable)"
        f" + CASE WHEN (SELECT count(*) FROM message) < {messages} THEN 1 ELSE 0 END"
    )
    until = time.monotonic() + drain
    while time.monotonic() < until:
        if not telegram.pending_updates() and not base.query(open_work)[0][0]:
            time.sleep(2 * SWEEP + 1)
            return
        time.sleep(0.25)


def _text(body: object) -> str:
    """The text of an outbox body, which one driver hands out as JSON and the other as text."""
    read = json.loads(body) if isinstance(body, str) else body
    return str(read.get("text", "")) if isinstance(read, dict) else ""
