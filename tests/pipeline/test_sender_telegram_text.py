"""Markdown to text and entities, and the cutting of long texts."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.senders.telegram_text import LIMIT, convert, split


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def marked(markdown: str) -> tuple[str, list[tuple[str, str]]]:
    """The text, and what each entity covers: read back from the UTF-16 offsets as a client does."""
    (body,) = split(markdown)
    return body["text"], [(entity["type"], covered(body["text"], entity)) for entity in body["entities"]]


def covered(text: str, entity: dict[str, Any]) -> str:
    wide = text.encode("utf-16-le")
    return wide[2 * entity["offset"] : 2 * (entity["offset"] + entity["length"])].decode("utf-16-le")


@pytest.mark.parametrize(
    "text",
    [
        "2*3*4 = 24",
        "2 * 3 * 4",
        "snake_case_name and __dunder",
        "100 руб.* и 200 руб.*",
        "*условия на сайте",
        "5 < 6 & 7 > 6, <b>не тег</b>",
        "1. первое\n2. второе\n7. седьмое",
        "1) a\n2) b",
        "2024. Итоги",
        "[заметка]: важно\nещё",
        "[1] сноска",
        "строка\nещё строка\n\nабзац",
        "a~b ~c~ d",
        "#без пробела нет заголовка",
        "C:\\Users\\anna",
        "https://shop.example/a_b_c?x=1&y=2*3",
        "+7 (999) 123-45-67",
        "e-mail: a_b@c.example",
        "👨‍👩‍👧 семья",
        "$5 and $10",
    ],
)
def test_texts_written_without_markdown_survive(text: str) -> None:
    assert marked(text) == (text, [])


@pytest.mark.parametrize(
    ("markdown", "text", "marks"),
    [
        ("**жирно** и *курсив*", "жирно и курсив", [("bold", "жирно"), ("italic", "курсив")]),
        ("😀 **b** 👍🏽 _i_", "😀 b 👍🏽 i", [("bold", "b"), ("italic", "i")]),
        ("***оба***", "оба", [("bold", "оба"), ("italic", "оба")]),
        ("~~old~~ new", "old new", [("strikethrough", "old")]),
        ("`a*b*` ok", "a*b* ok", [("code", "a*b*")]),
        ("# Title\nbody", "Title\nbody", [("bold", "Title")]),
        ("## **Title**", "Title", [("bold", "Title")]),
        ("- a\n- b\n  - c\n\nend", "• a\n• b\n  • c\n\nend", []),
        ("> quote\n> more\n\nend", "quote\nmore\n\nend", [("blockquote", "quote\nmore")]),
        ("> a\n>> b", "a\nb", [("blockquote", "a\nb")]),
        ("```py\nx = 1\n\ny\n```\nend", "x = 1\n\ny\nend", [("pre", "x = 1\n\ny")]),
        ("[тут](https://a.example/?q=1)", "тут", [("text_link", "тут")]),
        ("[почта](mailto:a@b.example)", "почта (mailto:a@b.example)", []),
        ("[x](javascript:alert)", "[x](javascript:alert)", []),
        ("![схема](https://a.example/i.png)", "схема", [("text_link", "схема")]),
        ("|a|b|\n|-|-|\n|1|2|", "a | b\n1 | 2", [("bold", "a"), ("bold", "b")]),
        ("**b `c` b**", "b c b", [("bold", "b "), ("code", "c"), ("bold", " b")]),
        ("a\n\n---\n\nb", "a\n\n———\n\nb", []),
        (r"2\*3 \_x\_", "2*3 _x_", []),
        ("  **x**  ", "x", [("bold", "x")]),
        ("a\x00b\ud800", "a\ufffdb\ufffd", []),
        ("**", "**", []),
        ("```\n```", "```\n```", []),
    ],
)
def test_markdown(markdown: str, text: str, marks: list[tuple[str, str]]) -> None:
    assert marked(markdown) == (text, marks)


def test_links_and_languages_are_told() -> None:
    (body,) = split("[a](https://a.example) ```x``` \n```py\n1\n```")
    assert [entity.get("url") or entity.get("language") for entity in body["entities"]] == [
        "https://a.example",
        None,
        "py",
    ]


@pytest.mark.parametrize("blank", ["", "  \n ", "\u2003"])
def test_a_blank_text_is_no_message(blank: str) -> None:
    assert split(blank) == []


def test_it_is_cut_between_paragraphs_before_lines_before_sentences_before_words() -> None:
    sentence = "Это предложение из нескольких слов. "
    paragraph = (sentence * 20).strip()
    by_paragraph = split("\n\n".join([paragraph] * 10))
    assert {part["text"][-1] for part in by_paragraph} == {"."}
    assert all(part["text"].startswith("Это") for part in by_paragraph)
    assert all(len(part["text"]) % (len(paragraph) + 2) == len(paragraph) for part in by_paragraph)
    assert {part["text"][-1] for part in split(sentence * 300)} == {"."}
    assert all(part["text"].endswith("слово") for part in split("слово " * 2000))
    assert [len(part["text"]) for part in split("щ" * 9000)] == [4096, 4096, 808]


def test_a_mark_that_crosses_a_cut_goes_on() -> None:
    parts = split(f"[{'слово ' * 1500}](https://a.example)")
    assert len(parts) == 3
    for part in parts:
        assert [(entity["type"], entity["url"]) for entity in part["entities"]] == [("text_link", "https://a.example")]
        assert covered(part["text"], part["entities"][0]).strip() == part["text"]


@pytest.mark.parametrize(
    "character",
    ["👨‍👩‍👧‍👦", "🇷🇺", "👍🏽", "e\u0301", "🏴\U000e0067\U000e0062\U000e007f", "\u1100\u1161\u11a8", "1\ufe0f\u20e3"],
)
def test_a_character_is_never_cut(character: str) -> None:
    for lead in range(6):
        for part in split("x" * lead + character * 3000):
            assert part["text"].removeprefix("x" * lead).replace(character, "") == ""


def test_a_character_longer_than_a_message_is_cut_all_the_same() -> None:
    parts = split("e" + "\u0301" * 10_000)
    assert [units(part["text"]) for part in parts] == [4096, 4096, 1809]


ALPHABET = st.sampled_from(
    [*"ab яё1.,!?*_`~#>[]()|-+\\<&;:", "\n", "\n\n", " ", "😀", "👨‍👩‍👧", "🇷🇺", "e\u0301", "\u200b"]
)
TEXTS = st.lists(st.tuples(ALPHABET, st.integers(1, 40)), max_size=30).map(
    lambda runs: "".join(character * count for character, count in runs)
)
LONG = st.tuples(TEXTS, st.integers(1, 40)).map(lambda pair: pair[0] * pair[1])


def without_space(text: str) -> str:
    return "".join(text.split())


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(TEXTS | LONG | st.text(max_size=300))
def test_parts_hold_everything_and_fit(markdown: str) -> None:
    whole, _ = convert(markdown)
    parts = split(markdown)
    assert without_space("".join(part["text"] for part in parts)) == without_space(whole)
    for part in parts:
        assert 0 < units(part["text"]) <= LIMIT
        assert part["text"] == part["text"].strip()
        for entity in part["entities"]:
            assert entity["offset"] >= 0
            assert entity["length"] > 0
            assert entity["offset"] + entity["length"] <= units(part["text"])
            assert covered(part["text"], entity)


PROSE = TEXTS.map(lambda text: text.replace("(", ""))  # links hide their address where they work


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(PROSE)
def test_no_letter_or_number_is_lost(markdown: str) -> None:
    def letters(text: str) -> list[str]:
        return sorted(char for char in text if unicodedata.category(char)[0] in "LN")

    shown, marks = convert(markdown)
    languages = "".join(value for mark in marks for _, value in mark.extra)
    assert letters(shown + languages) == letters(markdown)
