"""Durable acceptance: the message row exists once and is committed before the channel hears 200."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from hashlib import sha256
from itertools import count, groupby
from typing import Any, Literal

from pydantic_core import to_json
from sqlalchemy import Connection, Table, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert

from pipeline.envelope import Envelope
from ragline.errors import TransientError
from ragline.ids import new_id
from storage.models import Conversation, Message, Quarantine
from storage.rows import insert_ignoring

_conversation: Table = Conversation.__table__  # type: ignore[attr-defined]
_message: Table = Message.__table__  # type: ignore[attr-defined]
_quarantine: Table = Quarantine.__table__  # type: ignore[attr-defined]

#: Attempts at storing a group while others store the same events at the same moment.
TRIES = 4

# SQLite finds a row by (a, b, c) IN (...) only by reading the whole table; each of these reads an index.
_KNOWN = (
    _message.c.id, _message.c.conversation_id, _message.c.seq, _message.c.answerable, _message.c.fingerprint,
    _message.c.external_id, _message.c.update_key,
)  # fmt: skip
_EXTERNALS = (
    select(*_KNOWN)
    .join_from(_conversation, _message, _message.c.conversation_id == _conversation.c.id)
    .where(
        _conversation.c.channel == bindparam("channel"),
        _conversation.c.account == bindparam("account"),
        _conversation.c.key == bindparam("key"),
        _message.c.channel == bindparam("channel"),
        _message.c.account == bindparam("account"),
        _message.c.external_id.in_(bindparam("ids", expanding=True)),
    )
)
_UPDATES = select(*_KNOWN).where(
    _message.c.channel == bindparam("channel"),
    _message.c.account == bindparam("account"),
    _message.c.update_key.in_(bindparam("keys", expanding=True)),
)

#: A conversation's (channel, account, key), and the same with what is unique in it or in the account.
_Key = tuple[str, ...]
#: A stored message: its id, conversation, number, whether it is answerable, fingerprint.
_Known = tuple[str, str, int, bool, str]


class Contended(TransientError):
    """The same events are being stored by others."""


@dataclass(frozen=True)
class Acceptance:
    """What became of one envelope.

    ``outcome``: new; duplicate (the same event again: ``message_id`` is the first one's); conflict (the same
    id with another content, nothing stored).
    """

    message_id: str
    conversation_id: str
    seq: int
    outcome: Literal["new", "duplicate", "conflict"]
    answerable: bool


def fingerprint(envelope: Envelope) -> str:
    """SHA-256 over what the customer sent, so that a repeat can be told from another body under the same id."""
    sent = [envelope.kind, envelope.text, envelope.sender.id, envelope.media]
    return sha256(to_json([*sent, envelope.data] if envelope.data else sent)).hexdigest()


def accept(connection: Connection, envelopes: Sequence[Envelope], now: datetime) -> list[Acceptance]:
    """Store each envelope once and number it in its conversation; one result an envelope, in order.

    Holds the conversations' row locks until the transaction ends, so ``seq`` becomes visible in order. Raises
    :class:`Contended` when others store the same events again and again; the caller tries each by itself.
    """
    envelopes = [_without_nul(envelope) for envelope in envelopes]
    known: dict[_Key, _Known] = {}
    for _ in range(TRIES):
        attempt = connection.begin_nested()
        plan = _plan(connection, envelopes, dict(known), now)
        if insert_ignoring(connection, _message, plan.rows) == len(plan.rows):
            break
        # Nearly every delivery is new, so they are looked for only where storing them showed that one is not.
        attempt.rollback()
        known = _known_messages(connection, envelopes)
    else:
        raise Contended("others store the same messages at this moment; send them again")
    attempt.commit()
    for conversation_id, edit in plan.edits:
        # An edit of a message nobody has begun to answer replaces its text; a later one changes nothing.
        connection.execute(
            update(_message)
            .where(
                _message.c.conversation_id == conversation_id,
                _message.c.external_id == edit.edits,
                _message.c.turn_id.is_(None),
            )
            .values(text=edit.text, edited_at=now)
        )
    return plan.results


@dataclass(frozen=True)
class _Plan:
    """What is to be written for a group of envelopes, and what each of them is told."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    edits: list[tuple[str, Envelope]] = field(default_factory=list)
    results: list[Acceptance] = field(default_factory=list)


def _plan(connection: Connection, envelopes: Sequence[Envelope], known: dict[_Key, _Known], now: datetime) -> _Plan:
    """Number those that are new. ``known`` are the messages stored before; those of the group are added to it."""
    keys = [_keys(envelope) for envelope in envelopes]
    fresh: list[Envelope] = []
    seen = set(known)
    for envelope, (external, update_key) in zip(envelopes, keys, strict=True):
        if external not in seen and update_key not in seen:
            fresh.append(envelope)
            seen.update((external, update_key) if update_key else (external,))
    numbers = _next_numbers(connection, fresh, now)
    plan = _Plan()
    for envelope, (external, update_key) in zip(envelopes, keys, strict=True):
        print_ = fingerprint(envelope)
        earlier = known.get(external) or known.get(update_key)
        if earlier is not None:
            message_id, conversation_id, seq, answerable, earlier_print = earlier
            outcome: Literal["duplicate", "conflict"] = "duplicate" if earlier_print == print_ else "conflict"
            plan.results.append(Acceptance(message_id, conversation_id, seq, outcome, answerable))
            continue
        conversation_id, given = numbers[external[:3]]
        seq = next(given)
        plan.rows.append(
            {
                "id": envelope.id,
                "conversation_id": conversation_id,
                "channel": envelope.channel,
                "account": envelope.account,
                "external_id": envelope.external_id,
                "update_key": envelope.update_key,
                "seq": seq,
                "kind": envelope.kind,
                "answerable": envelope.answerable,
                "text": envelope.text,
                "fingerprint": print_,
                "envelope": envelope,
                "received_at": envelope.received_at,
            }
        )
        if envelope.kind == "edit" and envelope.edits:
            plan.edits.append((conversation_id, envelope))
        entry = (envelope.id, conversation_id, seq, envelope.answerable, print_)
        known[external] = entry
        if update_key:
            known[update_key] = entry
        plan.results.append(Acceptance(envelope.id, conversation_id, seq, "new", envelope.answerable))
    return plan


def _keys(envelope: Envelope) -> tuple[_Key, _Key]:
    """What tells the event from others in its conversation, and in its account (empty where the channel has none)."""
    channel, account = envelope.channel, envelope.account
    external = (channel, account, envelope.conversation, envelope.external_id)
    return external, (channel, account, envelope.update_key) if envelope.update_key else ()


def _next_numbers(
    connection: Connection, envelopes: Sequence[Envelope], now: datetime
) -> dict[_Key, tuple[str, Iterator[int]]]:
    """The conversations' ids and next numbers. Makes, locks, counts on and refreshes their rows."""
    changes: dict[_Key, dict[str, Any]] = {}
    for envelope in envelopes:
        key = (envelope.channel, envelope.account, envelope.conversation)
        change = changes.get(key)
        if change is None:
            change = changes[key] = {
                "id": new_id(), "channel": key[0], "account": key[1], "key": key[2], "last_seq": 0, "mode": "bot",
                "locale": None, "sender_id": None, "sender_name": None, "address": {},
                "created_at": now, "updated_at": now,
            }  # fmt: skip
        change["last_seq"] += 1
        _refresh(change, envelope)
    numbers: dict[_Key, tuple[str, Iterator[int]]] = {}
    # Sorted, so that two groups with the same conversations lock them in the same order.
    ordered = [changes[key] for key in sorted(changes)]
    for with_address, rows in groupby(ordered, key=lambda change: bool(change["address"])):
        for row in connection.execute(_count_on(connection.dialect.name, with_address), list(rows)):
            key = (row.channel, row.account, row.key)
            numbers[key] = row.id, count(row.last_seq - changes[key]["last_seq"] + 1)
    return numbers


@cache
def _count_on(dialect: str, with_address: bool) -> ReturningInsert[Any]:
    """Add to ``last_seq`` and keep what the row knows and the event does not say."""
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(_conversation)
    new = insert.excluded
    changes = {name: func.coalesce(new[name], _conversation.c[name]) for name in ("sender_id", "sender_name", "locale")}
    changes |= {"last_seq": _conversation.c.last_seq + new.last_seq, "updated_at": new.updated_at}
    if with_address:
        changes["address"] = new.address
    upsert = insert.on_conflict_do_update(index_elements=["channel", "account", "key"], set_=changes)
    counted: ReturningInsert[Any] = upsert.returning(
        *(_conversation.c[name] for name in ("id", "channel", "account", "key", "last_seq"))
    )
    return counted


def _known_messages(connection: Connection, envelopes: Sequence[Envelope]) -> dict[_Key, _Known]:
    externals: dict[_Key, set[str]] = defaultdict(set)
    updates: dict[_Key, set[str]] = defaultdict(set)
    for envelope in envelopes:
        (*talk, external_id), update_key = _keys(envelope)
        externals[tuple(talk)].add(external_id)
        if update_key:
            updates[update_key[:2]].add(update_key[2])
    known: dict[_Key, _Known] = {}
    for (channel, account, key), ids in externals.items():
        wanted = {"channel": channel, "account": account, "key": key, "ids": sorted(ids)}
        for row in connection.execute(_EXTERNALS, wanted):
            known[channel, account, key, row.external_id] = tuple(row[:5])
    for (channel, account), keys in updates.items():
        for row in connection.execute(_UPDATES, {"channel": channel, "account": account, "keys": sorted(keys)}):
            known[channel, account, row.update_key] = tuple(row[:5])
    return known


def _refresh(change: dict[str, Any], envelope: Envelope) -> None:
    """Keep the newest address and what is known of the customer; a person of the company is no customer."""
    if envelope.address:
        change["address"] = envelope.address
    if envelope.kind in ("outgoing", "event"):
        return
    # Cut to the columns' widths: a name of any length is no reason to refuse a message.
    change["sender_id"] = envelope.sender.id[:200]
    change["locale"] = (envelope.sender.locale or "")[:16] or change["locale"]
    change["sender_name"] = (envelope.sender.name or "")[:200] or change["sender_name"]


def quarantine(connection: Connection, *, channel: str, account: str, body: bytes, error: str, now: datetime) -> None:
    """Keep an authentic delivery nobody could parse; the same body is kept once."""
    insert_ignoring(
        connection,
        _quarantine,
        [
            {
                "id": new_id(),
                "channel": channel,
                "account": account,
                "digest": sha256(body).hexdigest(),
                "body": body,
                "error": error,
                "received_at": now,
            }
        ],
    )


def _without_nul(envelope: Envelope) -> Envelope:
    """PostgreSQL stores no NUL character in a text; a customer can send one."""
    sender = envelope.sender
    texts = {
        name: value.replace("\0", "\ufffd")
        for name in ("conversation", "external_id", "update_key", "text", "data", "edits")
        if "\0" in (value := getattr(envelope, name) or "")
    }
    named = {
        name: value.replace("\0", "\ufffd")
        for name in ("id", "name", "locale")
        if "\0" in (value := getattr(sender, name) or "")
    }
    if not texts and not named:
        return envelope
    return envelope.model_copy(update={**texts, "sender": sender.model_copy(update=named)})
