"""The retrieve step beside "encode one query and ask the store", on Chroma, with the same encoder and store.

    python -m bench.retrieval_latency [--rows 15000 100000] [--phrasings 100] [--questions 200]

The base holds 100 phrasings an item (with 4 there is no head, and words are compared), one item in four with an
answer. Encoding 100,000 texts would take the run's time and change nothing in it, so beyond 20,000 rows the stored
vectors are made up; so are the weights of the head there. Every question is new, so that nothing is remembered; the
two sides take turns. Then items are added, and asked for until they answer.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from sqlmodel import SQLModel

import storage.models  # noqa: F401  (declares the tables)
from bench.kb_import import WORDS
from pipeline.head import Fusion, Head
from pipeline.search import NEAREST, KnowledgeSearcher
from pipeline.steps.retrieve import retrieve
from pipeline.training import PHRASINGS, bring_up_to_date
from ragline.stack.ports import free_port
from storage import heads
from storage.embedder import make_embedder
from storage.embedder.base import Embedder, Vectors
from storage.index import sync
from storage.knowledge import put_items
from storage.knowledge_files import ItemRow
from storage.session import Database, make_engine
from storage.vectors.chroma import ChromaStore

ENCODED = 20_000


class MadeUp:
    """Gives texts vectors without reading them."""

    def __init__(self, embedder: Embedder) -> None:
        self.name, self.dimensions = embedder.name, embedder.dimensions
        self._dice = np.random.default_rng(0)
        self.encode_queries = embedder.encode_queries

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        vectors = self._dice.normal(size=(len(texts), self.dimensions)).astype(np.float32)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def made_up_head(items: Sequence[str], embedder: Embedder, layers: int) -> Head:
    """A head of the largest size that is stored."""
    dice, classes = np.random.default_rng(0), len(items)
    buckets = np.sort(dice.choice(1 << 18, min(50_000, 10_000_000 // classes), replace=False)).astype(np.int32)
    return Head(
        labels=tuple(items), embedder=embedder.name,
        weights=dice.normal(size=(layers, classes)).astype(np.float32), bias=np.zeros(classes, np.float32),
        buckets=buckets, idf=np.ones(len(buckets), np.float32),
        text_weights=dice.normal(size=(len(buckets), classes)).astype(np.float16),
        text_bias=np.zeros(classes, np.float32), fusion=Fusion(1, 1, 10), answering=(0.0,) * 6,
        operating_points=((0.9, 0.0),), grounded=0.3,
    )  # fmt: skip


def question(dice: random.Random) -> str:
    return " ".join(dice.choices(WORDS.split(), k=dice.randint(4, 14)))


@contextmanager
def chroma(folder: str) -> Iterator[str]:
    port = free_port()
    command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", folder, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                httpx.get(f"{url}/api/v2/heartbeat", trust_env=False)
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def edit(database: Database, store: ChromaStore, embedder: Embedder, searcher: KnowledgeSearcher, number: int) -> float:
    """Seconds from an edit until the next question is answered by it, its vector included."""
    text = f"Where does stork number {number} live?"
    began = time.perf_counter()
    put_items(database, [ItemRow(f"stork-{number}", "On the roof.", [text])], source="bench")
    sync(database, store, "chroma", embedder, "minilm")
    while True:
        found = searcher.search(text)
        if found.ranked[0][0].id == f"stork-{number}" and found.ranked[0][0].dense > 0.99:
            return time.perf_counter() - began
        time.sleep(0.05)


def measure(rows: int, phrasings: int, questions: int) -> None:
    dice = random.Random(rows)
    items = [
        ItemRow(f"i{n}", f"{question(dice)}. {question(dice)}." if n % 4 == 0 else None,
                [f"{question(dice)} {n} {k}" for k in range(phrasings)])
        for n in range(rows // phrasings)
    ]  # fmt: skip
    embedder = make_embedder("minilm", threads=1)
    with tempfile.TemporaryDirectory() as scratch, chroma(f"{scratch}/chroma") as url:
        database, store = Database(make_engine(f"sqlite:///{scratch}/kb.sqlite3")), ChromaStore(url)
        SQLModel.metadata.create_all(database.engine)
        put_items(database, items, source="bench")
        sync(database, store, "chroma", embedder if rows <= ENCODED else MadeUp(embedder), "minilm")
        began = time.perf_counter()
        if rows <= ENCODED:
            bring_up_to_date(database, embedder)
            print(f"{rows} rows: encoding and training took {time.perf_counter() - began:.0f} s")
        elif phrasings >= PHRASINGS:
            head = made_up_head([item.id for item in items], embedder, 4 * embedder.dimensions)
            heads.put(database, "bench", embedder.name, head.to_bytes())
        searcher = KnowledgeSearcher(database, lambda _: store, embedder, "minilm")
        began = time.perf_counter()
        searcher.search("warm-up")
        loaded = time.perf_counter() - began
        live = searcher._current().live
        assert live is not None
        bare, whole = [], []
        for _ in range(questions):
            text = question(dice)
            began = time.perf_counter()
            store.query(live.collection, embedder.encode_queries([text]), NEAREST)
            middle = time.perf_counter()
            retrieve(f"{text}", searcher=searcher, k=5)
            bare.append(middle - began)
            whole.append(time.perf_counter() - middle)
        ratio = statistics.median(w / b for w, b in zip(whole, bare, strict=True))
        print(
            f"{rows} rows: bare {statistics.median(bare) * 1000:.1f} ms, "
            f"retrieve {statistics.median(whole) * 1000:.1f} ms (medians), "
            f"ratio {statistics.median(whole) / statistics.median(bare):.2f}, of pairs {ratio:.2f}; "
            f"base and head read in {loaded:.1f} s; "
            f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB",
            flush=True,
        )
        live_after = sorted(edit(database, store, embedder, searcher, number) for number in range(5))
        print(f"{rows} rows: an edit is live after {live_after[2]:.1f} s (median of 5, worst {live_after[-1]:.1f})")
        database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[15_000, 100_000])
    parser.add_argument("--phrasings", type=int, default=100)
    parser.add_argument("--questions", type=int, default=200)
    options = parser.parse_args()
    for rows in options.rows:
        measure(rows, options.phrasings, options.questions)


if __name__ == "__main__":
    main()
