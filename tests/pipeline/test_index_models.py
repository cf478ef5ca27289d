"""The index moves to another embedding model while questions come in: each is answered, by the model of its index."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import update

import ragline.demo
from pipeline import search
from pipeline.embedders import embedder_in_use, make_embedder, open_embedder
from pipeline.search import KnowledgeSearcher, make_searcher
from pipeline.training import bring_up_to_date
from ragline.errors import ConfigurationError
from ragline.settings import Settings
from storage import index, knowledge, migrate
from storage.embedder.base import Embedder
from storage.index import LiveIndex
from storage.knowledge_files import read_file
from storage.models import VectorIndex
from storage.session import Database, make_engine
from storage.vectors.memory import MemoryStore
from tests.support.fake_openai import API_KEY, FakeOpenAI

OTHER = "litellm:openai/text-embedding-3-small"


class World:
    """The demo base in an index of the packaged model; :data:`OTHER` is a second one, of other dimensions."""

    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder}/kb.sqlite3"
        migrate.upgrade(url)
        self.settings = Settings.model_validate({"data": folder, "database_url": url})
        self.database, self.store = Database(make_engine(url)), MemoryStore()
        self.first = make_embedder(self.settings)
        items = read_file(Path(ragline.demo.__path__[0]) / "demo.jsonl").items
        knowledge.put_items(
            self.database, [item for item in items if item.id.startswith("demo-en")][:15], source="demo"
        )
        index.sync(self.database, self.store, "memory", self.first, "minilm")

    def searcher(self, load: Callable[[LiveIndex], Embedder] | None = None) -> KnowledgeSearcher:
        load = load or partial(open_embedder, self.settings, threads=1)
        return KnowledgeSearcher(self.database, lambda _: self.store, self.first, "minilm", load=load)

    def reindex(self, model: str, grace: float = 0.0) -> LiveIndex:
        embedder = make_embedder(self.settings, model)
        return index.reindex(
            self.database, self.store, "memory", embedder, setting=model, grace=grace,
            before_swap=lambda: bring_up_to_date(self.database, embedder),
        )  # fmt: skip


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(search, "FRESH", 0.05)
    with FakeOpenAI(dimensions=256) as provider:
        monkeypatch.setenv("OPENAI_API_KEY", API_KEY)
        monkeypatch.setenv("OPENAI_API_BASE", provider.api_base)
        world = World(tmp_path)
        yield world
        world.database.close()


def ask_until(searcher: KnowledgeSearcher, stop: threading.Event) -> list[float]:
    """Ask, each question once; what the best answers were worth."""
    worth = []
    while not stop.is_set() or not worth:
        found = searcher.search(f"How do I return an item? ({len(worth)})")
        best = max((candidate for candidate, _ in found.ranked), key=lambda candidate: candidate.dense)
        assert best.id == "demo-en-return"
        worth.append(best.dense)
        time.sleep(0.02)
    return worth


def test_a_swap_to_another_model_loses_no_question(world: World) -> None:
    searcher, stop = world.searcher(), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask_until, searcher, stop) for _ in range(2)]
        there = world.reindex(OTHER)
        back_again = world.reindex("minilm", grace=0.3)
        time.sleep(0.3)
        stop.set()
        worth = [one for each in asking for one in each.result()]
    assert min(worth) > 0.6, "a question of one model asked of the vectors of the other is near to nothing"
    assert there.embedder.startswith("litellm:")
    assert searcher._current().embedder.name == back_again.embedder == world.first.name


def test_the_old_index_answers_until_the_new_model_is_loaded(world: World) -> None:
    loaded = threading.Event()

    def load(wanted: LiveIndex) -> Embedder:
        assert loaded.wait(20)
        return open_embedder(world.settings, wanted, threads=1)

    searcher = world.searcher(load)
    searcher.warm_up()
    reindexing = threading.Thread(target=world.reindex, args=(OTHER, 2.0))
    reindexing.start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with world.database.read() as session:
            live = index.live_index(session)
        if live and live.setting == OTHER:
            break
        time.sleep(0.02)
    assert live is not None
    time.sleep(0.1)
    assert searcher.search("How do I return an item?").ranked[0][0].id == "demo-en-return"
    assert searcher._current().embedder.name == world.first.name
    loaded.set()
    reindexing.join()
    assert searcher.search("Which payment methods do you accept?").ranked[0][0].id == "demo-en-payment-methods"
    assert searcher._current().embedder.name == live.embedder


def test_a_worker_starts_and_embeds_with_the_model_of_the_index_whatever_the_settings_say(world: World) -> None:
    live = world.reindex(OTHER)
    assert world.settings.knowledge.embedder == "minilm"
    assert make_searcher(world.settings, world.database)._current().embedder.name == live.embedder
    assert embedder_in_use(world.settings, world.database).name == live.embedder
    assert open_embedder(world.settings, None).name == world.first.name


def test_a_model_that_is_not_here_leaves_the_old_index_in_use(world: World) -> None:
    def load(wanted: LiveIndex) -> Embedder:
        raise ConfigurationError(f"no {wanted.embedder}")

    searcher = world.searcher(load)
    searcher.warm_up()
    reindexing = threading.Thread(target=world.reindex, args=(OTHER, 1.0))
    reindexing.start()
    time.sleep(0.7)
    assert searcher.search("How do I return an item?").ranked[0][0].id == "demo-en-return"
    reindexing.join()
    with pytest.raises(ConfigurationError, match="no litellm:"):
        searcher.search("How do I return my item?")


@pytest.mark.parametrize("name", ["all-minilm-l6-v2@53aa51172d14", "all-minilm-l6-v2@53aa51172d14+00000000"])
def test_an_index_of_an_older_glossary_is_asked_all_the_same(world: World, name: str) -> None:
    with world.database.write() as session:
        session.exec(update(VectorIndex).values(embedder=name, setting=None))
    assert world.searcher().search("How do I return an item?").ranked[0][0].id == "demo-en-return"
    assert index.sync(world.database, world.store, "memory", world.first, "minilm") == 0
