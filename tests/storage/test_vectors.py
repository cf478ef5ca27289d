"""One contract for every vector store: each real, behind its own client."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine, text

from ragline.errors import ConfigurationError
from ragline.ids import new_id
from ragline.settings import Settings
from storage.embedder.base import Vectors
from storage.vectors import make_store
from storage.vectors.base import CollectionMissing, StoreUnavailable, VectorStore
from storage.vectors.memory import MemoryStore
from tests.support.fake_pinecone import API_KEY, FakePinecone

DIMENSIONS = 32


def unit(count: int, seed: int = 0, dimensions: int = DIMENSIONS) -> Vectors:
    rows = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


@dataclass
class Rig:
    """A store, and another client of the same data, as another process has it."""

    kind: str
    store: VectorStore
    other: VectorStore


@pytest.fixture(scope="module")
def pgvector_url(postgres_url: str) -> str:
    name = f"vectors_{uuid.uuid4().hex}"
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return str(postgres_url.replace("/postgres?", f"/{name}?"))


@pytest.fixture(scope="module")
def pinecone_server() -> Iterator[FakePinecone]:
    with FakePinecone(DIMENSIONS) as server:
        yield server


@pytest.fixture(scope="module", params=["memory", "chroma", "faiss", "pgvector", "pinecone"])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    values: dict[str, object] = {"data": tmp_path_factory.mktemp("data")}
    if request.param == "chroma":
        values["chroma_url"] = request.getfixturevalue("chroma_url")
    elif request.param == "pgvector":
        values["pgvector_url"] = request.getfixturevalue("pgvector_url")
    elif request.param == "pinecone":
        server = request.getfixturevalue("pinecone_server")
        values |= {"pinecone_host": server.url, "pinecone_api_key": API_KEY}
    settings = Settings.model_validate(values)
    store = make_store(request.param, settings)
    other = store if isinstance(store, MemoryStore) else make_store(request.param, settings)
    yield Rig(request.param, store, other)
    store.close()
    other.close()


@pytest.fixture
def store(rig: Rig) -> VectorStore:
    return rig.store


@pytest.fixture
def collection(store: VectorStore) -> Iterator[str]:
    name = f"kb-{new_id()}"
    store.create(name, DIMENSIONS)
    yield name
    store.drop(name)


def test_the_nearest_come_first_with_their_cosine(store: VectorStore, collection: str) -> None:
    vectors = unit(2500)
    store.upsert(collection, [f"v{i}" for i in range(2500)], vectors)
    store.settle(collection, 2500)
    assert store.count(collection) == 2500
    asked = unit(20, seed=1)
    exact = asked @ vectors.T
    found = store.query(collection, asked, 10)
    hits = 0
    for row, results in enumerate(found):
        scores = [hit.score for hit in results]
        assert scores == sorted(scores, reverse=True)
        hits += len({hit.id for hit in results} & {f"v{i}" for i in np.argsort(-exact[row])[:10]})
        for hit in results:
            assert hit.score == pytest.approx(exact[row, int(hit.id[1:])], abs=1e-4)
    assert hits >= 0.97 * 200


def test_upsert_replaces_and_delete_removes(store: VectorStore, collection: str) -> None:
    first, second = unit(2)
    store.upsert(collection, ["a", "b"], np.stack([first, second]))
    store.upsert(collection, ["a"], second[None])
    [[hit, _]] = store.query(collection, first[None], 2)
    assert hit.score < 0.999
    store.delete(collection, ["a", "never-there"])
    assert [h.id for h in store.query(collection, second[None], 5)[0]] == ["b"]
    assert store.count(collection) == 1


def test_changes_after_it_settled_hold(store: VectorStore, collection: str) -> None:
    vectors = unit(2200, seed=2)
    ids = [f"id:{i}.x" for i in range(2200)]
    store.upsert(collection, ids, vectors)
    store.settle(collection, 2200)
    moved = unit(1, seed=3)
    store.upsert(collection, ids[:1], moved)
    store.delete(collection, ids[1:200])
    assert store.count(collection) == 2001
    store.settle(collection, 2001)
    assert store.query(collection, moved, 1)[0][0].id == ids[0]
    for hits in store.query(collection, vectors[:20], 10):
        assert len(hits) == 10
        assert not {hit.id for hit in hits} & set(ids[1:200])
        assert max(hit.score for hit in hits) < 0.999


def test_another_process_sees_what_was_written(rig: Rig, collection: str) -> None:
    [vector] = unit(1, seed=4)
    assert rig.other.query(collection, vector[None], 3) == [[]]
    rig.store.upsert(collection, ["a"], vector[None])
    assert [hit.id for hit in rig.other.query(collection, vector[None], 3)[0]] == ["a"]
    rig.other.delete(collection, ["a"])
    assert rig.store.query(collection, vector[None], 3) == [[]]


def test_readers_are_not_disturbed_by_a_writer(rig: Rig, collection: str) -> None:
    """While one writes, replaces and settles, each question of others finds the row that stays."""
    [stays] = unit(1, seed=5)
    rig.store.upsert(collection, ["stays"], stays[None])
    stop, problems, asked = threading.Event(), [], [0, 0, 0]

    def read(reader: int) -> None:
        while not stop.is_set():
            try:
                [hits] = rig.other.query(collection, stays[None], 3)
                if hits[0].id != "stays":
                    problems.append(f"found {hits[0]}")
            except Exception as error:
                problems.append(repr(error))
            asked[reader] += 1

    readers = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for reader in readers:
        reader.start()
    for turn in range(6):
        rig.store.upsert(collection, [f"w{i}" for i in range(turn * 250, turn * 250 + 500)], unit(500, seed=turn))
        rig.store.delete(collection, [f"w{i}" for i in range(turn * 250, turn * 250 + 50)])
        rig.store.settle(collection, 100)
    stop.set()
    for reader in readers:
        reader.join()
    assert problems == []
    assert min(asked) >= 3
    assert rig.other.count(collection) == 1 + 1750 - 300


def test_writers_do_not_lose_each_others_rows(rig: Rig, collection: str) -> None:
    def write(store: VectorStore, name: str) -> None:
        for start in range(0, 100, 20):
            store.upsert(collection, [f"{name}{i}" for i in range(start, start + 20)], unit(20, seed=start))

    writers = [threading.Thread(target=write, args=pair) for pair in ((rig.store, "a"), (rig.other, "b"))]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert rig.store.count(collection) == rig.other.count(collection) == 200


def test_an_empty_collection_finds_nothing(store: VectorStore, collection: str) -> None:
    assert store.query(collection, unit(1), 3) == [[]]
    store.create(collection, DIMENSIONS)
    assert store.count(collection) == 0
    store.settle(collection, 0)


def test_what_is_missing_is_told(rig: Rig, collection: str) -> None:
    rig.store.upsert(collection, ["a"], unit(1))
    store = patient(rig.store)
    with pytest.raises(StoreUnavailable, match="1 of 2"):
        store.settle(collection, 2)


def patient(store: VectorStore) -> VectorStore:
    """The store, its waits cut short."""
    if hasattr(store, "_sleep"):
        store._sleep = lambda _: None
    return store


def test_a_collection_that_is_gone_is_told_apart(rig: Rig, collection: str) -> None:
    assert rig.other.query(collection, unit(1), 1) == [[]]
    rig.store.drop(collection)
    for name in (collection, "kb-never-made"):
        with pytest.raises(CollectionMissing, match="reindex"):
            rig.other.query(name, unit(1), 1)
        with pytest.raises(CollectionMissing):
            rig.other.count(name)
    rig.store.drop("kb-never-made")


def test_a_store_answers_a_ping(store: VectorStore) -> None:
    assert store.ping() is None, "a store that cannot be reached raises"


Broken = Callable[[Path], dict[str, object]]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("chroma", {"chroma_url": "http://127.0.0.1:9"}),
        ("pgvector", {"pgvector_url": "postgresql://nobody@127.0.0.1:9/none?connect_timeout=1"}),
        ("pinecone", {"pinecone_host": "http://127.0.0.1:9", "pinecone_api_key": "k"}),
    ],
)
def test_a_server_that_is_down_is_unavailable(
    name: str, values: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from storage.vectors import pgvector

    monkeypatch.setattr(pgvector, "PATIENCE", 1.0)
    store = make_store(name, Settings.model_validate(values))
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        store.ping()
    assert time.monotonic() - began < 8
    store.close()


@pytest.mark.parametrize(
    ("name", "says"),
    [("chroma", "CHROMA_URL"), ("pgvector", "PGVECTOR_URL"), ("pinecone", "PINECONE_API_KEY"), ("nowhere", "faiss")],
)
def test_a_store_that_is_not_configured_says_what_to_set(name: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        make_store(name, Settings())
