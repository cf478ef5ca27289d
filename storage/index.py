"""The vector index of the knowledge base: derived from SQL, made by one embedder, replaced only when complete."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar, cast

from sqlalchemy import ColumnElement, delete, func, insert, or_
from sqlalchemy import update as sql_update
from sqlmodel import Session, SQLModel, col, select

from ragline.errors import ConfigurationError, TransientError
from ragline.ids import new_id
from ragline.logs import get_logger
from ragline.settings import Settings
from storage.embedder import full_name
from storage.embedder.base import Embedder, Vectors
from storage.embedder.transformers import Prefixes
from storage.models import KnowledgePhrase, VectorBuilt, VectorIndex, VectorRemoval
from storage.rows import insert_ignoring
from storage.session import Database
from storage.vectors import make_store
from storage.vectors.base import CollectionMissing, StoreUnavailable, VectorStore

#: Texts embedded and stored at a time.
BATCH = 1024
#: Texts read at a time, and handed out by length: a batch of equal lengths has no padding to compute.
WINDOW = 16 * BATCH
#: Seconds in which every worker has seen a swap: they look once a second.
GRACE = 3.0
#: The same where they have to load another model, which most have done while the index was built.
MODEL_GRACE = 10.0
#: Attempts to embed or store a batch.
PATIENCE = 5
log = get_logger(__name__)
#: Told how many more texts are done.
Progress = Callable[[int], None]
Result = TypeVar("Result")


def _silently(done: int) -> None:
    """The progress of nobody who watches."""


@dataclass(frozen=True)
class LiveIndex:
    """The index in use."""

    id: str
    store: str
    collection: str
    embedder: str
    #: What its model is loaded by; None where the index is older than this note.
    setting: str | None = None
    prefixes: Prefixes = field(default_factory=Prefixes)

    @classmethod
    def of(cls, row: VectorIndex) -> LiveIndex:
        prefixes = Prefixes(row.query_prefix, row.passage_prefix)
        return cls(row.id, row.store, row.collection, row.embedder, row.setting, prefixes)


def live_index(session: Session) -> LiveIndex | None:
    """The index in use; None before the first one is made."""
    found = session.exec(select(VectorIndex).where(VectorIndex.status == "live")).one_or_none()
    return LiveIndex.of(found) if found else None


def coming_index(session: Session) -> LiveIndex | None:
    """The index that is being built, or was when its build was interrupted."""
    query = select(VectorIndex).where(VectorIndex.status == "building")
    found = session.exec(query.order_by(col(VectorIndex.created_at).desc())).first()
    return LiveIndex.of(found) if found else None


def weights_of(name: str) -> str:
    """A model's name without the glossary it reads Russian through: by another one vectors are less near, no more."""
    return name.partition("+")[0]


def check_embedder(live: LiveIndex, embedder: Embedder, setting: str) -> None:
    """Raise :class:`ConfigurationError` when the index was made by another model: its vectors are not comparable."""
    if weights_of(live.embedder) != weights_of(embedder.name):
        raise ConfigurationError(
            f"the index was made by {live.embedder}, the embedding model here is {embedder.name}; "
            f"run `ragline kb reindex --embedder {setting}`, or put the model of the index back"
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


def sample_texts(session: Session, most: int = 2000) -> list[str]:
    """Texts of the base, as good as by chance and the same each time."""
    return list(session.exec(select(KnowledgePhrase.text).order_by(col(KnowledgePhrase.digest)).limit(most)))


def sync(
    database: Database,
    store: VectorStore,
    store_name: str,
    embedder: Embedder,
    setting: str,
    progress: Progress = _silently,
    *,
    prefixes: Prefixes | None = None,
) -> int:
    """Bring the live index up to date with SQL, making it first if there is none; returns how many texts were added.

    Safe to run twice at once: a text may then be embedded twice, and is stored once. Leaves the store warm. Raises
    :class:`ConfigurationError` when the live index is in another store or of another model.
    """
    dimensions = embedder.dimensions  # a provider is asked, and paid, for them: not within a transaction
    with database.write() as session:
        live = live_index(session)
        if live is None:
            live = _new_index(session, store_name, embedder.name, dimensions, "live", setting, prefixes)
    if live.store != store_name:
        raise ConfigurationError(
            f"the index is in {live.store}, not in {store_name}: set knowledge.store: {live.store}, or run "
            f"`ragline kb reindex --store {store_name}`"
        )
    check_embedder(live, embedder, setting)
    store.create(live.collection, dimensions)
    done = _fill(database, store, live, embedder, progress)
    _drop_removed(database, store, live)
    if done:
        store.settle(live.collection, _count(database, KnowledgePhrase.index_id, live.id))
    return done


def reindex(
    database: Database,
    store: VectorStore,
    store_name: str,
    embedder: Embedder,
    progress: Progress = _silently,
    *,
    setting: str | None = None,
    prefixes: Prefixes | None = None,
    stores: Callable[[str], VectorStore] | None = None,
    grace: float = 0.0,
    before_swap: Callable[[], object] = lambda: None,
) -> LiveIndex:
    """Build a complete new index beside the live one, then swap. Queries are answered by the old one until then.

    An interrupted build leaves the live index as it was; the next one with the same store and model goes on where it
    stopped, any other removes what it left. ``setting`` and ``prefixes`` are what the model was loaded by, for those
    who ask the index. ``stores`` opens the stores of earlier indexes, to remove those; the last one is kept for
    ``grace`` seconds after the swap, so that those who ask it see the swap first. ``before_swap`` is called when the
    new index is complete.
    """

    def open_store(name: str) -> VectorStore | None:
        return store if name == store_name else stores(name) if stores else None

    _drop_indexes(database, open_store, "retired")
    building = _unfinished(database, store, store_name, embedder)
    _drop_indexes(database, open_store, "building", but=building.id if building else None)
    if building is None:
        dimensions = embedder.dimensions
        with database.write() as session:
            building = _new_index(session, store_name, embedder.name, dimensions, "building", setting, prefixes)
        store.create(building.collection, dimensions)
    elif done := _count(database, VectorBuilt.index_id, building.id):
        log.info("reindex_resumed", index=building.id, texts=done)
        progress(done)
    _build(database, store, building, embedder, progress)
    store.settle(building.collection, _count(database, VectorBuilt.index_id, building.id))
    before_swap()
    _swap(database, building)
    swapped = time.monotonic()
    _fill(database, store, building, embedder, progress)
    _drop_removed(database, store, building)
    time.sleep(max(0.0, swapped + grace - time.monotonic()))
    _drop_indexes(database, open_store, "retired")
    return building


def _unfinished(database: Database, store: VectorStore, store_name: str, embedder: Embedder) -> LiveIndex | None:
    """The interrupted build of this store and model, where the store still holds what it had stored."""
    query = select(VectorIndex).where(
        VectorIndex.status == "building", VectorIndex.store == store_name, VectorIndex.embedder == embedder.name,
        VectorIndex.dimensions == embedder.dimensions,
    )  # fmt: skip
    with database.read() as session:
        found = session.exec(query.order_by(col(VectorIndex.created_at).desc())).first()
    if found is None:
        return None
    try:
        whole = store.count(found.collection) >= _count(database, VectorBuilt.index_id, found.id)
    except CollectionMissing:
        whole = False
    return LiveIndex.of(found) if whole else None


def _build(database: Database, store: VectorStore, index: LiveIndex, embedder: Embedder, progress: Progress) -> None:
    """Embed what the index does not hold yet, noting in SQL what it holds."""
    built = select(VectorBuilt.phrase_id).where(VectorBuilt.index_id == index.id)

    def stored(ids: list[str]) -> None:
        rows = [{"index_id": index.id, "phrase_id": phrase} for phrase in ids]
        with database.write() as session:
            insert_ignoring(session.connection(), SQLModel.metadata.tables["vector_built"], rows)

    _embed(database, store, index, col(KnowledgePhrase.id).not_in(built), embedder, progress, stored)


def _swap(database: Database, building: LiveIndex) -> None:
    """Make a complete index the live one, in one transaction."""
    built = select(VectorBuilt.phrase_id).where(VectorBuilt.index_id == building.id)
    gone = built.where(col(VectorBuilt.phrase_id).not_in(select(KnowledgePhrase.id)))
    with database.write() as session:
        session.exec(
            sql_update(VectorIndex)
            .where(col(VectorIndex.status) == "live", col(VectorIndex.id) != building.id)
            .values(status="retired")
        )
        session.exec(sql_update(VectorIndex).where(col(VectorIndex.id) == building.id).values(status="live"))
        session.exec(sql_update(KnowledgePhrase).where(col(KnowledgePhrase.id).in_(built)).values(index_id=building.id))
        session.exec(delete(VectorRemoval))  # of the old index, which goes as a whole
        removals = [{"index_id": building.id, "phrase_id": phrase} for phrase in session.exec(gone)]
        if removals:  # from SQL while the index was built
            session.connection().execute(insert(VectorRemoval), removals)
        session.exec(delete(VectorBuilt).where(col(VectorBuilt.index_id) == building.id))


def _new_index(
    session: Session,
    store: str,
    embedder: str,
    dimensions: int,
    status: str,
    setting: str | None,
    prefixes: Prefixes | None,
) -> LiveIndex:
    index_id, given = new_id(), prefixes or Prefixes()
    row = VectorIndex(
        id=index_id, store=store, collection=f"kb-{index_id}", embedder=embedder,
        dimensions=dimensions, status=status, setting=full_name(setting) if setting else None,
        query_prefix=given.query, passage_prefix=given.passage,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return LiveIndex.of(row)


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
    """Embed what is missing in the live index."""

    def stored(ids: list[str]) -> None:
        with database.write() as session:
            session.exec(sql_update(KnowledgePhrase).where(col(KnowledgePhrase.id).in_(ids)).values(index_id=index.id))
            kept = set(session.exec(select(KnowledgePhrase.id).where(col(KnowledgePhrase.id).in_(ids))))
        gone = [i for i in ids if i not in kept]
        if gone:  # removed from SQL while they were embedded
            store.delete(index.collection, gone)

    return _embed(database, store, index, _not_in(index.id), embedder, progress, stored)


def _embed(
    database: Database,
    store: VectorStore,
    index: LiveIndex,
    where: ColumnElement[bool],
    embedder: Embedder,
    progress: Progress,
    stored: Callable[[list[str]], None],
) -> int:
    """Embed the texts that fit ``where``; a batch is stored while the next one is embedded. Returns how many."""

    def put(ids: list[str], vectors: Vectors) -> None:
        patiently(lambda: store.upsert(index.collection, ids, vectors))
        stored(ids)
        progress(len(ids))

    done = 0
    storing: Future[None] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="store") as writer:
        for batch in _batches(database, where):
            texts = [text for _, text in batch]
            vectors = patiently(lambda texts=texts: embedder.encode_passages(texts))  # type: ignore[misc]
            if storing:
                storing.result()
            storing = writer.submit(put, [i for i, _ in batch], vectors)
            done += len(batch)
        if storing:
            storing.result()
    return done


def patiently(call: Callable[[], Result], *, sleep: Callable[[float], None] = time.sleep) -> Result:
    """What ``call`` returns, tried again after a while where its error says that this is worth it."""
    for attempt in range(PATIENCE):
        try:
            return call()
        except TransientError as error:
            if attempt == PATIENCE - 1 or isinstance(error, CollectionMissing):
                raise
            log.warning("indexing_waits", error=str(error))
            sleep(min(60.0, error.retry_after or 2.0**attempt))
    raise AssertionError("unreachable")


def _count(database: Database, column: object, value: str) -> int:
    with database.read() as session:
        return session.exec(select(func.count()).where(cast("ColumnElement[str]", column) == value)).one()


def _drop_removed(database: Database, store: VectorStore, index: LiveIndex) -> None:
    with database.read() as session:
        ids = list(session.exec(select(VectorRemoval.phrase_id).where(VectorRemoval.index_id == index.id)))
    if not ids:
        return
    store.delete(index.collection, ids)
    with database.write() as session:
        for start in range(0, len(ids), 500):
            session.exec(delete(VectorRemoval).where(col(VectorRemoval.phrase_id).in_(ids[start : start + 500])))


def _drop_indexes(
    database: Database, open_store: Callable[[str], VectorStore | None], status: str, *, but: str | None = None
) -> None:
    """Remove indexes of a status; one whose store does not answer is left for the next time."""
    with database.read() as session:
        old = session.exec(select(VectorIndex).where(VectorIndex.status == status)).all()
    for index in old:
        if index.id == but:
            continue
        try:
            if (held_in := open_store(index.store)) is not None:
                held_in.drop(index.collection)
        except (ConfigurationError, StoreUnavailable) as error:
            log.warning("old_index_not_removed", store=index.store, collection=index.collection, error=str(error))
            continue
        with database.write() as session:
            session.exec(delete(VectorIndex).where(col(VectorIndex.id) == index.id))
            session.exec(delete(VectorBuilt).where(col(VectorBuilt.index_id) == index.id))


def store_in_use(settings: Settings, database: Database) -> tuple[str, VectorStore]:
    """The store of the live index, by name; before there is one, that of the settings."""
    with database.read() as session:
        live = live_index(session)
    name = live.store if live else settings.knowledge.store
    return name, make_store(name, settings)


def bring_up_to_date(
    settings: Settings,
    database: Database,
    make: Callable[[LiveIndex | None], Embedder],
    progress: Progress = _silently,
) -> int:
    """:func:`sync` with the store and the model in use; ``make`` opens the model of the index, or of the first one."""
    knowledge = settings.knowledge
    store_name, store = store_in_use(settings, database)
    with database.read() as session:
        live = live_index(session)
    setting = live.setting if live and live.setting else knowledge.embedder
    prefixes = Prefixes(knowledge.query_prefix, knowledge.passage_prefix)
    try:
        return sync(database, store, store_name, make(live), setting, progress, prefixes=prefixes)
    finally:
        store.close()
