"""What the recognisers find in made and in written messages, and what they leave."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipeline.masking import checksums
from pipeline.masking.recognise import hide, recognise
from tests.pipeline.masking.scoring import read_written, score
from tests.support.personal_data import messages

HERE = Path(__file__).parent


def test_nothing_is_missed_in_made_messages_and_little_else_is_taken() -> None:
    found = score(messages(7, 200))
    assert found.missed == []
    assert len(found.overmasked) <= 0.02 * found.kept


def test_messages_written_by_hand() -> None:
    found = score([*read_written(HERE / "written.txt"), *read_written(HERE / "harder.txt")])
    # "b." says too little
    assert [value for _, value, _ in found.missed] == ["7/7/77"]
    # a floor that reads as part of an address, and a bank's routing number
    assert sorted(value for _, value, _ in found.overmasked) == ["021000021", "9"]
    careless = score(read_written(HERE / "careless.txt"))
    assert careless.missed == []
    assert [value for _, value, _ in careless.overmasked] == ["77УУ123456"], "the papers of a car"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("заказ № 123456789012", "заказ № 123456789012"),
        ("ИНН 123456789012", "ИНН [INN]"),
        ("заказ 7707083893, ИНН 7707083893", "заказ 7707083893, ИНН [INN]"),
        ("заказы 89161234567, 89161234568 и тел 89161234569", "заказы 89161234567, 89161234568 и тел [PHONE]"),
        ("Заказ на номер 89161234567", "Заказ на номер [PHONE]"),
        ("заказ 4111 1111 1111 1111", "заказ [CARD]"),
        ("цена 89 161 234 567 руб", "цена 89 161 234 567 руб"),
        ("номер восемь девятьсот двадцать один, двести, сорок пять, ноль семь", "номер [PHONE]"),
        ("my card is four one double one " + "one " * 12, "my card is [CARD] "),
        ("заказ восемь девять один шесть один два три четыре пять шесть семь",) * 2,
        ("куплю двести пятьдесят штук по тысяче триста",) * 2,
        ("see you at shop.com",) * 2,
        ("Контакт: Мама, +7 916 123-45-67", "Контакт: [NAME], [PHONE]"),
        ("сделайте до 12.12.2026", "сделайте до 12.12.2026"),
        ("забыл пароль от кабинета", "забыл пароль от кабинета"),
        ("я живу в доме 5 лет", "я живу в доме 5 лет"),
        ("https://shop.example/catalog/item-12", "https://shop.example/catalog/item-12"),
    ],
)
def test_words_decide_what_a_number_is(text: str, hidden: str) -> None:
    assert hide(text) == hidden


def test_check_digits() -> None:
    assert checksums.inn("7707083893")
    assert checksums.inn("500100732259")
    assert checksums.snils("11223344595")
    assert checksums.luhn("4111111111111111")
    assert checksums.iban("DE89370400440532013000")
    assert not any(
        [
            checksums.inn("7707083894"), checksums.inn("500100732258"), checksums.snils("11223344596"),
            checksums.luhn("4111111111111112"), checksums.iban("DE89370400440532013001"), checksums.inn("77"),
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    "piece",
    [
        "1",
        "1 ",
        "a",
        "a.",
        "1-",
        "@a",
        "Москва, ",
        "12 Aa ",
        "ул. ",
        "(",
        "заказ № ",
        "8 9",
        "девять ",
        "a точка ",
        "a ",
        "1З",
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        began = time.process_time()
        recognise(text)
        return time.process_time() - began

    recognise("warm 8 916 123 45 67")
    assert seconds(20_000) < 40 * max(seconds(2_000), 0.005)


def test_an_identifier_across_two_windows_is_whole() -> None:
    for before in range(1700, 2010, 7):
        text = "x " * (before // 2) + "тел 8 (916) 123-45-67 " + "y " * 900
        [one] = recognise(text)
        assert text[one.start : one.end] == "8 (916) 123-45-67"
