"""The knowledge base in SQL and the index that follows it, on both databases."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from sqlmodel import col, select

from ragline.errors import ConfigurationError
from storage import index, knowledge
from storage.embedder.base import Vectors
from storage.knowledge import Changes
from storage.knowledge_files import ItemRow
from storage.models import KnowledgePhrase, VectorIndex
from storage.session import Database
from storage.vectors.base import CollectionMissing, StoreUnavailable
from storage.vectors.memory import MemoryStore
from storage.visibility import Visibility


class Letters:
    """An embedder whose vectors count letters: near texts have near vectors, and no model is needed."""

    dimensions = 26

    def __init__(self, name: str = "letters@1") -> None:
        self.name = name
        self.seen: list[str] = []

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        self.seen += texts
        counts = np.array(
            [[text.lower().count(chr(97 + i)) + 0.01 for i in range(26)] for text in texts], dtype=np.float32
        )
        return np.asarray(counts / np.linalg.norm(counts, axis=1, keepdims=True), dtype=np.float32)

    encode_queries = encode_passages


SEEN = Visibility()
ROWS = [
    ItemRow("a", "Alpha", ["apple pie", "apple tart"], visibility=SEEN),
    ItemRow("b", None, ["zebra"], visibility=SEEN),
    ItemRow("c", "A document.", visibility=SEEN, source="guide.pdf", heading="Guide", page=3),
]


def put(database: Database, *rows: ItemRow) -> Changes:
    return knowledge.put_items(database, rows, source="test")


def sync(database: Database, store: MemoryStore, embedder: Letters) -> int:
    return index.sync(database, store, "memory", embedder, "letters")


def live(database: Database) -> index.LiveIndex:
    with database.read() as session:
        found = index.live_index(session)
    assert found is not None
    return found


def ids(database: Database) -> set[str]:
    with database.read() as session:
        return set(session.exec(select(KnowledgePhrase.id)))


def test_the_same_rows_again_change_nothing(database: Database) -> None:
    assert put(database, *ROWS) == Changes(added=3)
    before = ids(database)
    assert put(database, *ROWS) == Changes(unchanged=3)
    assert ids(database) == before
    assert list(knowledge.list_items(database)) == ROWS


def test_a_changed_item_is_replaced_with_its_phrasings(database: Database) -> None:
    put(database, *ROWS)
    changed = ItemRow("a", "Alpha 2", ["apple pie", "strudel"], ["x"], "en", SEEN)
    assert put(database, changed, *ROWS[1:]) == Changes(updated=1, unchanged=2)
    assert next(knowledge.list_items(database, ids=["a"])) == changed


def test_what_a_row_does_not_say_of_visibility_stays(database: Database) -> None:
    row = ItemRow("a", "Alpha", ["apple pie"])
    put(database, row)
    assert knowledge.set_visibility(database, ["a", "nobody"], {"status": "archived", "channels": ("api",)}) == (
        ["a"],
        ["nobody"],
    )
    assert put(database, row) == Changes(unchanged=1)
    assert put(database, replace(row, answer="Beta")) == Changes(updated=1)
    [found] = knowledge.list_items(database)
    assert (found.answer, found.visibility) == ("Beta", Visibility("archived", channels=("api",)))
    assert put(database, replace(row, visibility=SEEN)) == Changes(updated=1)
    [found] = knowledge.list_items(database)
    assert found.visibility == SEEN


def test_the_index_follows(database: Database) -> None:
    store, embedder = MemoryStore(), Letters()
    put(database, *ROWS)
    assert sync(database, store, embedder) == 4
    assert sync(database, store, embedder) == 0
    collection = live(database).collection
    assert store.count(collection) == 4
    put(database, ItemRow("a", "Alpha", ["apple pie"]))
    knowledge.remove_items(database, ["b"])
    assert sync(database, store, embedder) == 0
    assert store.count(collection) == 2
    [[best]] = store.query(collection, embedder.encode_queries(["pie apple"]), 1)
    with database.read() as session:
        assert session.get_one(KnowledgePhrase, best.id).text == "apple pie"


def test_another_model_is_refused_with_the_command_that_mends_it(database: Database) -> None:
    store = MemoryStore()
    put(database, *ROWS)
    sync(database, store, Letters())
    with pytest.raises(ConfigurationError, match="ragline kb reindex --embedder letters"):
        sync(database, store, Letters("letters@2"))


def test_reindex_builds_beside_and_swaps(database: Database) -> None:
    store = MemoryStore()
    put(database, *ROWS)
    sync(database, store, Letters())
    old = live(database)
    done: list[int] = []
    new = index.reindex(database, store, "memory", Letters("letters@2"), done.append)
    assert sum(done) == 4
    assert live(database) == new != old
    assert store.count(new.collection) == 4
    with pytest.raises(CollectionMissing):
        store.count(old.collection)
    assert sync(database, store, Letters("letters@2")) == 0
    with database.read() as session:
        assert [row.status for row in session.exec(select(VectorIndex))] == ["live"]


class Dies(Letters):
    """Is interrupted at a batch."""

    def __init__(self, name: str, at: int) -> None:
        super().__init__(name)
        self.left = at

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        self.left -= 1
        if self.left <= 0:
            raise KeyboardInterrupt
        return super().encode_passages(texts)


def statuses(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.exec(select(VectorIndex.status).order_by(col(VectorIndex.created_at))))


def test_an_interrupted_reindex_leaves_the_live_index_and_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "BATCH", 1)
    store = MemoryStore()
    put(database, *ROWS)
    sync(database, store, Letters())
    before = live(database)
    with pytest.raises(KeyboardInterrupt):
        index.reindex(database, store, "memory", Dies("letters@2", at=3))
    assert live(database) == before
    assert store.count(before.collection) == 4
    # the base changes before the next attempt: one text is gone, one is new
    put(database, ItemRow("a", "Alpha", ["apple pie", "strudel"]))
    knowledge.remove_items(database, ["b"])
    again, done = Letters("letters@2"), []
    index.reindex(database, store, "memory", again, done.append)
    assert 1 <= len(again.seen) < 4, "what was stored before the interruption is not embedded again"
    assert statuses(database) == ["live"]
    with database.read() as session:
        assert index.is_complete(session, live(database))
    assert store.count(live(database).collection) == len(ids(database)) == 3


def test_what_an_interrupted_build_of_another_model_left_is_removed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "BATCH", 1)
    store = MemoryStore()
    put(database, *ROWS)
    sync(database, store, Letters())
    with pytest.raises(KeyboardInterrupt):
        index.reindex(database, store, "memory", Dies("letters@2", at=3))
    with database.read() as session:
        [left] = session.exec(select(VectorIndex.collection).where(VectorIndex.status == "building"))
    index.reindex(database, store, "memory", Letters("letters@3"))
    assert statuses(database) == ["live"]
    assert live(database).embedder == "letters@3"
    with pytest.raises(CollectionMissing):
        store.count(left)


def test_an_index_moves_to_another_store(database: Database) -> None:
    here, there = MemoryStore(), MemoryStore()
    put(database, *ROWS)
    sync(database, here, Letters())
    old = live(database)
    index.reindex(database, there, "faiss", Letters(), stores=lambda name: {"memory": here}[name])
    assert (live(database).store, there.count(live(database).collection)) == ("faiss", 4)
    with pytest.raises(CollectionMissing):
        here.count(old.collection)
    with pytest.raises(ConfigurationError, match="ragline kb reindex --store memory"):
        sync(database, here, Letters())


def test_a_store_or_model_that_fails_for_a_moment_is_asked_again() -> None:
    waits: list[float] = []
    answers = iter([StoreUnavailable("away"), StoreUnavailable("busy", 7.0), None])

    def call() -> str:
        if error := next(answers):
            raise error
        return "done"

    assert index.patiently(call, sleep=waits.append) == "done"
    assert waits == [1.0, 7.0]
