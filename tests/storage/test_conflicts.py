"""What repeats and what contradicts, and what only looks so."""

from datetime import UTC, datetime

import pytest

from storage.conflicts import Near, Text, alike, find
from storage.models import KnowledgeItem


def text(item_id: str, question: str, answer: str | None = "Yes.", *, passage: bool = False, **item: object) -> Text:
    return Text(f"{item_id}/{question}", question, passage, KnowledgeItem(id=item_id, answer=answer, **item))


def kinds(*texts: Text) -> list[tuple[str, str, tuple[str, str]]]:
    return [(one.kind, one.by, one.items) for one in find(texts)]


@pytest.mark.parametrize(
    ("first", "second", "by"),
    [
        ("Сколько идёт доставка?", "сколько идет доставка", "exact"),
        ("How long does delivery to Tver take?", "How long does the delivery to Tver take?", "words"),
        (
            "Можно ли вернуть открытый товар обратно в магазин",
            "Можно ли вернуть открытые товары обратно в магазин",
            "words",
        ),
        ("how do i reset my forgotten password", "how do i reset my forgoten password", "words"),
    ],
)
def test_the_same_question(first: str, second: str, by: str) -> None:
    assert kinds(text("a", first, "Two days."), text("b", second, "Five days.")) == [("contradiction", by, ("a", "b"))]
    assert kinds(text("a", first, "Two days."), text("b", second, "two days")) == [("duplicate", by, ("a", "b"))]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("How do I set up the iPhone 12 Pro from the shop?", "How do I set up the iPhone 13 Pro from the shop?"),
        ("Что будет если вернуть товар в магазин вовремя", "Что будет если не вернуть товар в магазин вовремя"),
        ("How long does delivery take?", "What does delivery cost?"),
    ],
)
def test_another_question(first: str, second: str) -> None:
    assert kinds(text("a", first, "One."), text("b", second, "Two.")) == []


@pytest.mark.parametrize(
    ("first", "second", "conflict"),
    [
        ({"channels": ["telegram"]}, {"channels": ["widget"]}, False),
        ({"channels": ["telegram"]}, {}, True),
        ({"languages": ["ru"]}, {"languages": ["en"]}, False),
        ({"locale": "ru"}, {"locale": "en"}, False),
        ({"valid_until": datetime(2027, 1, 1, tzinfo=UTC)}, {"valid_from": datetime(2027, 1, 1, tzinfo=UTC)}, False),
        ({"valid_until": datetime(2027, 1, 2, tzinfo=UTC)}, {"valid_from": datetime(2027, 1, 1, tzinfo=UTC)}, True),
    ],
)
def test_what_no_customer_sees_together_is_no_conflict(
    first: dict[str, object], second: dict[str, object], conflict: bool
) -> None:
    found = kinds(text("a", "Same?", "One.", **first), text("b", "Same?", "Two.", **second))
    assert bool(found) is conflict


def test_phrasings_of_one_item_are_none_and_many_items_are_named_once_each() -> None:
    assert kinds(text("a", "Same?"), text("a", "same")) == []
    found = kinds(*(text(name, "Same?", name) for name in "abcd"))
    assert [items for _, _, items in found] == [("a", "b"), ("a", "c"), ("a", "d")]


def test_passages_with_other_numbers() -> None:
    rule = "An item that was not used can be returned within {} days of the day of delivery."
    first = text("a", rule.format(14), rule.format(14), passage=True, document_id="x")
    second = text("b", rule.format(30), rule.format(30), passage=True, document_id="y")
    assert kinds(first, second) == [("contradiction", "words", ("a", "b"))]
    assert kinds(first, second._replace(item=KnowledgeItem(id="b", document_id="x"))) == [], "a table, perhaps"
    assert kinds(first, text("b", rule.format(14), passage=True)) == [("duplicate", "exact", ("a", "b"))]
    assert kinds(first, text("q", rule.format(14), "No.")) == [], "a question is not a passage"


def test_only_what_was_edited_is_reported() -> None:
    texts = [text("a", "One?", "1"), text("b", "One?", "2"), text("c", "Two?", "1"), text("d", "Two?", "2")]
    assert {one.items for one in find(texts)} == {("a", "b"), ("c", "d")}
    assert {one.items for one in find(texts, only=["d"])} == {("c", "d")}


def test_what_the_index_finds_near() -> None:
    texts = [text("a", "When will it arrive?", "2"), text("b", "What is the delivery time?", "5")]
    texts += [text("c", "Где мой заказ?", "1"), text("d", "Какая гарантия?", "2")]
    asked: list[int] = []

    def neighbours(rows: object) -> list[Near]:
        asked.extend(rows)  # type: ignore[call-overload]
        return [Near(0, 1, 0.95), Near(2, 3, 0.99)]

    (found,) = find(texts, neighbours=neighbours)
    assert (found.kind, found.by, found.score, found.items) == ("contradiction", "vectors", 0.95, ("a", "b"))
    assert asked == [0, 1, 2, 3]


def test_alike_misses_no_pair() -> None:
    words = ["aa", "bb", "cc", "dd", "ee", "ff"]
    sets = {n: frozenset(word for i, word in enumerate(words) if n >> i & 1) for n in range(1, 64)}
    expected = {(a, b) for a in sets for b in sets if a < b and len(sets[a] & sets[b]) >= 0.6 * len(sets[a] | sets[b])}
    assert {tuple(sorted(near[:2])) for near in alike(sets, 0.6)} == expected
    assert {tuple(sorted(near[:2])) for near in alike(sets, 0.6, {5})} == {pair for pair in expected if 5 in pair}
