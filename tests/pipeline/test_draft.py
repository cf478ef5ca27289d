"""What is shown of an unfinished answer is always the beginning of the finished one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.grounding import read_reply
from pipeline.steps.draft import shown

PIECES = [
    "[",
    "]",
    "1",
    "23",
    ",",
    " ",
    "\n",
    "N",
    "NO_",
    "NO_ANSWER",
    "ANSWER",
    "слово",
    "[1]",
    " [2; 3]",
    "<answer>",
    "</pas",
    "<",
]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_every_beginning_begins_the_answer(text: str) -> None:
    answer = read_reply(text, []).text
    for end in range(len(text) + 1):
        so_far = shown(text[:end])
        assert answer.startswith(so_far) or "NO_ANSWER" in answer
        assert "NO_ANSWER" not in so_far


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("N", ""),
        ("NO_ANSWE", ""),
        ("NO_ANSWER", ""),
        ("Not", "Not"),
        ("We open at nine", "We open at nine"),
        ("We open at nine [", "We open at nine"),
        ("We open at nine [1, 2", "We open at nine"),
        ("We open at nine [1]. ", "We open at nine."),
        ("See [the page]", "See [the page]"),
        ("<answer>We open", "We open"),
        ("We open. </ans", "We open."),
        ("We < they", "We < they"),
        ("We open. NO_A", "We open."),
        ("We open. NO_ANSWER", ""),
    ],
)
def test_marks_and_refusals_never_flash_up(text: str, expected: str) -> None:
    assert shown(text) == expected
