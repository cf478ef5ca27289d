"""One contract for every vector store."""

from collections.abc import Iterator

import numpy as np
import pytest

from ragline.errors import ConfigurationError
from ragline.ids import new_id
from ragline.settings import Settings
from storage.embedder.base import Vectors
from storage.vectors import make_store
from storage.vectors.base import CollectionMissing, StoreUnavailable, VectorStore
from storage.vectors.chroma import ChromaStore

DIMENSIONS = 32


def unit(count: int, seed: int = 0) -> Vectors:
    rows = np.random.default_rng(seed).normal(size=(count, DIMENSIONS)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture(params=["memory", "chroma"])
def store(request: pytest.FixtureRequest) -> VectorStore:
    url = request.getfixturevalue("chroma_url") if request.param == "chroma" else None
    return make_store(request.param, Settings.model_validate({"chroma_url": url}))


@pytest.fixture
def collection(store: VectorStore) -> Iterator[str]:
    name = f"kb-{new_id()}"
    store.create(name, DIMENSIONS)
    yield name
    store.drop(name)


def test_the_nearest_come_first_with_their_cosine(store: VectorStore, collection: str) -> None:
    vectors = unit(2500)
    store.upsert(collection, [f"v{i}" for i in range(2500)], vectors)
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


def test_an_empty_collection_finds_nothing(store: VectorStore, collection: str) -> None:
    assert store.query(collection, unit(1), 3) == [[]]
    store.create(collection, DIMENSIONS)
    assert store.count(collection) == 0


def test_a_collection_that_is_gone_is_told_apart(store: VectorStore) -> None:
    with pytest.raises(CollectionMissing, match="reindex"):
        store.query("kb-never-made", unit(1), 1)
    store.drop("kb-never-made")


def test_a_server_that_is_down_is_unavailable() -> None:
    store = ChromaStore("http://127.0.0.1:9")
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:9"):
        store.ping()


def test_an_unknown_store_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="chroma"):
        make_store("nowhere", Settings())
