"""Search over a real base: right answers in both languages, honest confidence, fresh after a change."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import ragline.demo
from pipeline.search import FRESH, KnowledgeSearcher
from pipeline.steps.retrieve import Retrieval, retrieve
from storage import index, knowledge, migrate
from storage.embedder import make_embedder
from storage.knowledge_files import ItemRow, read_file
from storage.session import Database, make_engine
from storage.vectors.memory import MemoryStore


class Base:
    """The demo base, searchable."""

    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder}/kb.sqlite3"
        migrate.upgrade(url)
        self.database, self.store, self.embedder = Database(make_engine(url)), MemoryStore(), make_embedder("minilm")
        self.put(*read_file(Path(ragline.demo.__path__[0]) / "demo.jsonl").items)
        self.searcher = KnowledgeSearcher(self.database, lambda _: self.store, self.embedder, "minilm")

    def put(self, *rows: ItemRow) -> None:
        knowledge.put_items(self.database, rows, source="test")
        index.sync(self.database, self.store, "memory", self.embedder, "minilm")

    def ask(self, question: str) -> Retrieval:
        return retrieve(question, searcher=self.searcher, k=5)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    base = Base(tmp_path_factory.mktemp("kb"))
    yield base
    base.database.close()


@pytest.mark.parametrize(
    ("question", "item"),
    [
        ("How long does delivery take?", "demo-en-delivery-time"),
        ("how long does delivery take", "demo-en-delivery-time"),
        ("How do I return an item?", "demo-en-return"),
        ("Which payment methods do you accept?", "demo-en-payment-methods"),
        ("Сколько времени занимает доставка?", "demo-ru-delivery-time"),
        ("сколько времени занимает доставка", "demo-ru-delivery-time"),
        ("Как вернуть товар?", "demo-ru-return"),
        ("Какие способы оплаты вы принимаете?", "demo-ru-payment-methods"),
    ],
)
def test_what_the_base_holds_is_answered_directly(base: Base, question: str, item: str) -> None:
    found = base.ask(question)
    assert found.passages[0].id == item
    assert found.confidence >= found.direct


@pytest.mark.parametrize(
    "question",
    [
        "Какая столица Австралии?",
        "Кто выиграл вчера футбол?",
        "Посоветуй рецепт борща",
        "Who won the football game yesterday?",
        "What is the meaning of life?",
        "ывапролд",
        "???",
    ],
)
def test_what_it_does_not_hold_stays_below(base: Base, question: str) -> None:
    found = base.ask(question)
    assert found.confidence < found.direct


def test_a_slip_of_the_keyboard_still_finds_it(base: Base) -> None:
    assert base.ask("сколько времни занимает дотсавка").passages[0].id == "demo-ru-delivery-time"


def test_each_item_appears_once_with_its_nearest_phrasing(base: Base) -> None:
    passages = base.ask("delivery").passages
    assert len({passage.id for passage in passages}) == len(passages) == 5
    assert [p.score for p in passages] == sorted((p.score for p in passages), reverse=True)


def test_a_change_is_found_within_seconds(base: Base) -> None:
    base.ask("warm")
    base.put(ItemRow("new", "On the roof.", ["Where does the stork live?"], [], "en"))
    time.sleep(FRESH + 0.1)
    assert base.ask("Where does the stork live?").passages[0].answer == "On the roof."
    knowledge.remove_items(base.database, ["new"])
    index.sync(base.database, base.store, "memory", base.embedder, "minilm")
    time.sleep(FRESH + 0.1)
    assert all(passage.id != "new" for passage in base.ask("Where does the stork live?").passages)


def test_a_question_asked_again_is_not_encoded_again(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    encode = base.embedder.encode_queries
    monkeypatch.setattr(base.embedder, "encode_queries", lambda texts: encoded.extend(texts) or encode(texts))
    monkeypatch.setattr("pipeline.search.REMEMBERED", 2)
    first, again = base.ask("Is there a vegan menu?"), base.ask("Is there a vegan menu?")
    assert (encoded, first) == (["Is there a vegan menu?"], again)
    for other in ("one", "two", "Is there a vegan menu?"):
        base.ask(other)
    assert encoded == ["Is there a vegan menu?", "one", "two", "Is there a vegan menu?"], "only so many are kept"


def test_what_was_found_is_forgotten_when_the_base_changes(base: Base) -> None:
    asked = "Where does the stork live?"
    base.ask(asked)
    knowledge.put_items(base.database, [ItemRow("stork", "On the roof.", [asked], [], "en")], source="test")
    time.sleep(FRESH + 0.1)
    base.ask(asked)  # the index does not hold it yet, so this is not kept
    index.sync(base.database, base.store, "memory", base.embedder, "minilm")
    time.sleep(FRESH + 0.1)
    found = {candidate.id: candidate for candidate, _ in base.searcher.search(asked).ranked}
    assert found["stork"].dense > 0.99
    knowledge.remove_items(base.database, ["stork"])
    index.sync(base.database, base.store, "memory", base.embedder, "minilm")


def test_a_reindex_in_the_middle_is_not_noticed(base: Base) -> None:
    index.reindex(base.database, base.store, "memory", base.embedder)
    assert base.ask("How do I return an item?").passages[0].id == "demo-en-return"


def test_an_empty_base_knows_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/empty.sqlite3"
    migrate.upgrade(url)
    database = Database(make_engine(url))
    searcher = KnowledgeSearcher(database, lambda _: MemoryStore(), make_embedder("minilm"), "minilm")
    assert retrieve("anything", searcher=searcher, k=5) == Retrieval()
    database.close()
