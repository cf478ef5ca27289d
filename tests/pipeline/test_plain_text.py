"""Markdown as plain text, and where it is cut."""

from __future__ import annotations

import pytest

from pipeline.senders.plain_text import plain, split


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("2*3*4 = 24, snake_case_name and a * b", "2*3*4 = 24, snake_case_name and a * b"),
        ("**Доставка** занимает _два дня_", "Доставка занимает два дня"),
        ("See [our terms](https://shop.example/t?a=1).", "See our terms (https://shop.example/t?a=1)."),
        (
            "[`code`](https://a.example/x) ![logo](https://a.example/l.png)",
            "code (https://a.example/x) logo (https://a.example/l.png)",
        ),
        ("<https://a.example/x> [https://a.example](https://a.example)", "https://a.example/x https://a.example"),
        ("Write to <help@shop.example>", "Write to help@shop.example"),
        ("[no](javascript:alert(1)) [empty]()", "[no](javascript:alert(1)) empty"),
        ("# Returns\n\nWithin 14 days\nof delivery", "Returns\n\nWithin 14 days\nof delivery"),
        ("Steps:\n1. pack\n2. send\n\n- a\n  - b\n- c", "Steps:\n1. pack\n2. send\n\n• a\n  • b\n• c"),
        ("> quoted\n> twice\n\nanswer", "> quoted\n> twice\n\nanswer"),
        ("```python\nx = 1\n\ny = 2\n```", "x = 1\n\ny = 2"),
        ("| size | price |\n|---|---|\n| S | 10 |", "size | price\nS | 10"),
        ("a & b < c, <b>no html</b>, &copy;", "a & b < c, <b>no html</b>, ©"),
        ("\\*as is\\*  \nnext", "*as is*\nnext"),
        ("Total\n===\n    indented", "Total\n===\nindented"),
        ("a\x00b\ud800c", "a\ufffdb\ufffdc"),
        ("***", "———"),
        ("", ""),
        (" \n\n ", ""),
        ("[ref]: https://a.example", "[ref]: https://a.example"),
    ],
)
def test_markdown_is_shown_as_plain_text(markdown: str, shown: str) -> None:
    assert plain(markdown) == shown


def test_long_answers_are_cut_where_they_may_be() -> None:
    paragraphs = "\n\n".join(f"{n}. " + "слово " * 60 for n in range(10))
    parts = split(paragraphs, 1000)
    assert all(len(part) <= 1000 for part in parts)
    assert " ".join(" ".join(parts).split()) == " ".join(paragraphs.split())
    assert all(part[0].isdigit() for part in parts), "cut between paragraphs"
    assert split("x" * 2500, 1000) == ["x" * 1000, "x" * 1000, "x" * 500]
    assert [len(part) for part in split("😀" * 900, 1000)] == [500, 400]
    assert split("One two. " * 3, 15) == ["One two.", "One two.", "One two."]
    assert split("", 10) == []
    family = "👨‍👩‍👧"
    assert all(part.startswith("👨") for part in split(family * 10, 30))
