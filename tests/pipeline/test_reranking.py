"""Re-ranking by a real cross-encoder: it shares the calibrated probability anew, and costs nothing by default."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import ragline.demo
from pipeline.confidence import calibration
from pipeline.found import Thresholds
from pipeline.reranking import Reranking, make_reranking, text_of
from pipeline.search import KnowledgeSearcher, make_searcher
from ragline.commands.doctor import app as doctor
from ragline.errors import ConfigurationError
from ragline.settings import Settings, get_settings
from storage import index, knowledge, migrate
from storage.embedder import make_embedder
from storage.embedder.minilm import model_folder
from storage.knowledge_files import ItemRow, read_file
from storage.reranker import Scores, make_reranker
from storage.session import Database, make_engine
from storage.vectors.memory import MemoryStore
from tests.support.cross_encoder import make_cross_encoder

TOP = 4
PASSAGE = ItemRow("passage", "Посылки хранятся на складе семь дней.", [], [], "ru")
QUESTIONS = ("parcel", "my order and the payment", "Где мой заказ?", "word " * 300)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cross_encoder(tmp_path_factory.mktemp("models") / "tiny")


class World:
    """The demo base, searched with and without the model."""

    def __init__(self, folder: Path, model: Path) -> None:
        url = f"sqlite:///{folder}/kb.sqlite3"
        migrate.upgrade(url)
        self.database, self.store = Database(make_engine(url)), MemoryStore()
        headed = ItemRow("headed", "Parcels are kept for a week.", [], [], "en", heading="Storage")
        items = [*read_file(Path(ragline.demo.__path__[0]) / "demo.jsonl").items, headed, PASSAGE]
        knowledge.put_items(self.database, items, source="test")
        index.sync(self.database, self.store, "memory", make_embedder("minilm"), "minilm")
        settings = Settings.model_validate({"knowledge": {"reranker": str(model), "rerank_top": TOP}})
        reranking = make_reranking(settings)
        assert reranking is not None
        self.reranking: Reranking = reranking
        self.plain, self.reranked = self.searcher(None), self.searcher(reranking)

    def searcher(self, reranking: Reranking | None) -> KnowledgeSearcher:
        embedder = make_embedder("minilm")
        return KnowledgeSearcher(self.database, lambda _: self.store, embedder, "minilm", reranking=reranking)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("kb"), model)
    yield world
    world.database.close()


def own_scores(model: Path, question: str, texts: list[str]) -> list[float]:
    from sentence_transformers import CrossEncoder

    return list(CrossEncoder(str(model), device="cpu").predict([(question, text) for text in texts]).tolist())


def test_the_first_share_their_probability_as_the_model_scores_them(world: World, model: Path) -> None:
    changed = 0
    for question in QUESTIONS:
        before, after = world.plain.search(question), world.reranked.search(question)
        read = before.ranked[:TOP]
        scores = own_scores(model, question, [text_of(candidate) for candidate, _ in read])
        weights = {c.id: p * r for (c, p), r in zip(read, scores, strict=True)}
        mass = min(1.0, sum(p for _, p in read))
        shares = {item: mass * weight / sum(weights.values()) for item, weight in weights.items()}
        expected = {item: min(share, before.confidence) for item, share in shares.items()}
        assert {c.id: p for c, p in after.ranked[:TOP]} == pytest.approx(expected, abs=1e-5)
        order = [c.id for c, _ in after.ranked]
        assert order[:TOP] == sorted(shares, key=lambda item: -shares[item])
        assert order[TOP:] == [c.id for c, _ in before.ranked[TOP:]]
        assert all(p <= after.ranked[TOP - 1][1] for _, p in after.ranked[TOP:])
        assert after.confidence == after.ranked[0][1] <= before.confidence
        changed += order[0] != before.ranked[0][0].id
    assert changed, "the model has a say in what comes first"


def test_the_thresholds_are_those_of_what_is_first_then(world: World) -> None:
    class Passages:
        """Finds that passages answer, and nothing else."""

        def scores(self, question: str, texts: Sequence[str]) -> Scores:
            return np.array([1.0 if text == PASSAGE.answer else 1e-9 for text in texts])

    searcher, question = world.searcher(Reranking(Passages())), "самовывоз со склада"
    before, after = world.plain.search(question), searcher.search(question)
    assert not before.ranked[0][0].passage
    assert after.ranked[0][0].id == PASSAGE.id
    points, grounded = calibration().operating_points, calibration().grounded
    assert before.thresholds == Thresholds.of(points["cyrillic"], grounded, 0.02)
    assert after.thresholds == Thresholds.of(points["cyrillic_passage"], grounded, 0.02) != before.thresholds


def test_what_is_lifted_is_not_sent_where_the_first_would_not_have_been(world: World) -> None:
    class Items:
        def scores(self, question: str, texts: Sequence[str]) -> Scores:
            passages = (PASSAGE.answer, "Storage\nParcels are kept for a week.")
            return np.array([0.0 if text in passages else 1.0 for text in texts])

    question = "сколько хранится посылка"
    before, after = world.plain.search(question), world.searcher(Reranking(Items())).search(question)
    assert before.ranked[0][0].passage
    assert not after.ranked[0][0].passage
    assert after.confidence <= before.confidence
    assert after.thresholds.direct >= before.thresholds.direct


@pytest.mark.parametrize("scores", [[0.0] * 4, [np.nan, 1, 1, 1]])
def test_scores_that_say_nothing_change_nothing(world: World, scores: list[float]) -> None:
    class Broken:
        def scores(self, question: str, texts: Sequence[str]) -> Scores:
            return np.array(scores[: len(texts)])

    before = world.plain.search("parcel").ranked
    assert Reranking(Broken(), TOP)("parcel", before) == before


def test_candidates_without_any_probability_keep_their_order(world: World) -> None:
    found = [candidate for candidate, _ in world.plain.search("parcel").ranked[:TOP]]
    before = tuple(zip(found, (0.9, 0.2, 0.0, 0.0), strict=True))
    after = Reranking(world.reranking.model, TOP)("parcel", before)
    assert [c.id for c, _ in after[2:]] == [c.id for c in found[2:]]


def test_the_very_words_of_an_item_stay_first(world: World) -> None:
    question = "Which payment methods do you accept?"
    found = world.reranked.search(question)
    assert found == world.plain.search(question)
    assert found.ranked[0][0].id == "demo-en-payment-methods"


def test_it_reads_phrasing_and_answer_or_heading_and_text(world: World) -> None:
    texts = {c.id: text_of(c) for c, _ in world.plain.search("how long are parcels kept in storage").ranked}
    assert texts["headed"] == "Storage\nParcels are kept for a week."
    phrasing, answer = texts["demo-en-delivery-time"].split("\n", 1)
    item = next(item for item in knowledge.list_items(world.database) if item.id == "demo-en-delivery-time")
    assert phrasing in item.questions
    assert answer == item.answer


def test_questions_of_many_threads_are_scored_as_one_by_one(world: World) -> None:
    asked = [(f"question {i}", [f"answer {i} {'long ' * (i % 5)}", "another"]) for i in range(24)]
    alone = [world.reranking.model.scores(*one).tolist() for one in asked]
    with ThreadPoolExecutor(8) as pool:
        together = [found.tolist() for found in pool.map(lambda one: world.reranking.model.scores(*one), asked)]
    assert together == alone


def test_a_model_that_will_not_do_says_what_to_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two, broken = make_cross_encoder(tmp_path / "two", outputs=2), make_cross_encoder(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    for name, says in (
        (tmp_path / "none", "there is no folder"),
        (tmp_path, "holds no sentence-transformers model"),
        (model_folder(), r"is no cross-encoder \(BertModel\).* name a sentence-transformers CrossEncoder"),
        (two, "has 2 outputs; name a"),
        (broken, "cannot be loaded .*; name a"),
    ):
        with pytest.raises(ConfigurationError, match=f"^knowledge.reranker: .*{says}"):
            make_reranker(str(name))
    monkeypatch.setenv("RAGLINE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RAGLINE__KNOWLEDGE__RERANKER", str(two))
    get_settings.cache_clear()
    done = CliRunner().invoke(doctor)
    assert done.exit_code == 1
    assert "has 2 outputs" in done.stdout


def test_a_worker_loads_nothing_for_it_by_default_and_does_not_start_on_a_wrong_one(tmp_path: Path) -> None:
    script = (
        "import os, sys, types; from ragline.settings import get_settings; from workers import runtime;"
        "from workers.app import app; from workers.signals import _warm_up; app.amqp.queues.select(['cpu']);"
        "worker = types.SimpleNamespace(app=app); _warm_up(worker);"
        "print(sorted({'torch', 'sentence_transformers', 'transformers'} & set(sys.modules)));"
        "os.environ['RAGLINE__KNOWLEDGE__RERANKER'] = './none'; get_settings.cache_clear(); runtime._runtime = None;"
        "_warm_up(worker)"
    )
    url = f"sqlite:///{tmp_path}/kb.sqlite3"
    migrate.upgrade(url)
    environment = os.environ | {
        "RAGLINE_DATA": str(tmp_path),
        "DATABASE_URL": url,
        "RAGLINE__KNOWLEDGE__STORE": "faiss",
    }
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "knowledge.reranker: there is no folder ./none"


def test_a_searcher_has_the_model_the_settings_name_before_its_first_question(model: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/kb.sqlite3"
    migrate.upgrade(url)
    database = Database(make_engine(url))
    settings = Settings.model_validate({"data": tmp_path, "knowledge": {"reranker": str(model), "store": "faiss"}})
    searcher = make_searcher(settings, database)
    searcher.warm_up()
    assert searcher._reranking is not None
    assert searcher._reranking.model is make_reranker(str(model)), "one a process"
    database.close()
