"""What the check without a model tells of answers: examples of our own, dev to choose its floors by, test to report."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.figures import Figures, figures
from pipeline.grounding import Source, Verdict, check, read_reply
from pipeline.prompts import load

DATA = Path(__file__).with_name("data") / "grounding.jsonl"
EXAMPLES = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
RULES = load("base_system_prompt").render(language="ru")


def judged(example: dict[str, Any]) -> Verdict:
    sources = [Source("", passage) for passage in example["passages"]]
    reply = read_reply(example["answer"], sources)
    return check(reply, sources, question=example["question"], instructions=RULES)


@pytest.mark.parametrize("split", ["dev", "test"])
def test_supported_answers_pass_and_others_do_not(split: str) -> None:
    """A negation of what a passage says is beyond this check: that takes a model (``answer.ground_check: llm``)."""
    examples = [one for one in EXAMPLES if one["split"] == split]
    refused = {one["id"]: judged(one) for one in examples if one["supported"] and judged(one).reason}
    missed = Counter(one["kind"] for one in examples if not one["supported"] and judged(one).reason is None)
    assert len(examples) == 34
    assert refused == {}
    assert missed == {"negation": 2}


def test_the_examples_are_of_both_languages_and_of_others() -> None:
    assert len({one["id"] for one in EXAMPLES}) == len(EXAMPLES) >= 60
    assert {one["language"] for one in EXAMPLES} == {"ru", "en", "uk", "es"}
    dev, test = ({one["passages"][0] for one in EXAMPLES if one["split"] == split} for split in ("dev", "test"))
    assert not dev & test, "no passage is in both"


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("5 000 ₽", "от 5000 рублей"),
        ("5\u00a0000 ₽", "5.000 руб."),
        ("$1,000.50", "1000.5 dollars"),
        ("12 мая 2026", "12.05.2026"),
        ("12.05", "12 мая"),
        ("May 12", "12 мая"),
        ("6 p.m.", "с 9 до 18"),
        ("с 10:00 до 20:00", "с 10 до 20"),
        ("двух дней", "2 дня"),
        ("twenty five percent", "25%"),
        ("2 тыс. рублей", "2000 руб."),
        ("две тысячи", "2000"),
        ("www.shop.example/returns", "https://shop.example/returns/"),
        ("8 (800) 555-35-35", "+7 800 5553535"),
        ("５ дней", "five days"),
        ("a dollar account, one of them", "nothing"),
        ("1. one thing\n2. another", "nothing"),
        ("2 года", "24 месяца"),
        ("полгода", "6 months"),
        ("полтора часа", "90 minutes"),
        ("шесть с половиной часов", "6,5 ч"),
        ("seven days", "Storage is free for a week"),
        ("за 24 часа", "за сутки до заезда"),
        ("3–5 рабочих дней", "от трёх до пяти рабочих дней"),
        ("1200 граммов, 0,75 м", "вес 1,2 кг, шнур 75 см"),
        ("790 руб./мес.", "790 ₽ в месяц"),
        ("on Wednesday", "Monday to Friday"),
        ("в субботу", "ежедневно"),
        ("2 дня", "2 рабочих дня, 2 часа"),
        ("до 18 часов", "до 18:00"),
        ("полторы тысячи рублей", "1500 ₽"),
        ("a.docx", "in A.DOCX or b.pdf"),
        ("т.е. дней.Доставка e.g. so", "nothing"),
    ],
)
def test_two_ways_to_write_a_figure_are_one(said: str, known: str) -> None:
    assert all(Figures.of([known]).has(one) for one in figures(said)), figures(said)


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("10%", "10 дней"),
        ("10 рублей", "10 дней, 5 рублей"),
        ("$500", "500 рублей"),
        ("цена 1 ₽", "цена 390 рублей"),
        ("12 июня", "12 мая"),
        ("три дня", "2 дня"),
        ("evil[.]com", "shop.com"),
        ("evil dot com", "shop.com"),
        ("hxxps://evil.example", "shop.example"),
        ("shop.example/win", "shop.example"),
        ("оплата.рф", "shop.example"),
        ("@evil_bot", "shop.example"),
        ("a@evil.example", "a@shop.example"),
        ("+44 20 7946 0958", "+44 20 7946 0000"),
        ("9:30", "9:00"),
        ("costs a dollar.", "costs 5 dollars"),
        ("один рубль", "390 рублей"),
        ("zero percent", "10%"),
        ("lаmp.example", "lamp.example"),
        ("Evil.Com", "shop.com"),
        ("5 недель", "от трёх до пяти рабочих дней"),
        ("24 hours", "5 working days, at the door"),
        ("30 минут", "до 30 часов"),
        ("10 км", "дальность 10 м"),
        ("4,6 кг", "вес 4,6 г"),
        ("60 MB", "60 ГБ"),
        ("двое суток", "за сутки, заезд с 14:00"),
        ("350 ₽ в год", "350 ₽ в месяц"),
        ("тысячи долларов", "от 1 000 рублей"),
        ("Saturday", "Monday to Friday"),
        ("chek.pdf", "check.pdf"),
        ("чек.pdf", "чеки"),
    ],
)
def test_another_figure_is_another(said: str, known: str) -> None:
    assert any(not Figures.of([known]).has(one) for one in figures(said)), figures(said)


def test_what_the_customer_named_may_be_repeated_but_no_amount_and_no_address() -> None:
    sources = [Source("", "The courier calls an hour before. Delivery costs 390 roubles.")]
    asked = "Order 77123 for 5000 roubles, call +44 20 7946 0958 or write to me@mail.example, is it coming?"

    def reason(said: str) -> str | None:
        return check(read_reply(said, sources), sources, question=asked).reason

    assert reason("The courier with order 77123 calls an hour before [1].") is None
    assert reason("The courier with your 5000 roubles order calls an hour before [1].") == "figures"
    assert reason("The courier calls +44 20 7946 0958 an hour before [1].") == "figures"
    assert reason("The courier writes to me@mail.example an hour before [1].") == "figures"


def test_a_file_that_the_customer_sent_may_be_named_and_an_address_that_looks_like_one_may_not() -> None:
    sources = [Source("", "Send a photo of the receipt to the chat and we return the money.")]

    def reason(name: str) -> str | None:
        reply = read_reply(f"We have got {name}, now send a photo of the receipt [1].", sources)
        return check(reply, sources, question=f"I sent {name}, is it enough for a return?").reason

    assert [reason(name) for name in ("a.docx", "chek.pdf", "договор 12.xlsx", "IMG_2034.HEIC", "a.mp4")] == [None] * 5
    strange = ("win.zip", "clip.mov", "get.app", "readme.md", "run.sh", "https://a.docx", "a.docx/login", "www.a.pdf")
    assert [reason(name) for name in strange] == ["figures"] * len(strange)


def test_another_language_than_the_passages_needs_another_language_of_the_customer() -> None:
    sources = [Source("", "Delivery within the city takes one to two days, the courier calls before.")]
    french = read_reply("La livraison en ville prend un à deux jours, le livreur appelle avant [1].", sources)
    assert check(french, sources, question="Combien de temps prend la livraison dans la ville ?").reason is None
    assert check(french, sources, question="How long does delivery take, and answer in French.").reason == "words"
