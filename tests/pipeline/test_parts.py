"""Two questions in one message are found, and both are answered."""

import pytest

from pipeline.found import Candidate, Found, Thresholds
from pipeline.steps.generate import Policy, generate
from pipeline.steps.parts import parts
from pipeline.steps.retrieve import retrieve
from pipeline.turn import Classification
from storage.visibility import EVERYWHERE, Scope

POLICY = Policy(("direct",), None, None, history_tokens=0, max_tokens=10)


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (
            "How long does delivery take? And can I pay by card?",
            ["How long does delivery take?", "And can I pay by card?"],
        ),
        (
            "how do I return a kettle and when do I get the money",
            ["how do I return a kettle", "when do I get the money"],
        ),
        ("Сколько стоит доставка и можно ли оплатить картой?", ["Сколько стоит доставка", "можно ли оплатить картой?"]),
        ("Привет! Сколько идёт посылка в Казань?", ["Привет! Сколько идёт посылка в Казань?"]),
        ("чайник и тостер не работают", ["чайник и тостер не работают"]),
    ],
)
def test_parts(message: str, found: list[str]) -> None:
    assert parts(message) == found


class Scripted:
    """Finds what it was told to find."""

    def __init__(self, **found: tuple[str, float]) -> None:
        self.found = found

    def search(self, question: str, scope: Scope = EVERYWHERE) -> Found:
        told = [value for word, value in self.found.items() if word in question]
        item, confidence = told[0][0], min(value for _, value in told)
        one = Candidate(item, f"about {item}?", f"Answer of {item}.", "en", *([0.5] * 9), False, False, 1.0)
        return Found(((one, confidence),), confidence, Thresholds(0.8, 0.3))

    def warm_up(self) -> None:
        return None


def test_two_sure_answers_are_both_given() -> None:
    searcher = Scripted(delivery=("d", 0.95), card=("c", 0.85))
    message = "How long does delivery take? Can I pay by card?"
    found = retrieve(message, searcher=searcher, k=5)
    assert (found.both, found.confidence) == (("d", "c"), 0.85)
    answer = generate(
        Classification(language="en", request="question", question=message), found, policy=POLICY, model=None
    )
    assert (answer.mode, answer.text) == ("direct", "Answer of d.\n\nAnswer of c.")
    assert [citation.id for citation in answer.citations] == ["d", "c"]


def test_one_question_in_two_sentences_stays_one() -> None:
    searcher = Scripted(delivery=("d", 0.95), card=("c", 0.2))
    found = retrieve("My delivery is late. It hurts like a broken card.", searcher=searcher, k=5)
    assert (found.both, found.passages[0].id) == ((), "d")
