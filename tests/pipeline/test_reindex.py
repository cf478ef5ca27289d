"""The index moves from store to store while questions come in: none fails, each is answered from a whole index."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

import ragline.demo
from pipeline.search import KnowledgeSearcher
from ragline.settings import Settings
from storage import index, knowledge, migrate
from storage.embedder import make_embedder
from storage.knowledge_files import ItemRow, read_file
from storage.session import Database, make_engine
from storage.vectors import make_store
from storage.vectors.base import VectorStore

RATE = 50  # questions a second


class Questions:
    """Asks ``RATE`` questions a second, each once, whether or not the earlier ones are answered."""

    def __init__(self, searcher: KnowledgeSearcher, expected: str) -> None:
        self._searcher, self._expected = searcher, expected
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._ask_all)
        self.asked: list[Future[None]] = []

    def __enter__(self) -> Questions:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def problems(self) -> list[str]:
        return [repr(error) for error in (future.exception() for future in self.asked) if error]

    def _ask_all(self) -> None:
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            while not self._stop.wait(max(0.0, began + len(self.asked) / RATE - time.monotonic())):
                self.asked.append(pool.submit(self._ask, len(self.asked)))

    def _ask(self, number: int) -> None:
        found = self._searcher.search(f"How do I return an item? ({number})")
        best = max((candidate for candidate, _ in found.ranked), key=lambda candidate: candidate.dense)
        assert best.id == self._expected
        assert best.dense > 0.6, "found by its words only"


@pytest.fixture
def settings(chroma_url: str, postgres_url: str, tmp_path: Path) -> Settings:
    return Settings.model_validate({"chroma_url": chroma_url, "pgvector_url": postgres_url, "data": tmp_path})


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/kb.sqlite3"
    migrate.upgrade(url)
    database = Database(make_engine(url))
    yield database
    database.close()


def test_a_swap_under_fifty_questions_a_second_loses_none(settings: Settings, database: Database) -> None:
    stores: dict[str, VectorStore] = {}

    def store(name: str) -> VectorStore:
        return stores.setdefault(name, make_store(name, settings))

    model = make_embedder("minilm", threads=1)
    items = read_file(Path(ragline.demo.__path__[0]) / "demo.jsonl").items
    knowledge.put_items(database, [item for item in items if "return" in item.id or "deliv" in item.id], source="demo")
    index.sync(database, store("chroma"), "chroma", model, "minilm")
    searcher = KnowledgeSearcher(database, store, model, "minilm")
    searcher.warm_up()
    with Questions(searcher, "demo-en-return") as questions:
        for name in ("faiss", "pgvector", "chroma"):
            row = ItemRow(f"new-in-{name}", "Yes.", [f"Is there something new in {name}?"])
            knowledge.put_items(database, [row], source="test")
            live = index.reindex(database, make_store(name, settings), name, model, stores=store)
            time.sleep(0.2)
            with database.read() as session:
                assert index.live_index(session) == live
                assert index.is_complete(session, live)
    assert len(questions.asked) > RATE
    assert questions.problems() == []
    for opened in stores.values():
        opened.close()
