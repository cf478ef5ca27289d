"""The knowledge base in SQL, which is its truth; the vectors follow (:mod:`storage.index`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Table, bindparam, delete, func, update
from sqlmodel import Session, col, select

from ragline.clock import utcnow
from ragline.ids import new_id
from storage.knowledge_files import ItemRow
from storage.models import KnowledgeItem, KnowledgePhrase, VectorRemoval
from storage.session import Database

#: Rows a statement.
CHUNK = 500

_item: Table = KnowledgeItem.__table__  # type: ignore[attr-defined]
_phrase: Table = KnowledgePhrase.__table__  # type: ignore[attr-defined]
_removal: Table = VectorRemoval.__table__  # type: ignore[attr-defined]


@dataclass
class Changes:
    """What an import did, in items."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0


def digest(text: str) -> str:
    """SHA-256 of a text, as phrases are told apart."""
    return hashlib.sha256(text.encode()).hexdigest()


def put_items(database: Database, rows: Sequence[ItemRow], *, source: str, now: datetime | None = None) -> Changes:
    """Add or replace items; an item is afterwards as its row says, phrasings included.

    An item that is so already is not touched, so the same rows again change nothing.
    """
    changes, when = Changes(), now or utcnow()
    pending = iter(rows)
    while chunk := list(islice(pending, CHUNK)):
        with database.write() as session:
            _put_chunk(session, chunk, source, when, changes)
    return changes


def _put_chunk(session: Session, rows: Sequence[ItemRow], source: str, now: datetime, changes: Changes) -> None:
    ids = [row.id for row in rows]
    known = {item.id: item for item in session.exec(select(KnowledgeItem).where(col(KnowledgeItem.id).in_(ids)))}
    phrases: dict[str, dict[str, KnowledgePhrase]] = {}
    for phrase in session.exec(select(KnowledgePhrase).where(col(KnowledgePhrase.item_id).in_(ids))):
        phrases.setdefault(phrase.item_id, {})[phrase.digest] = phrase
    new_items: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    new_phrases: list[dict[str, Any]] = []
    gone: list[KnowledgePhrase] = []
    for row in rows:
        wanted = _texts_of(row)
        have = phrases.get(row.id, {})
        item = known.get(row.id)
        values = {"answer": row.answer, "tags": row.tags, "locale": row.locale, "updated_at": now}
        if item is None:
            changes.added += 1
            new_items.append({"id": row.id, "status": "active", "source": source, "created_at": now, **values})
        elif (item.answer, item.tags, item.locale) != (row.answer, row.tags, row.locale) or set(have) != set(wanted):
            changes.updated += 1
            changed.append({"b_id": row.id, **values})
        else:
            changes.unchanged += 1
            continue
        gone += [phrase for key, phrase in have.items() if key not in wanted]
        new_phrases += [
            {"id": new_id(), "item_id": row.id, "kind": kind, "position": position, "text": text, "digest": key}
            for position, (key, (kind, text)) in enumerate(wanted.items())
            if key not in have
        ]
    connection = session.connection()
    if new_items:
        connection.execute(_item.insert(), new_items)
    if changed:
        columns = ("answer", "tags", "locale", "updated_at")
        connection.execute(
            update(_item).where(_item.c.id == bindparam("b_id")).values({name: bindparam(name) for name in columns}),
            changed,
        )
    _remove_phrases(session, gone)
    if new_phrases:
        connection.execute(_phrase.insert(), new_phrases)


def _texts_of(row: ItemRow) -> dict[str, tuple[str, str]]:
    """What is indexed of an item, by digest: its phrasings, or the passage where it has none."""
    texts = [("question", text) for text in row.questions] or [("passage", row.answer or row.id)]
    return {digest(text): (kind, text) for kind, text in texts}


def _remove_phrases(session: Session, phrases: Sequence[KnowledgePhrase]) -> None:
    indexed = [{"phrase_id": p.id, "index_id": p.index_id} for p in phrases if p.index_id]
    connection = session.connection()
    if indexed:
        connection.execute(_removal.insert(), indexed)
    for start in range(0, len(phrases), CHUNK):
        ids = [phrase.id for phrase in phrases[start : start + CHUNK]]
        connection.execute(delete(_phrase).where(_phrase.c.id.in_(ids)))


def remove_items(database: Database, ids: Sequence[str]) -> int:
    """Remove items and what was indexed of them; returns how many there were."""
    with database.write() as session:
        phrases = session.exec(select(KnowledgePhrase).where(col(KnowledgePhrase.item_id).in_(ids))).all()
        _remove_phrases(session, phrases)
        found = session.connection().execute(delete(_item).where(_item.c.id.in_(list(ids))))
        return found.rowcount


def list_items(database: Database, *, limit: int = 0, ids: Sequence[str] = ()) -> Iterator[ItemRow]:
    """Items in order of id with their phrasings; ``limit`` 0: all."""
    query = select(KnowledgeItem).order_by(col(KnowledgeItem.id))
    if ids:
        query = query.where(col(KnowledgeItem.id).in_(ids))
    with database.read() as session:
        items = session.exec(query.limit(limit) if limit else query).all()
        for start in range(0, len(items), CHUNK):
            chunk = items[start : start + CHUNK]
            texts: dict[str, list[str]] = {}
            found = session.exec(
                select(KnowledgePhrase.item_id, KnowledgePhrase.text)
                .where(
                    col(KnowledgePhrase.item_id).in_([item.id for item in chunk]), KnowledgePhrase.kind == "question"
                )
                .order_by(col(KnowledgePhrase.position))
            )
            for item_id, text in found:
                texts.setdefault(item_id, []).append(text)
            for item in chunk:
                yield ItemRow(item.id, item.answer, texts.get(item.id, []), list(item.tags), item.locale)


def count_items(session: Session) -> int:
    """Items in the base."""
    return session.exec(select(func.count()).select_from(KnowledgeItem)).one()


def revision(session: Session) -> tuple[int, str]:
    """A value that changes with every change of the base."""
    count, newest = session.exec(select(func.count(), func.max(KnowledgeItem.updated_at))).one()
    return count, str(newest)


def phrasings(session: Session) -> list[tuple[str, str]]:
    """Item and text of every phrasing of a question, of active items, in a fixed order."""
    query = (
        select(KnowledgePhrase.item_id, KnowledgePhrase.text)
        .join(KnowledgeItem, col(KnowledgeItem.id) == KnowledgePhrase.item_id)
        .where(KnowledgeItem.status == "active", KnowledgePhrase.kind == "question")
        .order_by(col(KnowledgePhrase.item_id), col(KnowledgePhrase.digest))
    )
    return [(item, text) for item, text in session.exec(query)]


def fingerprint(session: Session) -> str:
    """SHA-256 over :func:`phrasings`: the same base has the same one on every host."""
    query = (
        select(KnowledgePhrase.item_id, KnowledgePhrase.digest)
        .join(KnowledgeItem, col(KnowledgeItem.id) == KnowledgePhrase.item_id)
        .where(KnowledgeItem.status == "active", KnowledgePhrase.kind == "question")
        .order_by(col(KnowledgePhrase.item_id), col(KnowledgePhrase.digest))
    )
    total = hashlib.sha256()
    for item, own in session.exec(query):
        total.update(f"{item}\0{own}\n".encode())
    return total.hexdigest()
