"""The interface of an embedding model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

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
