"""What is shown of an unfinished answer is always the beginning of the finished one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.llm import Completion
from pipeline.steps.draft import shown
from pipeline.steps.generate import Policy, generate
from pipeline.steps.retrieve import Passage, Retrieval
from pipeline.turn import Answer, Classification, Usage

PIECES = ["[", "]", "1", "23", ",", " ", "\n", "N", "NO_", "NO_ANSWER", "ANSWER", "слово", "[1]", " [2, 3]"]


class Says:
    """A model that writes one text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def complete(self, messages: Any, *, max_tokens: int, **_: Any) -> Completion:
        return Completion(self.text, Usage())

    def count_tokens(self, text: str) -> int:
        return len(text)


def answer_of(text: str) -> Answer:
    passage = Passage(id="p", score=0.5, question="Q?", answer="A", locale="en")
    return generate(
        Classification(language="en", request="question", question="Q?"),
        Retrieval(passages=(passage,), confidence=0.5),
        policy=Policy(("grounded",), 0.9, 0.1, history_tokens=0, max_tokens=100),
        model=Says(text),  # type: ignore[arg-type]
    )


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_every_beginning_begins_the_answer(text: str) -> None:
    answer = answer_of(text)
    for end in range(len(text) + 1):
        so_far = shown(text[:end])
        if answer.mode == "grounded":
            assert answer.text.startswith(so_far)
        elif "NO_ANSWER" not in text:  # nothing but marks
            assert so_far == ""
        assert "NO_" not in so_far or "NO_ANSWER" not in text[:end]


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
        ("We open. NO_A", "We open."),
        ("We open. NO_ANSWER", ""),
    ],
)
def test_marks_and_refusals_never_flash_up(text: str, expected: str) -> None:
    assert shown(text) == expected
