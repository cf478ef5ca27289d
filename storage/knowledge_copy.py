"""A copy of the knowledge base in another database, to try changes on."""

from __future__ import annotations

from sqlalchemy import Table, insert, select

from storage.models import KnowledgeItem, KnowledgePhrase
from storage.session import Database

#: Items copied in one transaction.
CHUNK = 500
_items: Table = KnowledgeItem.__table__  # type: ignore[attr-defined]
_phrases: Table = KnowledgePhrase.__table__  # type: ignore[attr-defined]


def copy_knowledge(source: Database, target: Database) -> int:
    """Copy all items and their phrasings, every column of them, into an empty base; returns how many items.

    The copy is in no vector index yet.
    """
    copied, after = 0, ""
    while True:
        with source.read() as session:
            page = select(_items).where(_items.c.id > after).order_by(_items.c.id).limit(CHUNK)
            items = [dict(row) for row in session.connection().execute(page).mappings()]
            ids = [item["id"] for item in items]
            of_them = select(_phrases).where(_phrases.c.item_id.in_(ids))
            phrases = [{**row, "index_id": None} for row in session.connection().execute(of_them).mappings()]
        if not items:
            return copied
        with target.write() as session:
            session.connection().execute(insert(_items), items)
            if phrases:
                session.connection().execute(insert(_phrases), phrases)
        copied, after = copied + len(items), ids[-1]
