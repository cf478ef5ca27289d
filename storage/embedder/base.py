"""The interface of an embedding model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

#: Rows of L2-normalised vectors, float32, shape (n, dimensions).
Vectors = NDArray[np.float32]
Progress = Callable[[int], None]


class Embedder(Protocol):
    """Turns texts into vectors. ``name``: model and version; vectors of another are not comparable."""

    name: str

    @property
    def dimensions(self) -> int:
        """Numbers of a vector."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of what customers ask."""
        ...

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors of what the knowledge base holds."""
        ...


@runtime_checkable
class LayeredEmbedder(Protocol):
    """A model that also shows its hidden layers, which tell kinds of question apart better than its vectors do."""

    def encode_layers(self, texts: Sequence[str]) -> tuple[Vectors, Vectors]:
        """The vectors of queries, and their layers: rows of L2-normalised blocks of ``dimensions`` side by side."""
        ...


def encode_layers(embedder: Embedder, texts: Sequence[str]) -> tuple[Vectors, Vectors]:
    """Vectors of queries and what a classifier is trained on: layers where the model shows them, else the vectors."""
    if isinstance(embedder, LayeredEmbedder):
        return embedder.encode_layers(texts)
    vectors = embedder.encode_queries(texts)
    return vectors, vectors
