"""Vectors in this process's memory, compared exactly: for tests and evaluations."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from ragline.settings import Settings
from storage.embedder.base import Vectors
from storage.vectors.base import CollectionMissing, Hit, require


class MemoryStore:
    """A dictionary of matrices."""

    def __init__(self) -> None:
        self._collections: dict[str, dict[str, Vectors]] = {}
        self._matrices: dict[str, tuple[list[str], Vectors]] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, settings: Settings) -> MemoryStore:
        return cls()

    def create(self, collection: str, dimensions: int) -> None:
        with self._lock:
            self._collections.setdefault(collection, {})

    def drop(self, collection: str) -> None:
        with self._lock:
            self._collections.pop(collection, None)
            self._matrices.pop(collection, None)

    def upsert(self, collection: str, ids: Sequence[str], vectors: Vectors) -> None:
        with self._lock:
            self._matrices.pop(collection, None)
            self._held(collection).update(zip(ids, np.array(vectors, dtype=np.float32), strict=True))

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        with self._lock:
            self._matrices.pop(collection, None)
            for row in ids:
                self._held(collection).pop(row, None)

    def settle(self, collection: str, expected: int) -> None:
        require(self.count(collection), expected)

    def query(self, collection: str, vectors: Vectors, k: int) -> list[list[Hit]]:
        with self._lock:
            held = self._held(collection)
            if collection not in self._matrices:
                self._matrices[collection] = list(held), np.array(list(held.values()), dtype=np.float32)
            ids, matrix = self._matrices[collection]
        if not ids:
            return [[] for _ in vectors]
        scores = vectors @ matrix.T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return [[Hit(ids[i], float(scores[row, i])) for i in best[row]] for row in range(len(vectors))]

    def count(self, collection: str) -> int:
        with self._lock:
            return len(self._held(collection))

    def ping(self) -> None:
        return None

    def close(self) -> None:
        return None

    def _held(self, collection: str) -> dict[str, Vectors]:
        if collection not in self._collections:
            raise CollectionMissing(f"there is no collection {collection}; run `ragline kb reindex`")
        return self._collections[collection]
