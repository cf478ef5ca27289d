"""The base of a Faiss collection: an immutable index with the ids of its rows.

Up to :data:`FLAT` rows it is compared exactly; beyond, by a navigable small-world graph (HNSW,
https://arxiv.org/abs/1603.09320), which Faiss can extend but not take from: removed rows are masked, and the graph is
built anew when they are a quarter.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ragline.errors import ConfigurationError
from storage.embedder.base import Vectors
from storage.vectors.base import Hit

if TYPE_CHECKING:
    from storage.vectors.faiss_journal import Journal

#: Rows up to which an exact comparison costs less than a graph is worth: one millisecond at 384 dimensions.
FLAT = 4096
#: Neighbours of a row, candidates kept while building and while searching.
NEIGHBOURS, BUILDING, SEARCHING = 16, 100, 300
#: Share of masked rows from which the graph is built anew.
WASTE = 0.25
#: Rows added to a graph at a time.
STEP = 20_000


def library() -> ModuleType:
    """The module ``faiss``. Raises :class:`ConfigurationError` when it is not installed."""
    try:
        import faiss
    except ImportError as error:
        raise ConfigurationError("the store faiss needs its package: pip install 'ragline[faiss]'") from error
    found: ModuleType = faiss
    return found


def read_current(folder: Path) -> tuple[int, int] | None:
    """Generation and dimensions; None where there is no collection."""
    try:
        found = json.loads((folder / "current.json").read_text())
    except FileNotFoundError:
        return None
    return int(found["generation"]), int(found["dimensions"])


def write_current(folder: Path, generation: int, dimensions: int) -> None:
    """Make ``generation`` the one that readers follow. Raises ``OSError``."""
    content = json.dumps({"generation": generation, "dimensions": dimensions}).encode()
    _replace(folder / "current.json", lambda path: path.write_bytes(content))


@dataclass(frozen=True)
class Base:
    """One generation, mapped from its files."""

    generation: int = 0
    index: Any = None
    #: UTF-8 ids by row, and the rows in the order of their ids.
    ids: NDArray[np.bytes_] = field(default_factory=lambda: np.empty(0, dtype="S1"))
    order: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    #: Rows that were removed or replaced before this generation.
    dead: frozenset[int] = frozenset()

    @classmethod
    def open(cls, folder: Path, generation: int, dimensions: int) -> Base:
        """Raises ``FileNotFoundError`` when a newer generation has replaced it."""
        if generation == 0:
            return cls()
        ids, order, dead = (_load(_file(folder, generation, f"{kind}.npy")) for kind in ("ids", "order", "dead"))
        gone = frozenset(dead.tolist())
        if not len(ids):
            return cls(generation, None, ids, order, gone)
        path = _file(folder, generation, "faiss")
        path.stat()  # Faiss raises one class for everything
        faiss = library()
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError:
            path.stat()  # raises when the reason is that a newer generation has replaced it
            raise
        return cls(generation, index, ids, order, gone)

    @property
    def rows(self) -> int:
        """Rows, masked ones included."""
        return len(self.ids)

    def rows_of(self, ids: Sequence[str]) -> list[int]:
        """The rows that hold these ids, masked ones included."""
        if not self.rows or not ids:
            return []
        wanted = np.array([name.encode() for name in ids])
        first = np.searchsorted(self.ids, wanted, side="left", sorter=self.order)
        last = np.searchsorted(self.ids, wanted, side="right", sorter=self.order)
        # More than one row: those replaced before stay in the graph, masked.
        return [int(row) for start, stop in zip(first, last, strict=True) for row in self.order[start:stop]]

    def search(self, asked: Vectors, k: int, masked: set[int]) -> list[list[Hit]]:
        """The at most ``k`` nearest of each row that are not masked, in no order."""
        if not self.rows:
            return [[] for _ in asked]
        faiss = library()
        faiss.omp_set_num_threads(1)  # of this thread: several queries at once, not several threads a query
        selector = None
        if masked:
            dead = np.fromiter(masked, dtype=np.int64, count=len(masked))
            selector = faiss.IDSelectorNot(faiss.IDSelectorBatch(dead))
        if isinstance(self.index, faiss.IndexHNSW):
            how = faiss.SearchParametersHNSW(efSearch=max(SEARCHING, 2 * k), sel=selector)
        else:
            how = faiss.SearchParameters(sel=selector)
        scores, rows = self.index.search(asked, min(k, self.rows), params=how)
        return [
            [Hit(self.ids[i].decode(), float(score)) for i, score in zip(found, near, strict=True) if i >= 0]
            for found, near in zip(rows, scores, strict=True)
        ]


NO_BASE = Base()


def build(folder: Path, generation: int, dimensions: int, base: Base, journal: Journal, *, threads: int) -> None:
    """Write the files of ``generation``: the live rows of the base and of the journal. Raises ``OSError``."""
    faiss = library()
    ids, vectors = journal.contents()
    live = base.rows - len(journal.masked)
    whole = live + len(ids) > FLAT and base.rows > FLAT and len(journal.masked) < WASTE * (base.rows + len(ids))
    faiss.omp_set_num_threads(threads)
    try:
        if whole:
            index = faiss.read_index(str(_file(folder, base.generation, "faiss")))
            kept, dead = base.ids, sorted(journal.masked)
        else:
            rows = np.setdiff1d(np.arange(base.rows), np.fromiter(journal.masked, np.int64, len(journal.masked)))
            index = _empty(dimensions, live + len(ids))
            for start in range(0, len(rows), STEP):
                index.add(base.index.reconstruct_batch(rows[start : start + STEP]))
            kept, dead = base.ids[rows], []
        for start in range(0, len(ids), STEP):
            index.add(np.ascontiguousarray(vectors[start : start + STEP]))
    finally:
        faiss.omp_set_num_threads(1)
    names = np.array([name.encode() for name in ids] or [b""])[: len(ids)]
    every = np.concatenate([kept, names]) if len(kept) else names
    _replace(_file(folder, generation, "ids.npy"), _saving(every))
    _replace(_file(folder, generation, "order.npy"), _saving(np.argsort(every, kind="stable").astype(np.int64)))
    _replace(_file(folder, generation, "dead.npy"), _saving(np.array(dead, dtype=np.int64)))
    _replace(_file(folder, generation, "faiss"), lambda path: faiss.write_index(index, str(path)))


def _empty(dimensions: int, rows: int) -> Any:
    faiss = library()
    if rows <= FLAT:
        return faiss.IndexFlatIP(dimensions)
    index = faiss.IndexHNSWFlat(dimensions, NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILDING
    return index


def _file(folder: Path, generation: int, kind: str) -> Path:
    return folder / f"base-{generation}.{kind}"


def _load(path: Path) -> NDArray[Any]:
    """An array, mapped where it is longer than its own header (a map cannot be empty)."""
    found: NDArray[Any] = np.load(path, mmap_mode="r" if path.stat().st_size > 4096 else None)
    return found


def _saving(array: NDArray[Any]) -> Callable[[Path], object]:
    def save(path: Path) -> None:
        with path.open("wb") as out:
            np.save(out, array)

    return save


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    partial = path.with_name(path.name + ".part")
    write(partial)
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
