"""The contract at 100,000 rows, and through a restart: `make stores`."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from ragline.settings import Settings
from storage.embedder.base import Vectors
from storage.vectors import make_store
from storage.vectors.base import VectorStore
from tests.support.fake_pinecone import API_KEY, FakePinecone

ROWS, DIMENSIONS, NEAREST = 100_000, 64, 20
pytestmark = [pytest.mark.large, pytest.mark.timeout(1800)]


def topical(count: int, seed: int) -> Vectors:
    dice = np.random.default_rng(seed)
    topics = np.random.default_rng(0).normal(size=(1000, DIMENSIONS)).astype(np.float32)
    rows = topics[dice.integers(0, 1000, count)] + 0.6 * dice.normal(size=(count, DIMENSIONS)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def recall(store: VectorStore, vectors: Vectors, gone: set[int]) -> float:
    asked, hits = topical(50, seed=2), 0
    for row, found in enumerate(store.query("kb-large", asked, NEAREST)):
        exact = [i for i in np.argsort(-(vectors @ asked[row]))[: NEAREST + len(gone)] if i not in gone][:NEAREST]
        hits += len({hit.id for hit in found} & {f"v{i}" for i in exact})
    return hits / (50 * NEAREST)


@pytest.mark.parametrize("name", ["memory", "chroma", "faiss", "pgvector", "pinecone"])
def test_a_hundred_thousand_rows(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    values: dict[str, object] = {"data": tmp_path}
    if name == "chroma":
        values["chroma_url"] = request.getfixturevalue("chroma_url")
    elif name == "pgvector":
        values["pgvector_url"] = request.getfixturevalue("postgres_url")
    elif name == "pinecone":
        server = FakePinecone(DIMENSIONS, lag=0.5).start()
        request.addfinalizer(server.stop)
        values |= {"pinecone_host": server.url, "pinecone_api_key": API_KEY}
    settings = Settings.model_validate(values)
    store, vectors = make_store(name, settings), topical(ROWS, seed=1)
    store.create("kb-large", DIMENSIONS)
    problems: list[str] = []
    stop = threading.Event()
    store.upsert("kb-large", ["v0"], vectors[:1])
    store.settle("kb-large", 1)

    def read(reader: VectorStore) -> None:
        while not stop.is_set():
            try:
                assert reader.query("kb-large", vectors[:1], 1)[0][0].id == "v0"
            except Exception as error:
                problems.append(repr(error))
            stop.wait(0.05)

    other = store if name == "memory" else make_store(name, settings)
    reading = threading.Thread(target=read, args=(other,))
    reading.start()
    for start in range(0, ROWS, 1000):
        store.upsert("kb-large", [f"v{i}" for i in range(start, start + 1000)], vectors[start : start + 1000])
    store.settle("kb-large", ROWS)
    stop.set()
    reading.join()
    assert problems == []
    assert store.count("kb-large") == ROWS
    assert recall(store, vectors, set()) >= 0.95
    gone = set(range(1, ROWS, 10))
    store.delete("kb-large", [f"v{i}" for i in gone])
    store.settle("kb-large", ROWS - len(gone))
    assert recall(store, vectors, gone) >= 0.95
    again = store if name == "memory" else make_store(name, settings)
    assert recall(again, vectors, gone) >= 0.95
    store.drop("kb-large")
    for opened in {id(one): one for one in (store, other, again)}.values():
        opened.close()
