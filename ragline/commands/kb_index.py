"""What the ``ragline kb`` commands do with the vector index."""

from __future__ import annotations

import time
from functools import partial

from pipeline.embedders import embedder_in_use, open_embedder
from ragline.commands.output import progress_bar
from ragline.settings import Settings
from storage import index
from storage.embedder.base import Embedder
from storage.session import Database


def sync(settings: Settings, database: Database) -> int:
    """Bring the index up to date, showing how far it is; returns how many texts were added."""
    with database.read() as session:
        missing = index.pending(session)
    with progress_bar("Indexing", missing) as advance:
        return index.bring_up_to_date(settings, database, partial(open_embedder, settings), advance)


def bare_rate(settings: Settings, database: Database, texts: list[str]) -> float | None:
    """Texts a second of the encoder alone."""
    if not texts:
        return None
    embedder: Embedder = embedder_in_use(settings, database)
    embedder.encode_passages(texts[:64])
    began = time.perf_counter()
    for start in range(0, len(texts), index.BATCH):
        embedder.encode_passages(texts[start : start + index.BATCH])
    return len(texts) / (time.perf_counter() - began)
