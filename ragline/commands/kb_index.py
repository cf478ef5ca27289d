"""What the ``ragline kb`` commands do with the vector index, and how they show that they are at it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ragline.commands.output import errors
from ragline.settings import Settings
from storage import index
from storage.embedder import make_embedder
from storage.embedder.base import Embedder
from storage.session import Database
from storage.vectors import make_store


def sync(settings: Settings, database: Database) -> int:
    """Bring the index up to date, showing how far it is; returns how many texts were added."""
    embedder = make_embedder(settings.knowledge.embedder)
    with database.read() as session:
        missing = index.pending(session)
    store = make_store(settings.knowledge.store, settings)
    with progress("Indexing", missing) as advance:
        return index.sync(database, store, settings.knowledge.store, embedder, settings.knowledge.embedder, advance)


def bare_rate(settings: Settings, texts: list[str]) -> float | None:
    """Texts a second of the encoder alone."""
    if not texts:
        return None
    embedder: Embedder = make_embedder(settings.knowledge.embedder)
    embedder.encode_passages(texts[:64])
    began = time.perf_counter()
    for start in range(0, len(texts), index.BATCH):
        embedder.encode_passages(texts[start : start + index.BATCH])
    return len(texts) / (time.perf_counter() - began)


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, where there is anything to do; call what it yields with how many more are done.

    ``total`` None: nobody knows yet.
    """
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, disable=not errors.is_terminal or total == 0) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.advance(task, done)
