"""Which answer a confidence leads to, and what is asked of the model."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from pipeline.llm import Completion
from pipeline.steps.generate import Policy, generate
from pipeline.steps.retrieve import Passage, Retrieval
from pipeline.turn import Classification, Usage

POLICY = Policy(
    modes=("direct", "grounded", "smalltalk"),
    direct_threshold=0.8,
    grounded_threshold=0.3,
    history_tokens=20,
    max_tokens=100,
)
PASSAGES = (
    Passage(id="d", score=0.9, question="How long does delivery take?", answer="Two to four days.", locale="en"),
    Passage(
        id="r", score=0.5, question=None, answer="Refunds arrive within ten working days after we get it.", locale="en"
    ),
)


#: At the end of a scripted answer that had reached the limit of tokens.
CUT = "<cut>"


class ScriptedModel:
    """A language model that gives the answers it was told to give, the last one again and again."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.asked: list[Sequence[dict[str, str]]] = []
        self.purposes: list[str] = []

    def complete(
        self, messages: Sequence[dict[str, str]], *, max_tokens: int, purpose: str = "answer", on_text: object = None
    ) -> Completion:
        said = self.texts[min(len(self.asked), len(self.texts) - 1)]
        self.asked.append(messages)
        self.purposes.append(purpose)
        usage = Usage(tokens_in=50, tokens_out=7, cost=Decimal("0.001"), model="test/one")
        return Completion(said.removesuffix(CUT), usage, cut=said.endswith(CUT))

    def count_tokens(self, text: str) -> int:
        return len(text.split())


def question(text: str = "when will it come?", request: str = "question") -> Classification:
    return Classification(language="en", request=request, question=text)


def found(confidence: float) -> Retrieval:
    return Retrieval(passages=PASSAGES, confidence=confidence)


def test_a_confident_match_is_sent_as_written_without_asking_a_model() -> None:
    model = ScriptedModel("never")
    answer = generate(question(), found(0.8), policy=POLICY, model=model)
    assert (answer.mode, answer.text, answer.confidence) == ("direct", "Two to four days.", 0.8)
    assert answer.citations[0].id == "d"
    assert model.asked == []


def test_a_sure_answer_is_sent_though_a_passage_of_a_document_is_before_it() -> None:
    stored, passage = PASSAGES
    for score, mode in ((0.85, "direct"), (0.7, "unknown")):
        second = stored.model_copy(update={"score": score})
        retrieval = Retrieval(passages=(passage.model_copy(update={"score": 0.9}), second), confidence=0.9)
        answer = generate(question(), retrieval, policy=POLICY, model=None)
        assert answer.mode == mode
        if mode == "direct":
            assert (answer.text, answer.confidence) == ("Two to four days.", 0.85)


def test_below_direct_the_model_answers_over_the_passages() -> None:
    model = ScriptedModel("It takes two to four days [1].")
    answer = generate(question("<customer>hi"), found(0.5), policy=POLICY, model=model)
    assert (answer.mode, answer.text) == ("grounded", "It takes two to four days.")
    assert [citation.id for citation in answer.citations] == ["d"]
    assert (answer.usage.template, answer.usage.template_version) == ("text_answer_template", "2+1.2+4")
    ((system, user),) = model.asked
    assert all(passage.answer in user["content"] for passage in PASSAGES)
    assert "&lt;customer>hi" in user["content"]
    assert "NO_ANSWER" in system["content"]


def test_a_passage_quoted_without_a_mark_is_cited_too() -> None:
    model = ScriptedModel("Refunds arrive within ten working days.")
    answer = generate(question(), found(0.5), policy=POLICY, model=model)
    assert [citation.id for citation in answer.citations] == ["r"]


def test_an_answer_cut_at_its_limit_ends_with_a_whole_sentence() -> None:
    model = ScriptedModel(f"It takes two to four days [1]. Refunds arrive within ten{CUT}")
    answer = generate(question(), found(0.5), policy=POLICY, model=model)
    assert (answer.mode, answer.text) == ("grounded", "It takes two to four days.")
    model = ScriptedModel(f"It takes two to{CUT}", "It takes two to four days [1].")
    assert generate(question(), found(0.5), policy=POLICY, model=model).text == "It takes two to four days."
    assert "far too long" in model.asked[1][-1]["content"]


@pytest.mark.parametrize("said", ["NO_ANSWER", "[1]", " [1] [2]"])
def test_a_model_that_declines_is_believed(said: str) -> None:
    answer = generate(question(), found(0.5), policy=POLICY, model=ScriptedModel(said))
    assert (answer.mode, answer.flag) == ("unknown", "model_declined")
    assert answer.usage.tokens_in == 50


@pytest.mark.parametrize(("confidence", "model"), [(0.1, ScriptedModel("x")), (0.5, None)])
def test_nothing_sure_is_said_so_and_flagged(confidence: float, model: ScriptedModel | None) -> None:
    answer = generate(question(), found(confidence), policy=POLICY, model=model)
    assert (answer.mode, answer.flag, answer.confidence) == ("unknown", "no_answer", confidence)
    assert "colleague" in answer.text


@pytest.mark.parametrize(
    "said",
    [
        "It takes five days [1].",
        "It takes two to four days.  Write to help@shop.example [1].",
        "Happy birthday to our wonderful customers everywhere [1].",
        "Some time next week, I think.",
        "It is delivered within four days [7].",
    ],
)
def test_an_answer_that_rests_on_nothing_is_asked_for_once_more(said: str) -> None:
    model = ScriptedModel(said, "Delivery takes two to four days [1].")
    answer = generate(question(), found(0.5), policy=POLICY, model=model)
    assert (answer.mode, answer.text) == ("grounded", "Delivery takes two to four days.")
    assert (answer.usage.tokens_in, answer.usage.cost) == (100, Decimal("0.002"))
    again = model.asked[1]
    assert [message["role"] for message in again] == ["system", "user", "assistant", "user"]
    assert again[2]["content"] == said
    assert again[3]["content"].startswith("This answer was not sent.")


def test_what_is_unsupported_twice_is_not_sent() -> None:
    model = ScriptedModel("It takes five days [1].")
    answer = generate(question(), found(0.5), policy=POLICY, model=model)
    assert (answer.mode, answer.flag, answer.citations) == ("unknown", "unsupported", ())
    assert answer.usage.tokens_in == 100
    assert "five" not in answer.text


@pytest.mark.parametrize(
    ("verdict", "sent"),
    [("SUPPORTED", True), ("supported.", True), ("UNSUPPORTED", False), ("SUPPORTED, I think", False)],
)
def test_a_models_verdict_is_taken_by_the_word(verdict: str, sent: bool) -> None:
    model = ScriptedModel("It takes two to four days [1].", verdict, "It takes two to four days [1].", verdict)
    answer = generate(question(), found(0.5), policy=replace(POLICY, ground_check=True), model=model)
    assert (answer.mode, answer.flag) == (("grounded", None) if sent else ("unknown", "unsupported"))
    assert model.purposes == (["answer", "check"] if sent else ["answer", "check"] * 2)
    assert answer.usage.tokens_in == 50 * len(model.asked)
    asked = model.asked[1][1]["content"]
    assert "Two to four days." in asked
    assert "ten working days" not in asked, "only what the answer cites"


@pytest.mark.parametrize(
    ("modality", "template"),
    [("voice", "voice_answer_template"), ("video", "video_answer_template"), ("document", "document_answer_template"),
     ("image", "text_answer_template")],
)  # fmt: skip
def test_each_modality_has_its_template(modality: str, template: str) -> None:
    asked = question().model_copy(update={"modality": modality})
    answer = generate(asked, found(0.5), policy=POLICY, model=ScriptedModel("Two to four days [1]."))
    assert answer.usage.template == template


@pytest.mark.parametrize(
    ("kind", "mode", "flag"),
    [
        ("HUMAN", "unknown", "human_request"),
        ("Thanks", "smalltalk", None),
        ("INJECTION", "unknown", "injection"),
        ("QUESTION", "grounded", None),
        ("I would say HUMAN", "grounded", None),
    ],
)
def test_a_model_may_tell_what_kind_of_message_it_is(kind: str, mode: str, flag: str | None) -> None:
    model = ScriptedModel(kind, "It takes two to four days [1].")
    answer = generate(question(), found(0.5), policy=replace(POLICY, classify_with_llm=True), model=model)
    assert (answer.mode, answer.flag) == (mode, flag)
    assert model.purposes[0] == "classify"
    assert answer.usage.tokens_in == 50 * len(model.asked)
    direct = generate(question(), found(0.9), policy=replace(POLICY, classify_with_llm=True), model=model)
    assert (direct.mode, direct.usage.tokens_in) == ("direct", 0)


def test_requests_that_need_no_search() -> None:
    empty = Retrieval(passages=(), confidence=0.0)
    assert generate(question("hi", "greeting"), empty, policy=POLICY, model=None).mode == "smalltalk"
    assert generate(question("operator", "human"), empty, policy=POLICY, model=None).flag == "human_request"
    assert generate(question("", "unreadable"), empty, policy=POLICY, model=None).flag == "unreadable"


def test_a_mode_that_is_switched_off_is_not_used() -> None:
    policy = Policy(modes=(), direct_threshold=0.1, grounded_threshold=0.1, history_tokens=0, max_tokens=10)
    assert generate(question(), found(0.99), policy=policy, model=ScriptedModel("x")).mode == "unknown"
