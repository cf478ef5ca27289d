"""What is near a text in the live index, for :mod:`storage.conflicts`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from storage.conflicts import VECTORS, Near, Text
from storage.embedder.base import Embedder
from storage.index import LiveIndex
from storage.vectors.base import VectorStore

#: Texts encoded and asked for at a time, and near ones looked at of each.
BATCH, NEAREST = 256, 10


class IndexNeighbours:
    """Asks the index for each text. ``progress`` is told how many more are done."""

    def __init__(
        self, texts: Sequence[Text], store: VectorStore, live: LiveIndex, embedder: Embedder,
        progress: Callable[[int], None] = lambda done: None,
    ) -> None:  # fmt: skip
        self._texts, self._store, self._live, self._embedder = texts, store, live, embedder
        self._rows = {text.id: row for row, text in enumerate(texts)}
        self._progress = progress

    def __call__(self, rows: Sequence[int]) -> Iterator[Near]:
        """Raises ``StoreUnavailable``."""
        by_length = sorted(rows, key=lambda row: len(self._texts[row].text))
        for start in range(0, len(by_length), BATCH):
            batch = by_length[start : start + BATCH]
            vectors = self._embedder.encode_passages([self._texts[row].text for row in batch])
            answers = self._store.query(self._live.collection, vectors, NEAREST)
            for row, hits in zip(batch, answers, strict=True):
                for hit in hits:
                    other = self._rows.get(hit.id)
                    if other is not None and other != row and hit.score >= VECTORS:
                        yield Near(row, other, min(hit.score, 1.0))
            self._progress(len(batch))
