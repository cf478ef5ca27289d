"""Trained heads in SQL, so that every host has them. The newest of a model is the one in use."""

from __future__ import annotations

from sqlalchemy import delete
from sqlmodel import Session, col, select

from storage.models import KnowledgeHead
from storage.session import Database

#: Heads kept of a model: the one in use, and the one before it for whoever is reading it.
KEPT = 2


def newest(session: Session, embedder: str) -> str | None:
    """The id of the head in use; None before there is one."""
    query = select(KnowledgeHead.id).where(KnowledgeHead.embedder == embedder)
    return session.exec(query.order_by(col(KnowledgeHead.id).desc()).limit(1)).first()


def read(session: Session, head_id: str) -> bytes | None:
    """The stored form of a head, empty where the base taught nothing; None when it is gone."""
    return session.exec(select(KnowledgeHead.body).where(KnowledgeHead.id == head_id)).first()


def is_current(session: Session, revision: str, embedder: str) -> bool:
    """Whether the head in use was trained from this very base."""
    head_id = newest(session, embedder)
    query = select(KnowledgeHead.revision).where(KnowledgeHead.id == head_id)
    return head_id is not None and session.exec(query).first() == revision


def put(database: Database, revision: str, embedder: str, body: bytes) -> str:
    """Store a head and drop the old ones; returns its id."""
    with database.write() as session:
        row = KnowledgeHead(revision=revision, embedder=embedder, body=body)
        session.add(row)
        session.flush()
        query = select(KnowledgeHead.id).where(KnowledgeHead.embedder == embedder)
        kept = session.exec(query.order_by(col(KnowledgeHead.id).desc()).limit(KEPT)).all()
        session.exec(
            delete(KnowledgeHead).where(
                col(KnowledgeHead.embedder) == embedder, col(KnowledgeHead.id).not_in(list(kept))
            )
        )
        return row.id
