"""Wrong keyboard layouts and Latin letters are read as they were meant; plain English and Russian are left alone."""

import pytest

from storage.slips import Slips, on_the_other_layout

RUSSIAN = [
    "Как вернуть товар в магазин и получить деньги обратно?",
    "Сколько стоит доставка и когда привезут заказ курьером",
    "Можно ли оплатить покупку картой при получении или онлайн",
]
ENGLISH = ["How do I return an item to the store?", "Where is my order and when will it be delivered?"]


@pytest.mark.parametrize(
    ("texts", "typed", "meant"),
    [
        (RUSSIAN, "rfr dthyenm ltymub", "как вернуть деньги"),
        (RUSSIAN, "kak vernut' dengi", "как вернуть денги"),
        (RUSSIAN, "skolko stoit dostavka", "сколко стоит доставка"),
        (RUSSIAN, "mo4no li oplatit", "мочно ли оплатит"),
        (RUSSIAN, "how do I get my money back", "how do I get my money back"),
        (RUSSIAN, "iPhone 15 Pro Max", "iPhone 15 Pro Max"),
        (RUSSIAN, "где мой заказ", "где мой заказ"),
        (ENGLISH, "цруку шы ьн щквук", "where is my order"),
        (ENGLISH, "where is my order", "where is my order"),
        ([], "rfr dthyenm ltymub", "rfr dthyenm ltymub"),
    ],
)
def test_what_was_meant(texts: list[str], typed: str, meant: str) -> None:
    assert Slips(texts).read(typed) == meant


def test_the_other_layout_goes_both_ways() -> None:
    assert on_the_other_layout("jgthfnjh") == "оператор"
    assert on_the_other_layout("руддщ") == "hello"
