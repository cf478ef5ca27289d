"""A head learns a base from its own phrasings, knows what it does not know, and is taken up by running searchers."""

import time
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from pipeline.encoded import Encoded
from pipeline.head import Head
from pipeline.search import FRESH, KnowledgeSearcher
from pipeline.training import PHRASINGS, bring_up_to_date, choose, elsewhere
from storage import heads, index, knowledge, migrate
from storage.embedder import make_embedder
from storage.embedder.base import Vectors
from storage.knowledge_files import ItemRow, read_file
from storage.session import Database, make_engine
from storage.vectors.memory import MemoryStore

TOPICS = {
    "refund": ["get my money back", "a refund for my order", "return the payment to my card", "be reimbursed"],
    "delivery": ["have my parcel delivered", "get the delivery to my door", "receive my package", "ship the order"],
    "password": [
        "reset my password",
        "change the login password",
        "recover my forgotten password",
        "set a new password",
    ],
    "invoice": ["get an invoice", "download the bill as a PDF", "receive a tax invoice", "print my invoice"],
    "warranty": ["use the warranty", "claim the guarantee", "get a warranty repair", "have it fixed under warranty"],
    "coupon": ["apply a coupon", "use my promo code", "enter the discount voucher", "redeem a coupon code"],
    "address": ["change my address", "update the shipping address", "correct my street", "edit the delivery address"],
}
FORMS = ("how can I {}", "I want to {}", "please help me {}")


def base_rows() -> list[ItemRow]:
    return [
        ItemRow(name, f"All about {name}.", [form.format(what) for what in own for form in FORMS], [], "en")
        for name, own in TOPICS.items()
    ]


class World:
    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder}/kb.sqlite3"
        migrate.upgrade(url)
        self.database, self.store, self.embedder = Database(make_engine(url)), MemoryStore(), make_embedder("minilm")
        self.put(*base_rows())

    def put(self, *rows: ItemRow) -> None:
        knowledge.put_items(self.database, rows, source="test")
        index.sync(self.database, self.store, "memory", self.embedder, "minilm")

    def searcher(self) -> KnowledgeSearcher:
        return KnowledgeSearcher(self.database, lambda _: self.store, self.embedder, "minilm")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("kb"))
    yield world
    world.database.close()


def test_a_running_searcher_takes_up_a_new_head_and_tells_known_from_unknown(world: World) -> None:
    searcher = world.searcher()
    before = searcher.search("could you refund me")
    head = bring_up_to_date(world.database, world.embedder)
    assert head is not None
    assert set(head.labels) == set(TOPICS)
    assert bring_up_to_date(world.database, world.embedder) is None, "the same base is learned once"
    time.sleep(FRESH + 0.1)
    after = searcher.search("could you refund me")
    assert before.confidence != after.confidence
    for question, item in (
        ("could you refund me", "refund"),
        ("forgot password, what now", "password"),
        ("my promo code", "coupon"),
    ):
        assert searcher.search(question).ranked[0][0].id == item
    inside = min(searcher.search(f"could you help me {what}").confidence for own in TOPICS.values() for what in own)
    outside = max(
        searcher.search(question).confidence
        for question in ("what is the tallest mountain", "who won the match", "recipe for borscht", "is it raining")
    )
    assert inside > outside


def test_a_small_base_is_not_sure_of_what_is_about_anything_else(tmp_path: Path) -> None:
    """Learned from the demonstration base, whose items are near to each other: one kept out teaches little of this."""
    world = World(tmp_path)
    world.put(*read_file(files("ragline.demo") / "demo.jsonl").items)
    assert bring_up_to_date(world.database, world.embedder) is not None
    searcher = world.searcher()
    foreign = ["What is the capital of Australia?", "Столица Австралии?", "Who discovered penicillin?", "Как похудеть?"]
    foreign += [
        "How much does an elephant weigh?",
        "Сколько планет в Солнечной системе?",
        "what is 2+2",
        "Кто такой Пушкин?",
    ]
    assert not set(foreign) & set(elsewhere())
    for question in foreign:
        found = searcher.search(question)
        assert found.confidence < min(0.7, found.thresholds.direct), question
    for question in ("Сколько времени занимает доставка?", "what are your opening hours"):
        found = searcher.search(question)
        assert found.confidence >= found.thresholds.direct, question
    world.database.close()


def test_an_item_newer_than_the_head_is_found_and_one_that_is_gone_is_not(world: World) -> None:
    bring_up_to_date(world.database, world.embedder)
    world.put(ItemRow("stork", "On the roof.", ["where does the stork live"], [], "en"))
    knowledge.remove_items(world.database, ["warranty"])
    index.sync(world.database, world.store, "memory", world.embedder, "minilm")
    searcher = world.searcher()
    found = searcher.search("Where does the stork live?")
    assert found.ranked[0][0].id == "stork"
    assert found.confidence > 0.9
    claimed = searcher.search("how can I claim the guarantee")
    assert all(candidate.id != "warranty" for candidate, _ in claimed.ranked)
    knowledge.remove_items(world.database, ["stork"])
    world.put(*base_rows())


def test_a_head_is_stored_without_loss_and_what_is_no_head_is_refused(world: World) -> None:
    heads.put(world.database, "", world.embedder.name, b"")  # so that one is due
    head = bring_up_to_date(world.database, world.embedder)
    assert head is not None
    again = Head.from_bytes(head.to_bytes())
    layers = np.ones(head.weights.shape[0], dtype=np.float32) / 20
    text, hits = "how can I use my promo code", [(0, 0.9), (1, 0.5)]
    first, second = (one.evidence(text, one.read(layers), hits) for one in (head, again))
    assert np.allclose(head.fusion.logits(first), again.fusion.logits(second), atol=0.05)
    assert again.labels == head.labels
    for body in (b"", b"no archive", head.to_bytes()[:500]):
        with pytest.raises(ValueError, match="cannot be read"):
            Head.from_bytes(body)


def test_a_damaged_head_leaves_the_one_in_use(world: World) -> None:
    heads.put(world.database, "", world.embedder.name, b"")
    bring_up_to_date(world.database, world.embedder)
    searcher = world.searcher()
    before = searcher.search("I want to be paid back")
    heads.put(world.database, "later", world.embedder.name, b"damaged")
    time.sleep(FRESH + 0.1)
    assert searcher.search("I want to be paid back") == before


def test_a_training_after_an_edit_encodes_what_is_new_only() -> None:
    class Counting:
        name, dimensions = "counting", 3

        def __init__(self) -> None:
            self.asked: list[str] = []

        def encode_queries(self, texts: Sequence[str]) -> Vectors:
            self.asked += texts
            return np.array([[len(text), text.count("a"), 1] for text in texts], dtype=np.float32).reshape(-1, 3)

        encode_passages = encode_queries

    encoded, model = Encoded(), Counting()
    first, _ = encoded.encode(model, ["a", "bb", "a"])
    assert first.tolist() == [[1, 1, 1], [2, 0, 1], [1, 1, 1]]
    vectors, layers = encoded.encode(model, ["ccc", "a"])
    assert vectors.tolist() == layers.tolist() == [[3, 0, 1], [1, 1, 1]]
    assert encoded.encode(model, ["a"])[0].tolist() == [[1, 1, 1]]
    encoded.encode(model, ["bb"])
    assert model.asked == ["a", "bb", "ccc", "bb"], "what is no longer in the base is not kept"
    model.name = "another"
    encoded.encode(model, ["bb"])
    assert model.asked[-2:] == ["bb", "bb"], "nor what another model has encoded"


def test_what_is_learned_from() -> None:
    rich = [(f"i{n}", f"phrase {n} {k}") for n in range(6) for k in range(PHRASINGS)]
    poor = [("poor", "one"), ("poor", "two")]
    assert {item for item, _ in choose(rich + poor)} == {f"i{n}" for n in range(6)}
    assert choose(rich[: 4 * PHRASINGS] + poor) == []
