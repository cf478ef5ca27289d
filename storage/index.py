"""The vector index of the knowledge base: derived from SQL, made by one embedder, replaced only when complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, func, or_, true
from sqlalchemy import update as sql_update
from sqlmodel import Session, col, select

from ragline.errors import ConfigurationError
from ragline.ids import new_id
from ragline.logs import get_logger
from ragline.settings import Settings
from storage.embedder import make_embedder
from storage.embedder.base import Embedder, Vectors
from storage.models import KnowledgePhrase, VectorIndex, VectorRemoval
from storage.session import Database
from storage.vectors import make_store
from storage.vectors.base import VectorStore

#: Texts embedded and stored at a time.
BATCH = 1024
#: Texts read at a time, and handed out by length: a batch of equal lengths has no padding to compute.
WINDOW = 16 * BATCH
log = get_logger(__name__)
#: Told how many more texts are done.
Progress = Callable[[int], None]


def _silently(done: int) -> None:
    """The progress of nobody who watches."""


@dataclass(frozen=True)
class LiveIndex:
    """The index in use."""

    id: str
    store: str
    collection: str
    embedder: str


def live_index(session: Session) -> LiveIndex | None:
    """The index in use; None before the first one is made."""
    found = session.exec(select(VectorIndex).where(VectorIndex.status == "live")).one_or_none()
    return LiveIndex(found.id, found.store, found.collection, found.embedder) if found else None


def check_embedder(live: LiveIndex, embedder: Embedder, setting: str) -> None:
    """Raise :class:`ConfigurationError` when the index was made by another model: its vectors are not comparable."""
    if live.embedder != embedder.name:
        raise ConfigurationError(
            f"the index was made by {live.embedder}, the configured embedding model is {embedder.name}; "
            f"run `ragline kb reindex --embedder {setting}`, or set knowledge.embedder back"
        )


def pending(session: Session) -> int:
    """Texts that are not in the live index yet."""
    live = live_index(session)
    return session.exec(select(func.count()).select_from(KnowledgePhrase).where(_not_in(live.id if live else ""))).one()


def is_complete(session: Session, live: LiveIndex) -> bool:
    """Whether the live index holds the texts of the base, all of them and no others."""
    missing = select(KnowledgePhrase.id).where(_not_in(live.id)).limit(1)
    removed = select(VectorRemoval.phrase_id).where(VectorRemoval.index_id == live.id).limit(1)
    return session.exec(missing).first() is None and session.exec(removed).first() is None


def count_texts(session: Session) -> int:
    """Texts of the base, indexed or not."""
    return session.exec(select(func.count()).select_from(KnowledgePhrase)).one()


def sync(
    database: Database,
    store: VectorStore,
    store_name: str,
    embedder: Embedder,
    setting: str,
    progress: Progress = _silently,
) -> int:
    """Bring the live index up to date with SQL, making it first if there is none; returns how many texts were added.

    Safe to run twice at once: a text may then be embedded twice, and is stored once. Leaves the store warm.
    """
    with database.write() as session:
        live = live_index(session)
        if live is None:
            live = _new_index(session, store_name, embedder, "live")
    check_embedder(live, embedder, setting)
    store.create(live.collection, embedder.dimensions)
    done = _fill(database, store, live, embedder, progress)
    _drop_removed(database, store, live)
    if done:
        _warm(store, live, embedder)
    return done


def reindex(
    database: Database, store: VectorStore, store_name: str, embedder: Embedder, progress: Progress = _silently
) -> LiveIndex:
    """Build a complete new index beside the live one, then swap. Queries are answered by the old one until then.

    An interrupted build leaves the live index as it was; what it left is removed by the next one.
    """
    _drop_indexes(database, store, store_name, "building")
    with database.write() as session:
        building = _new_index(session, store_name, embedder, "building")
    store.create(building.collection, embedder.dimensions)
    stored: list[str] = []
    for batch in _batches(database, true()):
        store.upsert(building.collection, [i for i, _ in batch], embedder.encode_passages([text for _, text in batch]))
        stored += [i for i, _ in batch]
        progress(len(batch))
    _warm(store, building, embedder)
    with database.write() as session:
        session.exec(sql_update(VectorIndex).where(col(VectorIndex.status) == "live").values(status="retired"))
        session.exec(sql_update(VectorIndex).where(col(VectorIndex.id) == building.id).values(status="live"))
        for start in range(0, len(stored), 500):
            ids = stored[start : start + 500]
            session.exec(
                sql_update(KnowledgePhrase).where(col(KnowledgePhrase.id).in_(ids)).values(index_id=building.id)
            )
        session.exec(delete(VectorRemoval))  # of the old index, which goes as a whole
        kept = set(session.exec(select(KnowledgePhrase.id)))
    _fill(database, store, building, embedder, progress)
    store.delete(building.collection, [i for i in stored if i not in kept])
    _drop_indexes(database, store, store_name, "retired")
    return building


def _new_index(session: Session, store: str, embedder: Embedder, status: str) -> LiveIndex:
    index_id = new_id()
    row = VectorIndex(
        id=index_id, store=store, collection=f"kb-{index_id}", embedder=embedder.name,
        dimensions=embedder.dimensions, status=status,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return LiveIndex(row.id, row.store, row.collection, row.embedder)


def _not_in(index_id: str) -> ColumnElement[bool]:
    return or_(col(KnowledgePhrase.index_id).is_(None), col(KnowledgePhrase.index_id) != index_id)


def _batches(database: Database, where: ColumnElement[bool]) -> Iterator[Sequence[tuple[str, str]]]:
    """Ids and texts of the phrases that fit ``where``."""
    after = ""
    while True:
        query = select(KnowledgePhrase.id, KnowledgePhrase.text).where(where, col(KnowledgePhrase.id) > after)
        with database.read() as session:
            window = session.exec(query.order_by(col(KnowledgePhrase.id)).limit(WINDOW)).all()
        if not window:
            return
        after = window[-1][0]
        by_length = sorted(window, key=lambda row: len(row[1]))
        for start in range(0, len(by_length), BATCH):
            yield by_length[start : start + BATCH]


def _fill(database: Database, store: VectorStore, index: LiveIndex, embedder: Embedder, progress: Progress) -> int:
    """Embed what is missing; a batch is stored while the next one is embedded."""
    done = 0
    storing: Future[None] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="store") as writer:
        for batch in _batches(database, _not_in(index.id)):
            vectors = embedder.encode_passages([text for _, text in batch])
            if storing:
                storing.result()
            storing = writer.submit(_store, database, store, index, [i for i, _ in batch], vectors)
            done += len(batch)
            progress(len(batch))
        if storing:
            storing.result()
    return done


def _store(database: Database, store: VectorStore, index: LiveIndex, ids: list[str], vectors: Vectors) -> None:
    store.upsert(index.collection, ids, vectors)
    with database.write() as session:
        session.exec(sql_update(KnowledgePhrase).where(col(KnowledgePhrase.id).in_(ids)).values(index_id=index.id))
        kept = set(session.exec(select(KnowledgePhrase.id).where(col(KnowledgePhrase.id).in_(ids))))
    gone = [i for i in ids if i not in kept]
    if gone:  # removed from SQL while they were embedded
        store.delete(index.collection, gone)


def _drop_removed(database: Database, store: VectorStore, index: LiveIndex) -> None:
    with database.read() as session:
        ids = list(session.exec(select(VectorRemoval.phrase_id).where(VectorRemoval.index_id == index.id)))
    if not ids:
        return
    store.delete(index.collection, ids)
    with database.write() as session:
        for start in range(0, len(ids), 500):
            session.exec(delete(VectorRemoval).where(col(VectorRemoval.phrase_id).in_(ids[start : start + 500])))


def _drop_indexes(database: Database, store: VectorStore, store_name: str, status: str) -> None:
    with database.read() as session:
        old = session.exec(select(VectorIndex).where(VectorIndex.status == status)).all()
    for index in old:
        if index.store == store_name:
            store.drop(index.collection)
        with database.write() as session:
            session.exec(delete(VectorIndex).where(col(VectorIndex.id) == index.id))


def _warm(store: VectorStore, index: LiveIndex, embedder: Embedder) -> None:
    """Ask once: a store may build its graph at the first query after a write (Chroma does)."""
    store.query(index.collection, embedder.encode_queries(["warm-up"]), 1)


def bring_up_to_date(settings: Settings, database: Database) -> int:
    """:func:`sync` with the store and the model the settings name."""
    name = settings.knowledge.embedder
    store = make_store(settings.knowledge.store, settings)
    return sync(database, store, settings.knowledge.store, make_embedder(name), name)
