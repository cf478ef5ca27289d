"""Documents into SQL: passages by content, so that what has not changed keeps its vectors; what is gone is removed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from sqlmodel import Session, col, delete, select

from ragline.clock import utcnow
from ragline.errors import ConfigurationError
from ragline.ids import new_id
from storage.documents.blocks import Unreadable
from storage.documents.chunks import Passage, passages
from storage.documents.sandbox import Sandbox
from storage.knowledge import CHUNK, Changes, digest, put_rows, remove_rows, visibility_of
from storage.knowledge_files import ItemRow
from storage.models import KnowledgeDocument, KnowledgeItem
from storage.session import Database
from storage.visibility import Visibility

#: Told how many more documents have been found.
Progress = Callable[[int], None]
#: Raised with every change of what parsers and chunks make of the same file: documents are then read again.
VERSION = 1


def silently(done: int) -> None:
    """The progress of nobody who watches."""


class Document(NamedTuple):
    """A document as it was found. ``location`` tells it apart, ``source`` is cited, ``kind`` names its parser."""

    location: str
    source: str
    kind: str
    content: bytes
    charset: str | None = None


class Skipped(NamedTuple):
    """A document that could not be read, and why. It is still there: an earlier version of it stays."""

    location: str
    source: str
    reason: str


class Origin(Protocol):
    """A folder or a site map. ``ignored`` and ``whole`` are known once the documents have been gone through."""

    #: Files or pages of types nobody reads.
    ignored: int
    #: All of it was listed: what was not found is gone.
    whole: bool

    @property
    def origin(self) -> str:
        """What tells it apart."""
        ...

    @property
    def below(self) -> str | None:
        """Whatever has a location that begins so is its too."""
        ...

    def documents(self) -> Iterator[Document | Skipped]:
        """What it holds now."""
        ...


@dataclass
class Report:
    """What an import of documents did; ``items`` counts passages."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    items: Changes = field(default_factory=Changes)


def import_documents(
    database: Database,
    found: Iterable[Document | Skipped],
    report: Report,
    *,
    origin: str,
    sandbox: Sandbox,
    progress: Progress = silently,
    now: datetime | None = None,
) -> set[str]:
    """Read what is new or has changed since the last time; returns the locations that were found.

    One that cannot be read is noted in ``report`` and left as it was.
    """
    when, seen = now or utcnow(), set()
    for document in found:
        progress(1)
        seen.add(document.location)
        if isinstance(document, Skipped):
            report.skipped.append(document)
            continue
        mark = hashlib.sha256(b"%d:%s:" % (VERSION, document.kind.encode()) + document.content).hexdigest()
        with database.read() as session:
            known = _known(session, document.location)
        if known and (known.digest, known.source, known.origin) == (mark, document.source, origin):
            report.unchanged += 1
            continue
        try:
            parsed = sandbox.read(document.content, document.kind, document.charset)
        except Unreadable as error:
            report.skipped.append(Skipped(document.location, document.source, str(error)))
            continue
        with database.write() as session:
            added = _put(session, document, parsed.title, passages(parsed), mark, origin, when, report.items)
        report.added, report.updated = report.added + added, report.updated + (not added)
    return seen


def remove_documents(database: Database, ids: Collection[str]) -> int:
    """Remove documents with their passages; returns how many there were."""
    if not ids:
        return 0
    with database.write() as session:
        items = session.exec(select(KnowledgeItem.id).where(col(KnowledgeItem.document_id).in_(ids))).all()
        remove_rows(session, items)
        return session.exec(delete(KnowledgeDocument).where(col(KnowledgeDocument.id).in_(ids))).rowcount


def import_from(
    database: Database,
    origin: Origin,
    report: Report,
    *,
    sandbox: Sandbox,
    allow_empty: bool = False,
    progress: Progress = silently,
    now: datetime | None = None,
) -> None:
    """:func:`import_documents` of all it holds, and the removal of what is gone from it.

    Raises :class:`ConfigurationError` where it is empty and was not, unless ``allow_empty``: more often than not a
    disk is missing then.
    """
    seen = import_documents(
        database, origin.documents(), report, origin=origin.origin, sandbox=sandbox, progress=progress, now=now
    )
    if not origin.whole:
        return
    with database.read() as session:
        rows = session.exec(select(KnowledgeDocument.location, KnowledgeDocument.id, KnowledgeDocument.origin)).all()
    gone = [
        key
        for location, key, brought_by in rows
        if location not in seen
        and (brought_by == origin.origin or (origin.below is not None and location.startswith(origin.below)))
    ]
    if gone and not seen and not allow_empty:
        raise ConfigurationError(
            f"holds no documents now, and {len(gone)} came from it; if they are to go, add --allow-empty"
        )
    report.removed += remove_documents(database, gone)


def list_documents(session: Session) -> list[KnowledgeDocument]:
    """All documents, by what is cited of them."""
    return list(session.exec(select(KnowledgeDocument).order_by(col(KnowledgeDocument.source))))


def find_documents(session: Session, names: Collection[str]) -> dict[str, list[str]]:
    """Ids of the documents that have one of these ids, sources or locations, by the name they were found by."""
    found: dict[str, list[str]] = {}
    for column in (KnowledgeDocument.id, KnowledgeDocument.source, KnowledgeDocument.location):
        for name, key in session.exec(select(column, KnowledgeDocument.id).where(col(column).in_(names))):
            found.setdefault(name, []).append(key)
    return found


def items_of(session: Session, ids: Collection[str]) -> dict[str, list[str]]:
    """Ids of the passages of each of these documents."""
    found: dict[str, list[str]] = {key: [] for key in ids}
    rows = session.exec(
        select(KnowledgeItem.document_id, KnowledgeItem.id).where(col(KnowledgeItem.document_id).in_(ids))
    )
    for document, item in rows:
        found[document or ""].append(item)
    return found


def _known(session: Session, location: str) -> KnowledgeDocument | None:
    query = select(KnowledgeDocument).where(KnowledgeDocument.location_digest == digest(location))
    return session.exec(query).one_or_none()


def _put(
    session: Session,
    document: Document,
    title: str,
    found: list[Passage],
    mark: str,
    origin: str,
    now: datetime,
    changes: Changes,
) -> bool:
    """Write a document as it is now. Returns whether it is new."""
    row = _known(session, document.location)
    new = row is None
    if row is None:
        location = document.location
        row = KnowledgeDocument(
            id=new_id(), location=location, location_digest=digest(location), origin=origin, source=document.source,
            title=title, digest=mark, created_at=now, updated_at=now,
        )  # fmt: skip
    row.origin, row.source, row.title, row.digest, row.updated_at = origin, document.source, title, mark, now
    session.add(row)
    session.flush()
    before = session.exec(select(KnowledgeItem).where(KnowledgeItem.document_id == row.id)).all()
    # Who archived a document, or limited it to a channel, did not mean only the words it had then.
    limits = {visibility_of(item) for item in before}
    inherited = limits.pop() if len(limits) == 1 else Visibility()
    old = {item.id for item in before}
    items = _rows(row.id, document.source, found)
    for item in items:
        item.visibility = None if item.id in old else inherited
    for start in range(0, len(items), CHUNK):
        chunk = items[start : start + CHUNK]
        put_rows(session, chunk, source=document.source[:200], now=now, changes=changes, document=row.id)
    remove_rows(session, sorted(old - {item.id for item in items}))
    return new


def _rows(document: str, source: str, found: list[Passage]) -> list[ItemRow]:
    """Passages as items. The id is made of what a passage says and where, so that it is the same after an edit."""
    rows: dict[str, ItemRow] = {}
    for passage in found:
        said = digest(f"{passage.heading}\n{passage.text}")[:20]
        key, again = f"doc-{document}-{said}", 1
        while key in rows:
            again += 1
            key = f"doc-{document}-{said}-{again}"
        rows[key] = ItemRow(
            key, passage.text, source=source[:200], heading=passage.heading or None, page=passage.page
        )  # fmt: skip
    return list(rows.values())
