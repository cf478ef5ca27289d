"""What the visibility rules cost a search: beside the same search without any, and the bare query of the store.

    python -m bench.visibility [--rows 100000] [--queries 200]

Made-up vectors in a real Chroma server; the base holds one text an item. Half of the items are then limited: to another
channel, to another language, by dates, or archived.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np

from pipeline.search import NEAREST, KnowledgeSearcher
from ragline.clock import utcnow
from ragline.commands.services import chroma_answers, started
from ragline.stack.parts import chroma_part
from ragline.stack.ports import free_port
from storage import index, knowledge, migrate
from storage.embedder.base import Vectors
from storage.knowledge_files import ItemRow
from storage.session import Database, make_engine
from storage.vectors.chroma import ChromaStore
from storage.visibility import Scope, Visibility

DIMENSIONS = 384


class MadeUp:
    """Vectors of nothing: random, the same for the same text, and no time to speak of."""

    name, dimensions = "made-up@1", DIMENSIONS

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        rows = np.stack([np.random.default_rng(abs(hash(text))).normal(size=DIMENSIONS) for text in texts])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)

    encode_queries = encode_passages


def limited(row: int) -> Visibility | None:
    """Every second row, in four ways."""
    now = utcnow().replace(microsecond=0)
    return {
        1: Visibility(channels=("telegram",)),
        3: Visibility(languages=("de",)),
        5: Visibility(valid_until=now - timedelta(days=row % 365)),
        7: Visibility("archived"),
    }.get(row % 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        port = free_port()
        url, data = f"http://127.0.0.1:{port}", Path(scratch)
        migrate.upgrade(f"sqlite:///{scratch}/kb.sqlite3")
        database = Database(make_engine(f"sqlite:///{scratch}/kb.sqlite3"))
        with started(chroma_part(data, port), data, chroma_answers(url)):
            store, embedder = ChromaStore(url), MadeUp()
            knowledge.put_items(
                database, [ItemRow(str(n), "A.", [f"text {n}"]) for n in range(options.rows)], source=""
            )
            index.sync(database, store, "chroma", embedder, "made-up")
            with database.read() as session:
                live = index.live_index(session)
            assert live is not None
            collection = live.collection

            # The base as it is without rules, beside the one with them, over the same vectors.
            with sqlite3.connect(f"{scratch}/kb.sqlite3") as connection:
                connection.execute(f"VACUUM INTO '{scratch}/free.sqlite3'")
            free = Database(make_engine(f"sqlite:///{scratch}/free.sqlite3"))
            rows = [ItemRow(str(n), "A.", [f"text {n}"], visibility=limited(n)) for n in range(options.rows)]
            knowledge.put_items(database, rows, source="")

            def searcher(base: Database) -> Callable[[str], object]:
                found = KnowledgeSearcher(base, lambda _: store, embedder, "made-up")
                found.search("warm-up", Scope("api", "en"))
                return lambda query: found.search(query, Scope("api", "en"))

            ways: dict[str, Callable[[str], object]] = {
                "bare query": lambda query: store.query(collection, embedder.encode_queries([query]), NEAREST),
                "no rules": searcher(free),
                "half limited": searcher(database),
            }
            took: dict[str, list[float]] = {name: [] for name in ways}
            for number in range(options.queries):
                for name, work in ways.items():  # in turn, so that other load on the machine meets all of them
                    began = time.perf_counter()
                    work(f"query {number}")
                    took[name].append((time.perf_counter() - began) * 1000)
        free.close()
        database.close()
    for name, times in took.items():
        print(f"{name:>13}: median {statistics.median(times):.2f} ms, p95 {np.percentile(times, 95):.2f} ms")
    medians = {name: statistics.median(times) for name, times in took.items()}
    print(f"ratio with rules to without: {medians['half limited'] / medians['no rules']:.2f}")


if __name__ == "__main__":
    main()
