"""Opening turns, and handing them to the workers as a chain of tasks, one a step."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from celery import Celery, chain
from sqlalchemy import Connection

from pipeline.prompts import account_prompts
from pipeline.steps.classify import language_of
from pipeline.steps.deliver import notice
from ragline.logs import get_logger
from storage import load, outbox, rows, turns
from storage.rows import ConversationRow, TurnRow
from storage.steps import ALL_STEPS
from storage.turns import NotYet, Opened
from workers.load import account_is_over
from workers.runtime import Runtime

log = get_logger(__name__)


def submit(app: Celery, turn_id: str, step: str) -> None:
    """Enqueue the turn's steps from ``step`` on. Never raises: an overdue turn is found by the sweeper."""
    todo = ALL_STEPS[ALL_STEPS.index(step) :]
    try:
        chain(*(app.signature(f"ragline.{name}", args=(turn_id,), immutable=True) for name in todo)).apply_async()
    except Exception as error:  # kombu raises transport errors of several families
        log.warning("turn_not_enqueued", turn_id=turn_id, error=type(error).__name__)


def send(app: Celery, runtime: Runtime, turn_id: str) -> None:
    """Enqueue the sending of a turn's answer, which is written already. Never raises, as :func:`submit`."""
    with runtime.database.read() as session:
        rows = outbox.pending_of(session, turn_id)
    try:
        for row_id in rows[:1]:  # the task sends the later parts too
            app.send_task("ragline.send", args=[row_id])
    except Exception as error:  # kombu raises transport errors of several families
        log.warning("turn_not_enqueued", turn_id=turn_id, error=type(error).__name__)


def open_turns(runtime: Runtime, app: Celery, conversation_ids: Iterable[str]) -> dict[str, datetime]:
    """Open a turn in each conversation whose burst is over.

    Returns the conversations to look at again, and when.
    """
    later: dict[str, datetime] = {}
    for conversation_id in conversation_ids:
        following = _open(runtime, conversation_id)
        due = start(runtime, app, *following) if following else None
        if due is not None:
            later[conversation_id] = due
    return later


def start(runtime: Runtime, app: Celery, conversation: ConversationRow, opened: Opened | NotYet) -> datetime | None:
    """Set off a turn that was opened. Returns when to look at the conversation again, where its burst goes on."""
    while isinstance(opened, Opened) and (why := _over_limit(runtime, conversation, opened)):
        turn = _refuse(runtime, conversation, opened.turn, why)
        log.warning("turn_limited", turn_id=turn.id, conversation_id=conversation.id)
        send(app, runtime, turn.id)
        runtime.announce(conversation.id)
        following = _open(runtime, conversation.id)
        if following is None:
            return None
        conversation, opened = following
    if isinstance(opened, NotYet):
        return opened.due
    turn = opened.turn
    log.debug("turn_opened", turn_id=turn.id, conversation_id=conversation.id, round=turn.round)
    if turn.step:
        submit(app, turn.id, turn.step)
    else:
        send(app, runtime, turn.id)
    runtime.announce(conversation.id)
    return None


def open_turn(runtime: Runtime, connection: Connection, conversation: ConversationRow) -> Opened | NotYet | None:
    """Open the next turn of a conversation whose row the transaction has locked, if its burst is over."""
    settings = runtime.settings
    return turns.open_turn(
        connection,
        conversation,
        now=runtime.clock(),
        quiet=settings.quiet_window(conversation.channel, conversation.account),
        longest_wait=settings.turn.longest_wait,
        max_messages=settings.turn.max_messages,
        patience=settings.turn.patience,
        window=settings.limits.window,
    )


def _open(runtime: Runtime, conversation_id: str) -> tuple[ConversationRow, Opened | NotYet] | None:
    def gather(connection: Connection) -> tuple[ConversationRow, Opened | NotYet] | None:
        conversation = rows.conversation(connection, conversation_id, lock=True)
        opened = conversation and open_turn(runtime, connection, conversation)
        return (conversation, opened) if conversation and opened else None

    return runtime.database.commit(gather)


def _over_limit(runtime: Runtime, conversation: ConversationRow, opened: Opened) -> str | None:
    """Which limit a new turn is above."""
    limits = runtime.settings.limits
    window = f"in {limits.window.total_seconds():g} s"
    if opened.recent > limits.per_sender:
        return f"more than {limits.per_sender} turns of one conversation {window}"
    if opened.recent and account_is_over(runtime.redis, runtime.settings, conversation.channel, conversation.account):
        return f"more than {limits.per_account} turns of one account {window}"
    return None


def _refuse(runtime: Runtime, conversation: ConversationRow, turn: TurnRow, why: str) -> TurnRow:
    """Close a turn that is above a limit; the first one of a row says so to the customer."""
    told: list[dict[str, Any]] = []
    with runtime.database.read() as session:
        first = not load.last_was_limited(session, conversation.id, before=turn.id)
        asked = rows.messages_of(session.connection(), turn.id)
    if first and conversation.mode == "bot":
        sender = runtime.sender(conversation.channel, conversation.account)
        language = language_of(asked[0].text if asked else "", conversation.locale)
        with account_prompts(runtime.settings.prompts.folder, conversation.channel, conversation.account):
            told = notice(language, sender=sender, address=conversation.address, name="limited")
    return runtime.database.commit(
        lambda connection: turns.limit(connection, turn, why=why, now=runtime.clock(), notice=told)
    )
