"""The journal of a Faiss collection: what was written since its base, appended and synced to disk."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from storage.embedder.base import Vectors
from storage.vectors.base import Hit

if TYPE_CHECKING:
    from storage.vectors.faiss_base import Base

#: Of a record: a mark, 1 for vectors and 0 for a removal, bytes of the ids (JSON), rows, CRC-32 of what follows.
_HEAD = struct.Struct("<4sBIII")
_MARK = b"RLJ1"


def journal_path(folder: Path, generation: int) -> Path:
    return folder / f"journal-{generation}"


def append(folder: Path, generation: int, ids: Sequence[str], vectors: Vectors | None) -> None:
    """Add a record, on disk when this returns: vectors of ``ids``, or their removal. Raises ``OSError``."""
    names = json.dumps(list(ids)).encode()
    payload = names + (vectors.tobytes() if vectors is not None else b"")
    head = _HEAD.pack(_MARK, int(vectors is not None), len(names), len(ids), zlib.crc32(payload))
    with journal_path(folder, generation).open("ab") as out:
        out.write(head + payload)
        out.flush()
        os.fsync(out.fileno())


def repair(folder: Path, generation: int, end: int) -> None:
    """Cut off what a writer left that was killed in the middle of a record. Only the writer may."""
    path = journal_path(folder, generation)
    if path.stat().st_size > end:
        os.truncate(path, end)


class Journal:
    """The records of one journal, read as far as they are whole."""

    def __init__(self, folder: Path, generation: int, dimensions: int, base: Base) -> None:
        self._path = journal_path(folder, generation)
        self._base, self._dimensions = base, dimensions
        #: Bytes read.
        self.end = 0
        #: Rows written, those replaced since included.
        self.rows = 0
        self._matrix: Vectors = np.empty((0, dimensions), dtype=np.float32)
        self._ids: list[str] = []
        #: Row of the matrix by id.
        self.live: dict[str, int] = {}
        #: Rows of the base that are removed or replaced.
        self.masked: set[int] = set(base.dead)
        self._frozen: Journal | None = None

    def follow(self) -> None:
        """Read the records added since. Raises ``FileNotFoundError`` when another generation has begun."""
        size = self._path.stat().st_size
        if size <= self.end:
            return
        with self._path.open("rb") as file:
            file.seek(self.end)
            while record := _read(file, self._dimensions):
                self._apply(*record)
                self.end = file.tell()
                self._frozen = None

    def _apply(self, ids: list[str], vectors: Vectors | None) -> None:
        self.masked |= set(self._base.rows_of(ids))
        if vectors is None:
            self.rows += len(ids)
            for name in ids:
                self.live.pop(name, None)
            return
        needed = self.rows_held + len(ids)
        if needed > len(self._matrix):
            grown = np.empty((max(needed, 2 * len(self._matrix), 64), self._dimensions), dtype=np.float32)
            grown[: self.rows_held] = self._matrix[: self.rows_held]
            self._matrix = grown
        # New rows only: a search that is under way reads the old ones.
        self._matrix[self.rows_held : needed] = vectors
        for name in ids:
            self.live[name] = len(self._ids)
            self._ids.append(name)
        self.rows += len(ids)

    @property
    def rows_held(self) -> int:
        """Rows of the matrix in use, those replaced since included."""
        return len(self._ids)

    def frozen(self) -> Journal:
        """The journal as it is now, for searches; made once for each change."""
        if self._frozen is None:
            copy = object.__new__(Journal)
            copy.__dict__.update(self.__dict__)
            rows = list(self.live.values())
            held = self._matrix[: self.rows_held]
            # Without the replaced rows there is nothing to leave out of a result.
            copy._matrix = held if len(rows) == len(held) else held[rows]
            copy._ids = list(self.live)
            copy.live, copy.masked = dict.fromkeys(self.live, 0), set(self.masked)
            self._frozen = copy
        return self._frozen

    def search(self, asked: Vectors, k: int) -> list[list[Hit]]:
        """The at most ``k`` nearest of each row, compared exactly, in no order. Of a frozen journal."""
        if not self._ids:
            return [[] for _ in asked]
        scores = asked @ self._matrix.T
        most = min(k, len(self._ids))
        best = np.argpartition(-scores, most - 1, axis=1)[:, :most]
        return [[Hit(self._ids[i], float(scores[row, i])) for i in best[row]] for row in range(len(asked))]

    def contents(self) -> tuple[list[str], Vectors]:
        """Ids and vectors. Of a frozen journal."""
        return self._ids, self._matrix


def _read(file: BinaryIO, dimensions: int) -> tuple[list[str], Vectors | None] | None:
    """The next record; None where it is not whole (yet)."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    mark, holds, length, rows, checksum = _HEAD.unpack(head)
    if mark != _MARK:
        return None
    size = length + holds * rows * dimensions * 4
    payload = file.read(size)
    if len(payload) < size or zlib.crc32(payload) != checksum:
        return None
    ids = json.loads(payload[:length])
    if not holds:
        return ids, None
    return ids, np.frombuffer(payload, dtype=np.float32, offset=length).reshape(rows, dimensions)
