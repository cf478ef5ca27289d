"""The interface of a vector store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ragline.errors import TransientError
from storage.embedder.base import Vectors


class StoreUnavailable(TransientError):
    """The vector store does not answer."""


class CollectionMissing(StoreUnavailable):
    """The store answers and does not hold the collection: it was emptied or replaced; ``ragline kb reindex``."""


def require(found: int, expected: int) -> None:
    """Raise :class:`StoreUnavailable` where a store shows fewer vectors than were stored."""
    if found < expected:
        raise StoreUnavailable(f"the store shows {found} of {expected} vectors; run `ragline kb reindex`")


class Hit(NamedTuple):
    """A stored vector near the one asked for. ``score`` is the cosine, -1 to 1."""

    id: str
    score: float


class VectorStore(Protocol):
    """Vectors by id (ASCII), in named collections. Thread-safe. Errors are :class:`StoreUnavailable`."""

    def create(self, collection: str, dimensions: int) -> None:
        """Make an empty collection compared by cosine; does nothing when it exists."""
        ...

    def drop(self, collection: str) -> None:
        """Remove a collection; does nothing when it does not exist."""
        ...

    def upsert(self, collection: str, ids: Sequence[str], vectors: Vectors) -> None:
        """Store or replace vectors, shape (n, dimensions)."""
        ...

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Remove vectors; unknown ids are ignored."""
        ...

    def settle(self, collection: str, expected: int) -> None:
        """After many writes, before others ask: build what queries need, and see that ``expected`` vectors are there.

        Slow where the store has a graph to build; readers are served in the meantime. Raises
        :class:`StoreUnavailable` when the store does not show them all in time.
        """
        ...

    def query(self, collection: str, vectors: Vectors, k: int) -> list[list[Hit]]:
        """The at most ``k`` nearest of each row of ``vectors``, best first."""
        ...

    def count(self, collection: str) -> int:
        """Vectors stored."""
        ...

    def ping(self) -> None:
        """Raise :class:`StoreUnavailable` unless the store answers."""
        ...

    def close(self) -> None:
        """Let go of connections; the store is not used after it."""
        ...
