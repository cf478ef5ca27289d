"""What a training has encoded is kept for the next one, which comes after an edit of a few texts."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from storage.embedder.base import Embedder, Vectors, encode_layers


class Encoded:
    """The vectors and layers of the texts encoded last, by one model: 4 kB a text, in half precision. Thread-safe."""

    def __init__(self) -> None:
        self._model = ""
        self._rows: dict[str, int] = {}
        self._vectors: NDArray[np.float16] | None = None
        self._layers: NDArray[np.float16] | None = None
        self._lock = threading.Lock()

    def encode(self, embedder: Embedder, texts: Sequence[str]) -> tuple[Vectors, Vectors]:
        """As :func:`~storage.embedder.base.encode_layers`, of new texts only; others are forgotten.

        All are rounded to half precision, whether known or new, so that the same texts always give the same head.
        """
        with self._lock:
            known = self._rows if self._model == embedder.name else {}
            new = [text for text in dict.fromkeys(texts) if text not in known]
            wanted = dict.fromkeys(texts)
            parts = [part.astype(np.float16) for part in encode_layers(embedder, new)] if new or not texts else []
            kept = np.array([known[text] for text in wanted if text in known], dtype=np.intp)
            old = [held[kept] for held in (self._vectors, self._layers) if held is not None and len(kept)]
            whole = [np.concatenate(pair) for pair in zip(old, parts, strict=True)] if old and parts else old or parts
            order = [text for text in wanted if text in known] + new
            self._model, self._rows = embedder.name, {text: row for row, text in enumerate(order)}
            self._vectors, self._layers = whole
            rows = np.array([self._rows[text] for text in texts], dtype=np.intp)
            return self._vectors[rows].astype(np.float32), self._layers[rows].astype(np.float32)
