"""Generate: a stored answer as it was written, a grounded one from a language model, or an honest "unknown"."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from pipeline.llm import LanguageModel
from pipeline.prompts import as_data, load
from pipeline.steps.clarify import answer_to, ask_back, close_candidates, is_even
from pipeline.steps.retrieve import Passage, Retrieval
from pipeline.steps.spent import answers_within_budget
from pipeline.turn import Answer, Citation, Classification, Role

_MARK = re.compile(r"\s*\[(\d{1,2}(?:\s*,\s*\d{1,2})*)\]")
_NO_ANSWER = "NO_ANSWER"
#: Words in a row that an answer must share with a passage it does not cite for the passage to count as its source.
_QUOTED_WORDS = 6

History = Callable[[], Sequence[tuple[Role, str]]]


@dataclass(frozen=True)
class Policy:
    """Which modes may be used, and the confidence each one asks for (0 to 1; None: as calibrated for the base)."""

    modes: Collection[str]
    direct_threshold: float | None
    grounded_threshold: float | None
    history_tokens: int
    max_tokens: int
    #: Probability that the right item is among those offered, from which on the customer is asked which one is meant.
    clarify_threshold: float = 0.5


@answers_within_budget
def generate(
    classification: Classification,
    retrieval: Retrieval,
    *,
    policy: Policy,
    model: LanguageModel | None,
    history: History = tuple,
) -> Answer:
    """The answer to a turn. ``history`` is called only when a model is asked; oldest line first.

    Raises ``ProviderUnavailable`` or ``ProviderRefused`` when the model was needed and gave nothing.
    """
    request, language = classification.request, classification.language
    if request == "unreadable":
        return _reply("unreadable", language, flag="unreadable")
    if request == "human":
        return _reply("human", language, flag="human_request")
    if classification.choice and (said := answer_to(classification.choice, language)):
        return said

    best = retrieval.passages[0] if retrieval.passages else None
    confidence = retrieval.confidence
    direct = retrieval.direct if policy.direct_threshold is None else policy.direct_threshold
    grounded = retrieval.grounded if policy.grounded_threshold is None else policy.grounded_threshold
    if retrieval.both and "direct" in policy.modes and confidence >= direct:
        return _both(retrieval)
    if best and best.question and "direct" in policy.modes and confidence >= direct:
        return Answer(text=best.answer, mode="direct", confidence=confidence, citations=(_citation(best),))
    if request not in ("question", "choice") and "smalltalk" in policy.modes:
        return Answer(text=load(f"reply_{request}").render(language=language), mode="smalltalk", confidence=1.0)
    grounds = bool(best and model and "grounded" in policy.modes and confidence >= grounded)
    # Of two questions in one message the items are no alternatives.
    asks_back = {"clarify", "direct"} <= set(policy.modes) and not retrieval.both
    close = close_candidates(retrieval, policy) if asks_back else []
    if close and (not grounds or is_even(close, retrieval)):
        return ask_back(close, language, confidence)
    if grounds and model:
        return _grounded(classification, retrieval, policy=policy, model=model, history=history)
    return _reply("unknown", language, flag="no_answer", confidence=confidence)


def _both(retrieval: Retrieval) -> Answer:
    """The stored answers to two questions asked at once, in the order they were asked."""
    passages = {passage.id: passage for passage in retrieval.passages}
    chosen = [passages[item] for item in retrieval.both]
    return Answer(
        text="\n\n".join(passage.answer for passage in chosen),
        mode="direct",
        confidence=retrieval.confidence,
        citations=tuple(_citation(passage) for passage in chosen),
    )


def _grounded(
    classification: Classification, retrieval: Retrieval, *, policy: Policy, model: LanguageModel, history: History
) -> Answer:
    system, template = load("base_system_prompt"), load("text_answer_template")
    prompt = template.render(
        passages=[
            {"title": as_data(p.question or p.heading or ""), "text": as_data(p.answer)} for p in retrieval.passages
        ],
        history=[(role, as_data(text)) for role, text in _fit(history(), policy.history_tokens, model)],
        question=as_data(classification.question),
    )
    completion = model.complete(
        [
            {"role": "system", "content": system.render(language=classification.language)},
            {"role": "user", "content": prompt},
        ],
        max_tokens=policy.max_tokens,
    )
    usage = completion.usage.model_copy(
        update={"template": template.name, "template_version": f"{system.version}.{template.version}"}
    )
    text, cited = _cited(completion.text, retrieval.passages)
    if not text or _NO_ANSWER in text:  # nothing but marks is no answer either
        declined = _reply("unknown", classification.language, flag="model_declined", confidence=retrieval.confidence)
        return declined.model_copy(update={"usage": usage})
    return Answer(text=text, mode="grounded", confidence=retrieval.confidence, citations=cited, usage=usage)


def _reply(name: str, language: str, *, flag: str, confidence: float = 0.0) -> Answer:
    text = load(f"reply_{name}").render(language=language)
    return Answer(text=text, mode="unknown", confidence=confidence, flag=flag)


def _fit(lines: Sequence[tuple[Role, str]], budget: int, model: LanguageModel) -> list[tuple[Role, str]]:
    """The newest lines that fit into ``budget`` tokens together, oldest first."""
    kept: list[tuple[Role, str]] = []
    for role, text in reversed(lines):
        budget -= model.count_tokens(f"{role}: {text}\n")
        if budget < 0:
            break
        kept.append((role, text))
    return kept[::-1]


def _cited(text: str, passages: Sequence[Passage]) -> tuple[str, tuple[Citation, ...]]:
    """The text without its marks, and the passages it cites, or quotes at length, in order of first use."""
    numbers = [int(number) for group in _MARK.findall(text) for number in group.split(",")]
    plain = _MARK.sub("", text).strip()
    words = _shingles(plain)
    quoted = [i for i, passage in enumerate(passages, 1) if words & _shingles(passage.answer)]
    used = [passages[i - 1] for i in dict.fromkeys([*numbers, *quoted]) if 1 <= i <= len(passages)]
    return plain, tuple(_citation(p) for p in used)


def _citation(passage: Passage) -> Citation:
    if passage.question:
        return Citation(id=passage.id, title=passage.question)
    title = passage.heading or passage.answer[:80]
    return Citation(
        id=passage.id, title=title, source=passage.source, heading=passage.heading, page=passage.page
    )  # fmt: skip


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + _QUOTED_WORDS]) for i in range(len(words) - _QUOTED_WORDS + 1)}
