"""The knowledge base in SQL, which is its truth; the vectors follow (:mod:`storage.index`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Table, bindparam, delete, func, update
from sqlmodel import Session, col, select

from ragline.clock import utcnow
from ragline.ids import new_id
from storage.knowledge_files import ItemRow
from storage.models import KnowledgeDocument, KnowledgeItem, KnowledgePhrase, VectorRemoval
from storage.session import Database
from storage.visibility import Visibility

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
    #: Ids of what was added and updated.
    touched: list[str] = field(default_factory=list, compare=False, repr=False)


def digest(text: str) -> str:
    """SHA-256 of a text, as phrases are told apart."""
    return hashlib.sha256(text.encode()).hexdigest()


def put_items(database: Database, rows: Sequence[ItemRow], *, source: str, now: datetime | None = None) -> Changes:
    """Add or replace items; an item is afterwards as its row says, phrasings included.

    An item that is so already is not touched, so the same rows again change nothing. What a row does not say of an
    item's visibility stays as it is.
    """
    changes, when = Changes(), now or utcnow()
    pending = iter(rows)
    while chunk := list(islice(pending, CHUNK)):
        with database.write() as session:
            put_rows(session, chunk, source=source, now=when, changes=changes)
    return changes


def put_rows(
    session: Session,
    rows: Sequence[ItemRow],
    *,
    source: str,
    now: datetime,
    changes: Changes,
    document: str | None = None,
) -> None:
    """:func:`put_items` in a transaction of the caller's, at most :data:`CHUNK` rows, as passages of a document."""
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
        values = _values(row, item, source)
        if document:
            values["document_id"] = document
        if item is None:
            changes.added += 1
            new_items.append({"id": row.id, "document_id": None, "created_at": now, "updated_at": now, **values})
        elif any(getattr(item, name) != value for name, value in values.items()) or set(have) != set(wanted):
            changes.updated += 1
            changed.append({"b_id": row.id, "updated_at": now, "document_id": item.document_id, **values})
        else:
            changes.unchanged += 1
            continue
        changes.touched.append(row.id)
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
        columns = [name for name in changed[0] if name != "b_id"]
        connection.execute(
            update(_item).where(_item.c.id == bindparam("b_id")).values({name: bindparam(name) for name in columns}),
            changed,
        )
    _remove_phrases(session, gone)
    if new_phrases:
        connection.execute(_phrase.insert(), new_phrases)


def _values(row: ItemRow, item: KnowledgeItem | None, source: str) -> dict[str, Any]:
    """The columns of an item as its row wants them, what it does not speak of as it stands."""
    seen = row.visibility or (visibility_of(item) if item else Visibility())
    return {
        "answer": row.answer,
        "tags": row.tags,
        "locale": row.locale,
        "heading": row.heading,
        "page": row.page,
        "source": row.source or (item.source if item else source),
        "status": seen.status,
        "valid_from": seen.valid_from,
        "valid_until": seen.valid_until,
        "channels": list(seen.channels),
        "languages": list(seen.languages),
    }


def visibility_of(item: KnowledgeItem) -> Visibility:
    """What is limited of an item."""
    return Visibility(item.status, item.valid_from, item.valid_until, tuple(item.channels), tuple(item.languages))


def set_visibility(
    database: Database, ids: Sequence[str], change: dict[str, Any], *, now: datetime | None = None
) -> tuple[list[str], list[str]]:
    """Change columns of :class:`~storage.visibility.Visibility` of items; returns the ids found, and those not."""
    found: list[str] = []
    with database.write() as session:
        for start in range(0, len(ids), CHUNK):
            chunk = list(ids[start : start + CHUNK])
            found += session.exec(select(KnowledgeItem.id).where(col(KnowledgeItem.id).in_(chunk)))
            lists = {name: list(value) for name, value in change.items() if isinstance(value, tuple)}
            values = {**change, **lists, "updated_at": now or utcnow()}
            session.connection().execute(update(_item).where(_item.c.id.in_(chunk)).values(values))
    return found, [item_id for item_id in ids if item_id not in set(found)]


def _texts_of(row: ItemRow) -> dict[str, tuple[str, str]]:
    """What is indexed of an item, by digest: its phrasings, or the passage where it has none."""
    passage = "\n".join(text for text in (row.heading, row.answer or row.id) if text)
    texts = [("question", text) for text in row.questions] or [("passage", passage)]
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
        return remove_rows(session, ids)


def remove_rows(session: Session, ids: Sequence[str]) -> int:
    """:func:`remove_items` in a transaction of the caller's."""
    removed = 0
    for start in range(0, len(ids), CHUNK):
        chunk = list(ids[start : start + CHUNK])
        phrases = session.exec(select(KnowledgePhrase).where(col(KnowledgePhrase.item_id).in_(chunk))).all()
        _remove_phrases(session, phrases)
        removed += session.connection().execute(delete(_item).where(_item.c.id.in_(chunk))).rowcount
    return removed


def list_items(database: Database, *, limit: int = 0, ids: Sequence[str] = ()) -> Iterator[ItemRow]:
    """Items in order of id with their phrasings; ``limit`` 0: all."""
    query = select(KnowledgeItem).order_by(col(KnowledgeItem.id))
    if ids:
        query = query.where(col(KnowledgeItem.id).in_(ids))
    with database.read() as session:
        items = session.exec(query.limit(limit) if limit else query).all()
        sources = document_sources(session)
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
                phrasings = texts.get(item.id, [])
                passage = (sources.get(item.document_id or "", item.source), item.heading, item.page)
                yield ItemRow(
                    item.id, item.answer, phrasings, list(item.tags), item.locale, visibility_of(item),
                    *((None, None, None) if phrasings else passage),
                )  # fmt: skip


def document_sources(session: Session) -> dict[str, str]:
    """What is cited of each document, by its id."""
    return {key: source for key, source in session.exec(select(KnowledgeDocument.id, KnowledgeDocument.source))}


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
