"""Opening turns, and handing them to the workers as a chain of four tasks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from celery import Celery, chain
from sqlalchemy import Connection

from pipeline.steps.classify import language_of
from pipeline.steps.deliver import notice
from ragline.logs import get_logger
from storage import load, outbox, rows, turns
from storage.rows import ConversationRow, TurnRow
from storage.steps import STEPS
from storage.turns import NotYet
from workers.load import account_is_over
from workers.runtime import Runtime

log = get_logger(__name__)


def submit(app: Celery, turn_id: str, step: str) -> None:
    """Enqueue the turn's steps from ``step`` on. Never raises: an overdue turn is found by the sweeper."""
    todo = STEPS[STEPS.index(step) :]
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
        opened = _open(runtime, conversation_id)
        while isinstance(opened, TurnRow) and opened.status != "processing":  # closed by the rate limit
            log.warning("turn_limited", turn_id=opened.id, conversation_id=conversation_id)
            send(app, runtime, opened.id)
            runtime.announce(conversation_id)
            opened = _open(runtime, conversation_id)
        if isinstance(opened, NotYet):
            later[conversation_id] = opened.due
        elif opened is not None:
            log.debug("turn_opened", turn_id=opened.id, conversation_id=conversation_id, round=opened.round)
            if opened.step:
                submit(app, opened.id, opened.step)
            else:
                send(app, runtime, opened.id)
            runtime.announce(conversation_id)
    return later


def _open(runtime: Runtime, conversation_id: str) -> TurnRow | NotYet | None:
    settings, limits = runtime.settings, runtime.settings.limits

    def gather(connection: Connection) -> tuple[ConversationRow | None, TurnRow | NotYet | None, int | None]:
        conversation = rows.conversation(connection, conversation_id, lock=True)
        if conversation is None:
            return None, None, None
        opened = turns.open_turn(
            connection,
            conversation,
            now=runtime.clock(),
            quiet=settings.quiet_window(conversation.channel, conversation.account),
            longest_wait=settings.turn.longest_wait,
            max_messages=settings.turn.max_messages,
            patience=settings.turn.patience,
        )
        if not isinstance(opened, TurnRow) or opened.round or not opened.step:
            return conversation, opened, None  # nothing new that a limit could be for
        return conversation, opened, load.answered_since(connection, conversation_id, runtime.clock() - limits.window)

    conversation, opened, recent = runtime.database.commit(gather)
    if conversation is None or not isinstance(opened, TurnRow) or recent is None:
        return opened
    window = f"in {limits.window.total_seconds():g} s"
    if recent > limits.per_sender:
        return _refuse(
            runtime, conversation, opened, f"more than {limits.per_sender} turns of one conversation {window}"
        )
    if account_is_over(runtime.redis, settings, conversation.channel, conversation.account):
        why = f"more than {limits.per_account} turns of one account {window}"
        return _refuse(runtime, conversation, opened, why)
    return opened


def _refuse(runtime: Runtime, conversation: ConversationRow, turn: TurnRow, why: str) -> TurnRow:
    """Close a turn that is above a limit; the first one of a row says so to the customer."""
    told: list[dict[str, Any]] = []
    with runtime.database.read() as session:
        first = not load.last_was_limited(session, conversation.id, before=turn.id)
        asked = rows.messages_of(session.connection(), turn.id)
    if first and conversation.mode == "bot":
        sender = runtime.sender(conversation.channel, conversation.account)
        language = language_of(asked[0].text if asked else "", conversation.locale)
        told = notice(language, sender=sender, address=conversation.address, name="limited")
    return runtime.database.commit(
        lambda connection: turns.limit(connection, turn, why=why, now=runtime.clock(), notice=told)
    )
