"""Faiss on disk: one writer at a time, any number of readers, all on one host.

A collection is a folder. ``current.json`` names its generation; ``base-N.*`` is an immutable index with the ids of its
rows, mapped into memory, so that the workers of a host share its pages; ``journal-N`` holds what was written since,
each record with its checksum, and is searched exactly. When the journal is long it is folded into the next base, and
``current.json`` is replaced in one rename. A reader looks at two file times before a query and follows. Removed files
stay readable to those who mapped them, so a query under way is never disturbed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ragline.errors import ConfigurationError
from ragline.logs import get_logger
from ragline.settings import Settings
from storage.embedder.base import Vectors
from storage.embedder.cores import available_cores
from storage.vectors.base import CollectionMissing, Hit, StoreUnavailable, require
from storage.vectors.faiss_base import NO_BASE, Base, build, library, read_current, write_current
from storage.vectors.faiss_journal import Journal, append, journal_path, repair

#: Rows of a journal that are folded into the base; beyond it, half of the base: so a bulk costs a few rewrites only.
JOURNAL = 8192
#: Rows of a journal that :meth:`FaissStore.settle` leaves there: they are searched in a fraction of a millisecond.
SMALL = 1024
#: Seconds to wait for the writer of another process.
PATIENCE = 120.0
log = get_logger(__name__)


class FaissStore:
    """Collections in the folders of one folder. Thread-safe, and safe under several processes of a host."""

    def __init__(self, folder: Path, *, patience: float = PATIENCE) -> None:
        library()
        self._folder, self._patience = folder, patience
        self._open: dict[str, _Collection] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, settings: Settings) -> FaissStore:
        return cls(settings.data.resolve() / "faiss")

    def create(self, collection: str, dimensions: int) -> None:
        held = self._collection(collection)
        with self._errors(collection):
            held.path.mkdir(parents=True, exist_ok=True)
            with held.writing(self._patience):
                if read_current(held.path) is None:
                    journal_path(held.path, 0).touch()
                    write_current(held.path, 0, dimensions)

    def drop(self, collection: str) -> None:
        held = self._collection(collection)
        with self._errors(collection):
            if held.path.exists():
                with held.writing(self._patience):
                    (held.path / "current.json").unlink(missing_ok=True)
                    shutil.rmtree(held.path)
        with self._lock:
            self._open.pop(collection, None)

    def upsert(self, collection: str, ids: Sequence[str], vectors: Vectors) -> None:
        self._write(collection, ids, np.ascontiguousarray(vectors, dtype=np.float32))

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        self._write(collection, ids, None)

    def settle(self, collection: str, expected: int) -> None:
        held = self._collection(collection)
        with self._errors(collection), held.writing(self._patience):
            held.refresh()
            if held.journal.rows > SMALL:
                held.fold()
        require(self.count(collection), expected)

    def query(self, collection: str, vectors: Vectors, k: int) -> list[list[Hit]]:
        held = self._collection(collection)
        with self._errors(collection):
            base, journal = held.view()
        held.check(vectors)
        asked = np.ascontiguousarray(vectors, dtype=np.float32)
        found = zip(base.search(asked, k, journal.masked), journal.search(asked, k), strict=True)
        return [sorted(old + new, key=lambda hit: -hit.score)[:k] for old, new in found]

    def count(self, collection: str) -> int:
        with self._errors(collection):
            base, journal = self._collection(collection).view()
        return base.rows - len(journal.masked) + len(journal.live)

    def ping(self) -> None:
        with self._errors(None):
            self._folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self._folder, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def close(self) -> None:
        with self._lock:
            self._open.clear()

    def _write(self, collection: str, ids: Sequence[str], vectors: Vectors | None) -> None:
        if not ids:
            return
        held = self._collection(collection)
        with self._errors(collection), held.writing(self._patience):
            held.refresh()
            if vectors is not None:
                held.check(vectors)
            repair(held.path, held.base.generation, held.journal.end)
            append(held.path, held.base.generation, list(ids), vectors)
            held.refresh()
            if held.journal.rows > max(JOURNAL, held.base.rows // 2):
                held.fold()

    def _collection(self, name: str) -> _Collection:
        with self._lock:
            if name not in self._open:
                self._open[name] = _Collection(self._folder / name)
            return self._open[name]

    @contextmanager
    def _errors(self, collection: str | None) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise CollectionMissing(f"Faiss has no collection {collection}; run `ragline kb reindex`") from error
        except TimeoutError as error:
            raise StoreUnavailable("another process has been writing to the Faiss index for too long") from error
        except OSError as error:
            raise StoreUnavailable(f"the Faiss folder {self._folder} cannot be used ({error.strerror})") from error


class _Collection:
    """What this process has read of a collection's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dimensions = 0
        self.base: Base = NO_BASE
        self.journal = Journal(path, 0, 0, NO_BASE)
        self._seen: tuple[int, int, int] | None = None
        self._lock = threading.Lock()
        self._writer = threading.Lock()

    def view(self) -> tuple[Base, Journal]:
        """The collection as it is now; what is returned does not change. Raises ``FileNotFoundError``."""
        with self._lock:
            self._refresh()
            return self.base, self.journal.frozen()

    def check(self, vectors: Vectors) -> None:
        """Raise :class:`ConfigurationError` for vectors of another model."""
        if vectors.shape[1] != self.dimensions:
            raise ConfigurationError(
                f"collection {self.path.name} has {self.dimensions} dimensions, the vectors {vectors.shape[1]}"
            )

    def refresh(self) -> None:
        """Read what is new in the folder. Raises ``FileNotFoundError`` when the collection is gone."""
        with self._lock:
            self._refresh()

    def _refresh(self) -> None:
        for _ in range(20):  # a base may be replaced between the look at its name and its opening
            about = (self.path / "current.json").stat()
            seen = (about.st_ino, about.st_mtime_ns, about.st_size)
            try:
                if seen != self._seen:
                    current = read_current(self.path)
                    if current is None:
                        continue
                    generation, self.dimensions = current
                    self.base = Base.open(self.path, generation, self.dimensions)
                    self.journal = Journal(self.path, generation, self.dimensions, self.base)
                    self._seen = seen
                self.journal.follow()
                return
            except FileNotFoundError:
                self._seen = None
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    @contextmanager
    def writing(self, patience: float) -> Iterator[None]:
        """Be the one writer. Raises ``TimeoutError`` after ``patience`` seconds."""
        deadline = time.monotonic() + patience
        with self._writer, (self.path / "writer.lock").open("a") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise TimeoutError from None
                    time.sleep(0.02)
            yield

    def fold(self) -> None:
        """Write the next generation: the base with the journal in it. Only the writer may; readers go on meanwhile."""
        base, journal = self.view()
        generation = base.generation + 1
        build(self.path, generation, self.dimensions, base, journal, threads=available_cores())
        journal_path(self.path, generation).touch()
        write_current(self.path, generation, self.dimensions)
        for old in (*self.path.glob("base-*"), *self.path.glob("journal-*")):
            if int(old.name.partition("-")[2].partition(".")[0]) < generation:
                old.unlink(missing_ok=True)
        log.info("faiss_folded", collection=self.path.name, generation=generation, rows=journal.rows)
        self.refresh()
