"""When to ask back, what is offered, and what a press or a typed line chooses of it."""

import dataclasses

import pytest

from pipeline.senders.base import PullSender
from pipeline.steps.clarify import Offers, ask_back, button, choose, close_candidates
from pipeline.steps.classify import classify
from pipeline.steps.deliver import deliver
from pipeline.steps.generate import Policy, generate
from pipeline.steps.retrieve import Passage, Retrieval
from pipeline.turn import Answer, Classification, Option, Turn, TurnMessage
from storage import offers
from storage.offers import Offer
from tests.pipeline.test_generate import ScriptedModel

POLICY = Policy(
    modes=("direct", "grounded", "clarify"), direct_threshold=0.9, grounded_threshold=0.3, history_tokens=0,
    max_tokens=10, clarify_threshold=0.5,
)  # fmt: skip
TURN = "0199b6a0-0000-7000-8000-000000000001"
OFFER = Offer(
    TURN,
    "how do I return it?",
    (
        offers.Option("shoes", "Return shoes?"),
        offers.Option("coats", "Return a coat?"),
        offers.Option(None, "None of these"),
    ),
    frozenset(),
)


def passage(name: str, score: float, question: str | None = "", answer: str = "") -> Passage:
    asked = f"Question {name}?" if question == "" else question
    return Passage(id=name, score=score, question=asked, answer=answer or f"Answer {name}", locale="en")


def found(*scores: float, confidence: float = 0.4) -> Retrieval:
    names = "abcdefgh"
    return Retrieval(passages=tuple(passage(n, s) for n, s in zip(names, scores, strict=False)), confidence=confidence)


def asked(text: str = "how do I return it?") -> Classification:
    return Classification(language="en", request="question", question=text)


@pytest.mark.parametrize(
    ("scores", "offered"),
    [
        ((0.4, 0.35), "ab"),
        ((0.3, 0.25, 0.2, 0.19), "abc"),
        ((0.5, 0.1), "a"),  # one of them is by far the likeliest
        ((0.2, 0.2), ""),  # neither is likely
        ((0.25, 0.2, 0.2), ""),  # three guesses
        ((0.6,), "a"),
        ((0.45, 0.1), ""),
        ((0.0, 0.0), ""),
        ((), ""),
    ],
)
def test_likely_items_are_offered_with_what_is_close_to_them(scores: tuple[float, ...], offered: str) -> None:
    assert "".join(one.id for one in close_candidates(found(*scores), POLICY)) == offered


def test_documents_and_items_that_say_the_same_are_no_choice() -> None:
    first = passage("a", 0.4, "How long does it take?", "Two days.")
    for second in (
        passage("b", 0.4, None),
        passage("b", 0.4, "how long does it take"),
        passage("b", 0.4, "When will it come?", "Two days."),
    ):
        assert close_candidates(Retrieval(passages=(first, second), confidence=0.4), POLICY) == []


def test_it_is_asked_back_without_a_model_and_a_model_is_asked_first_unless_both_are_as_likely() -> None:
    answer = generate(asked(), found(0.4, 0.3), policy=POLICY, model=None)
    assert (answer.mode, answer.flag, answer.confidence) == ("clarify", None, 0.4)
    assert [(option.id, option.title) for option in answer.options] == [
        ("a", "Question a?"), ("b", "Question b?"), (None, "None of these"),
    ]  # fmt: skip
    model = ScriptedModel("Either [1].")
    assert generate(asked(), found(0.4, 0.3), policy=POLICY, model=model).mode == "grounded"
    assert generate(asked(), found(0.4, 0.3, confidence=0.2), policy=POLICY, model=model).mode == "clarify"
    assert generate(asked(), found(0.4, 0.39), policy=POLICY, model=model).mode == "clarify"


@pytest.mark.parametrize("modes", [("direct",), ("clarify",)])
def test_it_is_not_asked_back_where_that_or_the_answer_is_switched_off(modes: tuple[str, ...]) -> None:
    policy = dataclasses.replace(POLICY, modes=modes)
    assert generate(asked(), found(0.4, 0.4), policy=policy, model=None).mode == "unknown"


def test_a_sure_match_is_answered_and_not_asked_about() -> None:
    assert generate(asked(), found(0.4, 0.4, confidence=0.95), policy=POLICY, model=None).mode == "direct"


# What is chosen


def said(*texts: str) -> Turn:
    return Turn(id="t", messages=tuple(TurnMessage(kind="text", text=text) for text in texts))


def pressed(data: str) -> Turn:
    return Turn(id="t", messages=(TurnMessage(kind="callback", text="Return shoes?", data=data),))


def finds(offer: Offer | None = OFFER) -> Offers:
    return lambda turn_id: offer if offer and turn_id in (None, offer.turn_id) else None


@pytest.mark.parametrize(
    ("line", "item"),
    [
        ("1", "shoes"), ("2.", "coats"), (" № 2 ", "coats"), ("вариант 1", "shoes"), ("option 2", "coats"),
        ("the first one", "shoes"), ("Второй", "coats"), ("return a coat", "coats"), ("3", None),
        ("none of these", None),
    ],
)  # fmt: skip
def test_a_number_or_the_words_of_an_option_choose_it(line: str, item: str | None) -> None:
    choice = choose(said(line), finds())
    assert choice is not None
    assert (choice.item, choice.outcome) == (item, "none" if item is None else "item")
    assert (choice.offer, choice.question) == (TURN, "how do I return it?")


@pytest.mark.parametrize("lines", [("4",), ("0",), ("12",), ("1", "2"), ("1 metre of cable?",), ("return",), ("!",)])
def test_anything_else_is_a_new_question(lines: tuple[str, ...]) -> None:
    assert choose(said(*lines), finds()) is None


def test_a_number_without_an_offer_is_text() -> None:
    assert choose(said("1"), finds(None)) is None
    assert classify(said("1")).request == "question"


def test_a_press_names_its_turn_and_item_within_64_bytes() -> None:
    data = button(TURN, Option(id="coats" * 40, title="x"), "x").data
    assert len(data.encode()) <= 64
    choice = choose(pressed(button(TURN, Option(id="coats", title=""), "").data), finds())
    assert choice is not None
    assert (choice.outcome, choice.item, choice.title) == ("item", "coats", "Return a coat?")


@pytest.mark.parametrize(
    "data",
    [
        button(TURN, Option(id="secret", title=""), "").data,  # an item that was not offered
        button("0199b6a0-0000-7000-8000-00000000000f", Option(id="coats", title=""), "").data,  # no turn of this talk
        "help:yes", "", f"c:{TURN}:", f"c:{TURN}:coats", "c:" + "9" * 200,
    ],
)  # fmt: skip
def test_a_press_of_what_was_not_offered_here_says_so_and_searches_nothing(data: str) -> None:
    made = classify(pressed(data), offers=finds())
    assert (made.request, made.question) == ("choice", "")
    answer = generate(made, Retrieval(), policy=POLICY, model=ScriptedModel("never"))
    assert (answer.mode, answer.options, answer.flag) == ("clarify", (), None)
    assert "no longer available" in answer.text


def test_a_second_press_says_nothing_new() -> None:
    again = dataclasses.replace(OFFER, answered=frozenset({"coats"}))
    made = classify(pressed(button(TURN, Option(id="coats", title=""), "").data), offers=finds(again))
    assert made.choice is not None
    assert made.choice.outcome == "repeated"
    assert generate(made, Retrieval(), policy=POLICY, model=None).repeated


def test_none_of_them_is_told_honestly_in_the_language_of_the_question_and_flagged() -> None:
    russian = dataclasses.replace(OFFER, question="Как это вернуть?")
    made = classify(pressed(button(TURN, Option(id=None, title=""), "").data), offers=finds(russian))
    assert (made.language, made.question) == ("ru", "Как это вернуть?")
    answer = generate(made, Retrieval(), policy=POLICY, model=ScriptedModel("never"))
    assert (answer.mode, answer.flag) == ("unknown", "no_answer")
    assert "сотруднику" in answer.text


# How it is shown


class Buttons(PullSender):
    button_width = 20


def parts(sender: type[PullSender], *titles: str) -> list[dict[str, object]]:
    answer = Answer(
        text="Which?", mode="clarify", confidence=0.5,
        options=tuple(Option(id=title, title=title) for title in titles),
    )  # fmt: skip
    return deliver(answer, sender=sender.__new__(sender), address={}, turn_id=TURN, language="en")


def test_without_buttons_the_options_are_a_numbered_list() -> None:
    assert parts(PullSender, "Shoes?", "Coats?") == [
        {"text": "Which?\n\n1. Shoes?\n2. Coats?\n\nPlease answer with the number."}
    ]


def test_buttons_stand_alone_where_their_titles_fit_and_beside_the_list_where_not() -> None:
    (body,) = parts(Buttons, "Shoes?", "Coats?")
    assert body["text"] == "Which?"
    assert [one["title"] for one in body["buttons"]] == ["Shoes?", "Coats?"]  # type: ignore[attr-defined]
    (body,) = parts(Buttons, "How do I return my new shoes?", "Coats?")
    assert "1. How do I return my new shoes?\n2. Coats?" in str(body["text"])
    assert [one["title"] for one in body["buttons"]] == ["1. How do I return…", "2. Coats?"]  # type: ignore[attr-defined]


def test_a_long_question_is_cut_for_its_option() -> None:
    long = passage("a", 0.4, "How\ndo I " + "x" * 200)
    titles = [option.title for option in ask_back([long, passage("b", 0.3)], "en", 0.4).options]
    assert titles[0].startswith("How do I xxx")
    assert len(titles[0]) == 100
