"""Sending outbox rows: claim, call the channel outside any transaction, commit what became of it.

These commits are durable: what the channel was told must not be forgotten by a database that crashes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import Connection

from pipeline.errors import AmbiguousSend, FloodWait, NotSent, Undeliverable
from pipeline.senders.base import Outgoing
from ragline.errors import PermanentError, RaglineError, TransientError
from ragline.logs import get_logger
from storage import outbox
from storage.outbox import Closed, Sending
from storage.rows import ConversationRow
from storage.turns import NotYet, Opened
from workers.opening import open_turn
from workers.runtime import Runtime

log = get_logger(__name__)


class SenderDied(TransientError):
    """The process that was sending this row is gone."""


@dataclass(frozen=True)
class Sent:
    """What became of rows: the turn this closed, when to try again, and what was opened in the turn's place."""

    closed: Closed | None = None
    due: datetime | None = None
    following: tuple[ConversationRow, Opened | NotYet] | None = None


def send_rows(runtime: Runtime, row_ids: list[str], first: Sending | None = None) -> tuple[Sent, dict[str, datetime]]:
    """Send rows in order; ``first`` is the first of them, where it is claimed already.

    Returns what the last one brought about, and the rows to try again with their time; after one of those the
    rest of its turn waits behind it.
    """
    outcome, claimed = Sent(), first
    for row_id in row_ids:
        outcome = send_row(runtime, row_id, claimed)
        claimed = None
        if outcome.due is not None:
            return outcome, {row_id: outcome.due}
    return outcome, {}


def send_row(runtime: Runtime, row_id: str, claimed: Sending | None = None) -> Sent:
    """Send one row if it is due."""
    lease = runtime.settings.turn.lease
    sending = claimed or runtime.database.commit(
        lambda connection: outbox.claim(connection, row_id, now=runtime.clock(), lease=lease), durable=True
    )
    if sending is None:
        return Sent()
    with structlog.contextvars.bound_contextvars(
        outbox_id=row_id,
        turn_id=sending.row.turn_id,
        conversation_id=sending.conversation.id,
        channel=sending.conversation.channel,
    ):
        with runtime.leases.hold(
            lambda connection, now, lease: outbox.extend(connection, sending, now=now, lease=lease)
        ):
            outcome = _send(runtime, sending)
        if not (outcome.following and isinstance(outcome.following[1], Opened)):  # else the next turn is announced
            runtime.announce(sending.conversation.id)
        return outcome


def _send(runtime: Runtime, sending: Sending) -> Sent:
    row, conversation = sending.row, sending.conversation
    try:
        sender = runtime.sender(conversation.channel, conversation.account)
        outgoing = Outgoing(
            key=row.id,
            conversation=conversation.key,
            address=conversation.address,
            body=row.body,
            part=row.part,
            reply_to=sending.reply_to,
        )
        if row.resent and sender.already_sent(outgoing):
            log.info("part_was_there")
            external_id = None
        else:
            external_id = sender.send(outgoing)
    except FloodWait as error:
        until = runtime.clock() + timedelta(seconds=error.retry_after or 1)
        asked, whole = error, error.scope == "account"
        runtime.database.commit(
            lambda connection: outbox.flood(connection, sending, asked, until=until, whole_account=whole), durable=True
        )
        log.warning("flood_wait", seconds=error.retry_after, scope=error.scope)
        return Sent(due=until)
    except AmbiguousSend as error:
        return Sent(*settle_ambiguous(runtime, row.id, row.attempts, conversation.channel, conversation.account, error))
    except TransientError as error:
        if not isinstance(error, NotSent):
            log.error("sender_broke_its_contract", error_class=type(error).__name__)
        if row.attempts >= runtime.settings.turn.max_send_attempts:
            return Sent(_give_up(runtime, sending, error))
        until = runtime.clock() + _backoff(runtime, row.attempts, error)
        why = error
        runtime.database.commit(lambda connection: outbox.postpone(connection, sending, why, due=until), durable=True)
        log.warning("send_postponed", error=str(error), attempt=row.attempts)
        return Sent(due=until)
    except PermanentError as error:
        return Sent(_give_up(runtime, sending, error))
    except Exception as error:
        # A fault of ours after the request may have gone out: nobody can say, so it is treated so.
        log.exception("sender_crashed")
        ambiguous = AmbiguousSend(f"the sender failed unexpectedly ({type(error).__name__})")
        return Sent(
            *settle_ambiguous(runtime, row.id, row.attempts, conversation.channel, conversation.account, ambiguous)
        )
    outcome = runtime.database.commit(partial(_settle, runtime, sending, external_id), durable=True)
    log.info("part_sent", part=row.part, kind=row.kind)
    return outcome


def _settle(runtime: Runtime, sending: Sending, external_id: str | None, connection: Connection) -> Sent:
    """Note the delivery; where it ends the turn, the next one of its conversation is opened in the same transaction."""
    closed = outbox.sent(connection, sending, external_id, now=runtime.clock())
    if closed is None or not closed.more:
        return Sent(closed)
    opened = open_turn(runtime, connection, sending.conversation)
    return Sent(closed, following=(sending.conversation, opened) if opened else None)


def _give_up(runtime: Runtime, sending: Sending, error: RaglineError) -> Closed | None:
    unreachable = isinstance(error, Undeliverable)
    closed = runtime.database.commit(
        lambda connection: outbox.fail(connection, sending, error, now=runtime.clock(), undeliverable=unreachable),
        durable=True,
    )
    log.error("send_failed", error=str(error), error_class=type(error).__name__, attempts=sending.row.attempts)
    return closed


def settle_ambiguous(
    runtime: Runtime, row_id: str, attempt: int, channel: str, account: str, error: TransientError
) -> tuple[Closed | None, datetime | None]:
    """Send once more or keep for a person, as the account says."""
    configured = runtime.settings.channels.get(channel, {}).get(account)
    resend = configured is None or configured.ambiguous == "resend"
    now = runtime.clock()
    closed, becomes = runtime.database.commit(
        lambda connection: outbox.ambiguous(connection, row_id, attempt, error, now=now, resend=resend), durable=True
    )
    if becomes:
        log.warning("send_ambiguous", outbox_id=row_id, error=str(error), becomes=becomes)
    return closed, now if becomes == "pending" else None


def _backoff(runtime: Runtime, attempts: int, error: TransientError) -> timedelta:
    settings = runtime.settings.turn
    waited: timedelta = min(settings.retry_base * 2 ** min(attempts - 1, 16), settings.retry_max)
    return max(waited, timedelta(seconds=error.retry_after or 0))
