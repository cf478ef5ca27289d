"""Durable acceptance: the message row exists once and is committed before the channel hears 200."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, Literal

from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from pipeline.envelope import Envelope
from ragline.ids import new_id
from storage.models import Conversation, Message, Quarantine
from storage.rows import insert_ignoring

_conversation: Table = Conversation.__table__  # type: ignore[attr-defined]
_message: Table = Message.__table__  # type: ignore[attr-defined]
_quarantine: Table = Quarantine.__table__  # type: ignore[attr-defined]

# SQLite finds a row by (a, b, c) IN (...) only by reading the whole table; each of these reads an index.
_CONVERSATIONS = (
    select(_conversation)
    .where(
        _conversation.c.channel == bindparam("channel"),
        _conversation.c.account == bindparam("account"),
        _conversation.c.key.in_(bindparam("keys", expanding=True)),
    )
    .order_by(_conversation.c.key)
    .with_for_update()
)
_KNOWN = (
    _message.c.id, _message.c.conversation_id, _message.c.seq, _message.c.answerable, _message.c.fingerprint,
    _message.c.channel, _message.c.account, _message.c.external_id, _message.c.update_key,
)  # fmt: skip
_EXTERNALS = select(*_KNOWN).where(
    _message.c.channel == bindparam("channel"),
    _message.c.account == bindparam("account"),
    _message.c.conversation_id == bindparam("talk"),
    _message.c.external_id.in_(bindparam("ids", expanding=True)),
)
_UPDATES = select(*_KNOWN).where(
    _message.c.channel == bindparam("channel"),
    _message.c.account == bindparam("account"),
    _message.c.update_key.in_(bindparam("keys", expanding=True)),
)


_PROFILE = ("address", "locale", "sender_id", "sender_name")
_REFRESH = (
    _conversation.update()
    .where(_conversation.c.id == bindparam("b_id"))
    .values({name: bindparam(name) for name in ("last_seq", *_PROFILE, "updated_at")})
)
#: A stored message: its id, conversation, number, whether it is answerable, fingerprint.
_Known = tuple[str, str, int, bool, str]


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
    content = [envelope.kind, envelope.text, envelope.sender.id, [m.model_dump(mode="json") for m in envelope.media]]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def accept(session: Session, envelopes: Sequence[Envelope], now: datetime) -> list[Acceptance]:
    """Store each envelope once and number it in its conversation; one result an envelope, in order.

    Holds the conversations' row locks until the transaction ends, so ``seq`` becomes visible in order.
    Raises :class:`~sqlalchemy.exc.IntegrityError` when another transaction has just stored an update of the
    same ``update_key`` in another conversation; the caller retries row by row.
    """
    envelopes = [_without_nul(envelope) for envelope in envelopes]
    conversations = _lock_conversations(session, envelopes, now)
    # Nearly every delivery is new, so they are looked for only where storing them shows that one is not.
    plan = _plan(envelopes, conversations, {}, now)
    attempt = session.begin_nested()
    if insert_ignoring(session.connection(), _message, plan.rows) == len(plan.rows):
        attempt.commit()
    else:
        attempt.rollback()
        plan = _plan(envelopes, conversations, _known_messages(session, envelopes, conversations), now)
        if plan.rows:
            session.connection().execute(_message.insert(), plan.rows)
    connection = session.connection()
    if plan.touched:
        connection.execute(_REFRESH, list(plan.touched.values()))
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
    touched: dict[str, dict[str, Any]] = field(default_factory=dict)
    results: list[Acceptance] = field(default_factory=list)


def _plan(
    envelopes: Sequence[Envelope],
    conversations: dict[tuple[str, ...], Any],
    known: dict[tuple[str, ...], _Known],
    now: datetime,
) -> _Plan:
    """``known`` are the messages stored before; those of the group itself are added to it."""
    plan = _Plan()
    for envelope in envelopes:
        conversation = conversations[envelope.channel, envelope.account, envelope.conversation]
        print_ = fingerprint(envelope)
        earlier = known.get(_external_key(envelope, conversation.id)) or known.get(_update_key(envelope))
        if earlier is not None:
            message_id, conversation_id, seq, answerable, earlier_print = earlier
            outcome: Literal["duplicate", "conflict"] = "duplicate" if earlier_print == print_ else "conflict"
            plan.results.append(Acceptance(message_id, conversation_id, seq, outcome, answerable))
            continue
        state = plan.touched.setdefault(
            conversation.id, {"b_id": conversation.id, "last_seq": conversation.last_seq, **_profile(conversation)}
        )
        state["last_seq"] += 1
        _refresh(state, envelope)
        state["updated_at"] = now
        plan.rows.append(
            {
                "id": envelope.id,
                "conversation_id": conversation.id,
                "channel": envelope.channel,
                "account": envelope.account,
                "external_id": envelope.external_id,
                "update_key": envelope.update_key,
                "seq": state["last_seq"],
                "kind": envelope.kind,
                "answerable": envelope.answerable,
                "text": envelope.text,
                "fingerprint": print_,
                "envelope": envelope.model_dump(mode="json"),
                "received_at": envelope.received_at,
            }
        )
        if envelope.kind == "edit" and envelope.edits:
            plan.edits.append((conversation.id, envelope))
        entry = (envelope.id, conversation.id, state["last_seq"], envelope.answerable, print_)
        known[_external_key(envelope, conversation.id)] = entry
        if envelope.update_key:
            known[_update_key(envelope)] = entry
        plan.results.append(Acceptance(envelope.id, conversation.id, state["last_seq"], "new", envelope.answerable))
    return plan


def accept_one(session: Session, envelope: Envelope, now: datetime) -> Acceptance:
    """:func:`accept` for a single envelope, also when another transaction stored it at the same moment."""
    envelope = _without_nul(envelope)
    try:
        with session.begin_nested():
            return accept(session, [envelope], now)[0]
    except IntegrityError:
        found = session.connection().execute(
            select(
                _message.c.id, _message.c.conversation_id, _message.c.seq, _message.c.answerable, _message.c.fingerprint
            ).where(
                _message.c.channel == envelope.channel,
                _message.c.account == envelope.account,
                _message.c.update_key == envelope.update_key,
            )
        ).one()  # fmt: skip
        outcome: Literal["duplicate", "conflict"] = (
            "duplicate" if found.fingerprint == fingerprint(envelope) else "conflict"
        )
        return Acceptance(found.id, found.conversation_id, found.seq, outcome, found.answerable)


def quarantine(session: Session, *, channel: str, account: str, body: bytes, error: str, now: datetime) -> None:
    """Keep an authentic delivery nobody could parse; the same body is kept once."""
    insert_ignoring(
        session.connection(),
        _quarantine,
        [
            {
                "id": new_id(),
                "channel": channel,
                "account": account,
                "digest": hashlib.sha256(body).hexdigest(),
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
        for name in ("conversation", "external_id", "update_key", "text", "edits")
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


def _external_key(envelope: Envelope, conversation_id: str) -> tuple[str, ...]:
    return ("external", envelope.channel, envelope.account, conversation_id, envelope.external_id)


def _update_key(envelope: Envelope) -> tuple[str, ...]:
    return ("update", envelope.channel, envelope.account, envelope.update_key or "")


def _lock_conversations(session: Session, envelopes: Sequence[Envelope], now: datetime) -> dict[tuple[str, ...], Any]:
    keys = sorted({(e.channel, e.account, e.conversation) for e in envelopes})
    insert_ignoring(
        session.connection(),
        _conversation,
        [
            {
                "id": new_id(),
                "channel": channel,
                "account": account,
                "key": key,
                "last_seq": 0,
                "mode": "bot",
                "address": {},
                "created_at": now,
                "updated_at": now,
            }
            for channel, account, key in keys
        ],
    )
    # Sorted, so that two groups with the same conversations lock them in the same order.
    found: dict[tuple[str, ...], Any] = {}
    for (channel, account), of_account in groupby(keys, key=lambda key: key[:2]):
        wanted = {"channel": channel, "account": account, "keys": [key for _, _, key in of_account]}
        for row in session.connection().execute(_CONVERSATIONS, wanted):
            found[row.channel, row.account, row.key] = row
    return found


def _known_messages(
    session: Session, envelopes: Sequence[Envelope], conversations: dict[tuple[str, ...], Any]
) -> dict[tuple[str, ...], _Known]:
    externals: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    updates: dict[tuple[str, str], set[str]] = defaultdict(set)
    for e in envelopes:
        externals[e.channel, e.account, conversations[e.channel, e.account, e.conversation].id].add(e.external_id)
        if e.update_key:
            updates[e.channel, e.account].add(e.update_key)
    connection = session.connection()
    found: list[Any] = []
    for (channel, account, talk), ids in externals.items():
        wanted = {"channel": channel, "account": account, "talk": talk, "ids": sorted(ids)}
        found += connection.execute(_EXTERNALS, wanted)
    for (channel, account), keys in updates.items():
        found += connection.execute(_UPDATES, {"channel": channel, "account": account, "keys": sorted(keys)})
    known: dict[tuple[str, ...], _Known] = {}
    for row in found:
        entry = (row.id, row.conversation_id, row.seq, row.answerable, row.fingerprint)
        known["external", row.channel, row.account, row.conversation_id, row.external_id] = entry
        if row.update_key:
            known["update", row.channel, row.account, row.update_key] = entry
    return known


def _profile(conversation: Any) -> dict[str, Any]:
    return {name: getattr(conversation, name) for name in _PROFILE}


def _refresh(state: dict[str, Any], envelope: Envelope) -> None:
    """Keep the newest address and what is known of the customer; a person of the company is no customer."""
    if envelope.address:
        state["address"] = envelope.address
    if envelope.kind in ("outgoing", "event"):
        return
    # Cut to the columns' widths: a name of any length is no reason to refuse a message.
    state["sender_id"] = envelope.sender.id[:200]
    state["locale"] = (envelope.sender.locale or "")[:16] or state["locale"]
    state["sender_name"] = (envelope.sender.name or "")[:200] or state["sender_name"]
