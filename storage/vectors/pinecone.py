"""Pinecone through its own client: one index for everything, a namespace for each collection.

What was written is found some seconds later, and the counts lag too; an index has one number of dimensions for good;
a request takes at most 1,000 vectors and 2 MB (https://docs.pinecone.io/reference/api/database-limits).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ragline.errors import ConfigurationError
from ragline.settings import Settings
from storage.embedder.base import Vectors
from storage.vectors.base import CollectionMissing, Hit, StoreUnavailable, require

if TYPE_CHECKING:
    from pinecone import Index

#: Bytes of vectors in a request: a float takes up to 12 in JSON, and 2 MB is the limit.
REQUEST = 500_000
#: Vectors or ids in a request at most.
BATCH = 1000
#: Requests under way at once.
PARALLEL = 4
#: Seconds the service gets to show what was written.
PATIENCE = 120.0


class PineconeStore:
    """One Pinecone index, made by its owner with the cosine metric. Thread-safe."""

    def __init__(
        self, host: str, api_key: str, *, patience: float = PATIENCE, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        try:
            from pinecone import Index
        except ImportError as error:
            raise ConfigurationError(
                "knowledge.store is pinecone and its client is missing: pip install 'ragline[pinecone]'"
            ) from error
        self._host, self._patience, self._sleep = host, patience, sleep
        with self._errors(None):
            self._index: Index = Index(host=host, api_key=api_key, timeout=20)

    @classmethod
    def from_settings(cls, settings: Settings) -> PineconeStore:
        if not settings.pinecone_api_key or not settings.pinecone_host:
            raise ConfigurationError(
                "knowledge.store is pinecone: set PINECONE_API_KEY and PINECONE_HOST (the index's host, from its page)"
            )
        return cls(settings.pinecone_host, settings.pinecone_api_key.get_secret_value())

    def create(self, collection: str, dimensions: int) -> None:
        from pinecone.errors import ConflictError

        with self._errors(None):
            about = self._index.describe_index_stats()
        if about.metric not in (None, "cosine"):
            raise ConfigurationError(f"the Pinecone index compares by {about.metric}; make one with the metric cosine")
        if about.dimension not in (None, dimensions):
            raise ConfigurationError(
                f"the Pinecone index has {about.dimension} dimensions, the embedding model {dimensions}; make an index "
                f"of {dimensions} dimensions and set PINECONE_HOST to its host"
            )
        with self._errors(collection), suppress(ConflictError):
            self._index.create_namespace(name=collection)

    def drop(self, collection: str) -> None:
        with suppress(CollectionMissing), self._errors(collection):
            self._index.delete_namespace(name=collection)

    def upsert(self, collection: str, ids: Sequence[str], vectors: Vectors) -> None:
        rows = max(1, min(BATCH, REQUEST // (12 * vectors.shape[1])))

        def send(start: int) -> None:
            part = zip(ids[start : start + rows], vectors[start : start + rows].tolist(), strict=True)
            with self._errors(collection):
                self._index.upsert(vectors=list(part), namespace=collection)

        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="pinecone") as pool:
            list(pool.map(send, range(0, len(ids), rows)))

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), BATCH):
            with suppress(CollectionMissing), self._errors(collection):
                self._index.delete(ids=list(ids[start : start + BATCH]), namespace=collection)

    def settle(self, collection: str, expected: int) -> None:
        waited, pause = 0.0, 0.25
        while (found := self.count(collection)) < expected and waited < self._patience:
            self._sleep(pause)
            waited, pause = waited + pause, min(5.0, pause * 1.5)
        require(found, expected)

    def query(self, collection: str, vectors: Vectors, k: int) -> list[list[Hit]]:
        def ask(vector: list[float]) -> list[Hit]:
            with self._errors(collection):
                found = self._index.query(vector=vector, top_k=k, namespace=collection)
            return [Hit(match.id, float(match.score)) for match in found.matches]

        rows = vectors.tolist()
        if len(rows) == 1:
            answers = [ask(rows[0])]
        else:
            with ThreadPoolExecutor(PARALLEL, thread_name_prefix="pinecone") as pool:
                answers = list(pool.map(ask, rows))
        if not any(answers):
            self.count(collection)  # a namespace that does not exist answers like an empty one
        return answers

    def count(self, collection: str) -> int:
        with self._errors(collection):
            return int(self._index.describe_namespace(name=collection).record_count)

    def ping(self) -> None:
        with self._errors(None):
            self._index.describe_index_stats(timeout=5)

    def close(self) -> None:
        self._index.close()

    @contextmanager
    def _errors(self, collection: str | None) -> Iterator[None]:
        from pinecone.errors import ConflictError, ForbiddenError, NotFoundError, PineconeError, UnauthorizedError

        try:
            yield
        except ConflictError:
            raise
        except NotFoundError as error:
            if collection is None:
                raise ConfigurationError(f"there is no Pinecone index at {self._host}; check PINECONE_HOST") from error
            raise CollectionMissing(f"Pinecone has no collection {collection}; run `ragline kb reindex`") from error
        except (UnauthorizedError, ForbiddenError) as error:
            raise ConfigurationError("Pinecone refuses the key; check PINECONE_API_KEY") from error
        except PineconeError as error:
            raise StoreUnavailable(f"Pinecone at {self._host} does not answer ({type(error).__name__})") from error
