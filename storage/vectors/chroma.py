"""Chroma by HTTP. The server has no authentication: loopback or a private network only.

Facts of Chroma 1.5: the default distance is not the cosine and cannot be changed later; the default ``ef_search`` loses
a sixth of the neighbours; an embedding function that is not None downloads a model; a server that is
down shows as ``ValueError``; its index is built by the first query after a write.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from ragline.errors import ConfigurationError
from ragline.settings import Settings
from storage.embedder.base import Vectors
from storage.vectors.base import CollectionMissing, Hit, StoreUnavailable, require

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection

#: Rows a request; the server takes 5,461.
BATCH = 1000
#: Rows after which the index is written down. What is not is read a second time by the first write after a query, 5 ms
#: a row: with 5,000 an edit after a large import takes up to 25 s, to save a tenth of the loading.
SYNCED = 500
#: Seconds of a request; the client itself waits for ever. The first query after many writes builds a graph.
DEADLINE = 120


class ChromaStore:
    """One Chroma server. The client library is imported at the first use: it costs a second."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"CHROMA_URL must look like http://host:8000, not {url!r}")
        self._url = parts
        self._client: ClientAPI | None = None
        self._collections: dict[str, Collection] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, settings: Settings) -> ChromaStore:
        if not settings.chroma_url:
            raise ConfigurationError("there is no Chroma server: start the stack with `ragline up` or set CHROMA_URL")
        return cls(settings.chroma_url)

    def create(self, collection: str, dimensions: int) -> None:
        with self._errors(collection):
            made = self._connect().get_or_create_collection(
                collection,
                configuration={
                    "hnsw": {
                        "space": "cosine",
                        "ef_construction": 100,
                        "ef_search": 300,
                        "batch_size": SYNCED,
                        "sync_threshold": SYNCED,
                    }
                },
                metadata={"dimensions": dimensions},
                embedding_function=None,
            )
        space = (made.configuration_json.get("hnsw") or {}).get("space")
        if space != "cosine":
            raise ConfigurationError(f"Chroma holds a collection {collection} compared by {space}; drop it and reindex")

    def drop(self, collection: str) -> None:
        self._collections.pop(collection, None)
        try:
            with self._errors(collection):
                self._connect().delete_collection(collection)
        except CollectionMissing:
            return

    def upsert(self, collection: str, ids: Sequence[str], vectors: Vectors) -> None:
        for start in range(0, len(ids), BATCH):
            with self._errors(collection):
                self._collection(collection).upsert(
                    ids=list(ids[start : start + BATCH]), embeddings=np.asarray(vectors[start : start + BATCH])
                )

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), BATCH):
            with self._errors(collection):
                self._collection(collection).delete(ids=list(ids[start : start + BATCH]))

    def settle(self, collection: str, expected: int) -> None:
        require(self.count(collection), expected)
        with self._errors(collection):
            found = self._collection(collection)
            dimensions = int((found.metadata or {}).get("dimensions") or 0)
        if dimensions:  # the first query after a write builds the index
            self.query(collection, np.ones((1, dimensions), dtype=np.float32), 1)

    def query(self, collection: str, vectors: Vectors, k: int) -> list[list[Hit]]:
        with self._errors(collection):
            found: Any = self._collection(collection).query(
                query_embeddings=np.asarray(vectors), n_results=k, include=["distances"]
            )
        return [
            [Hit(row, 1.0 - float(distance)) for row, distance in zip(ids, distances, strict=True)]
            for ids, distances in zip(found["ids"], found["distances"], strict=True)
        ]

    def count(self, collection: str) -> int:
        with self._errors(collection):
            return int(self._collection(collection).count())

    def ping(self) -> None:
        with self._errors(None):
            self._connect().heartbeat()

    def close(self) -> None:
        with self._lock:  # the library keeps the connections, for the next client of this address
            self._client = None
            self._collections.clear()

    def _connect(self) -> ClientAPI:
        with self._lock:
            if self._client is None:
                import chromadb
                from chromadb.config import Settings as ChromaSettings

                self._client = chromadb.HttpClient(
                    host=self._url.hostname or "",
                    port=self._url.port or (443 if self._url.scheme == "https" else 80),
                    ssl=self._url.scheme == "https",
                    settings=ChromaSettings(anonymized_telemetry=False),
                )
                _session(self._client).timeout = DEADLINE
            return self._client

    def _collection(self, name: str) -> Collection:
        if name not in self._collections:
            self._collections[name] = self._connect().get_collection(name, embedding_function=None)
        return self._collections[name]

    def _is_gone(self, collection: str | None, error: Exception) -> bool:
        """Whether a query failed because the collection is being removed, which Chroma calls an internal error."""
        if collection is None or type(error).__name__ not in ("ChromaError", "InternalError"):
            return False
        try:
            self._connect().get_collection(collection, embedding_function=None)
        except Exception as found:
            return type(found).__name__ == "NotFoundError"
        return False

    @contextmanager
    def _errors(self, collection: str | None) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            kind = type(error).__name__
            if kind == "NotFoundError" or "does not exist" in str(error) or self._is_gone(collection, error):
                self._collections.pop(collection or "", None)
                raise CollectionMissing(f"Chroma has no collection {collection}; run `ragline kb reindex`") from error
            if isinstance(error, ConfigurationError):
                raise
            raise StoreUnavailable(f"Chroma at {self._url.netloc} does not answer ({kind})") from error


def _session(client: ClientAPI) -> Any:
    """The client's HTTP session, to which it gives no deadline."""
    return client._server._session  # type: ignore[attr-defined]
