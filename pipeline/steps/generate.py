"""Generate: a stored answer as it was written, a grounded one from a language model, or an honest "unknown"."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pipeline.history import Memory
from pipeline.llm import LanguageModel
from pipeline.prompts import load
from pipeline.steps.clarify import answer_to, ask_back, close_candidates, is_even
from pipeline.steps.grounded import grounded as grounded_answer
from pipeline.steps.kinds import sort_out
from pipeline.steps.replies import citation, unknown
from pipeline.steps.retrieve import Retrieval
from pipeline.steps.spent import answers_within_budget
from pipeline.turn import Answer, Classification


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
    #: Whether a model judges each grounded answer, and each message that no stored answer is sure for.
    ground_check: bool = False
    classify_with_llm: bool = False


@answers_within_budget
def generate(
    classification: Classification,
    retrieval: Retrieval,
    *,
    policy: Policy,
    model: LanguageModel | None,
    memory: Memory | None = None,
) -> Answer:
    """The answer to a turn. ``memory`` is read only when a model is asked; None: models are shown no earlier line.

    Raises ``ProviderUnavailable`` or ``ProviderRefused`` when the model was needed and gave nothing.
    """
    request, language = classification.request, classification.language
    if request == "unreadable":
        return unknown("unreadable", language, flag="unreadable")
    if request == "human":
        return unknown("human", language, flag="human_request")
    if classification.choice and (said := answer_to(classification.choice, language)):
        return said

    best = retrieval.passages[0] if retrieval.passages else None
    confidence = retrieval.confidence
    direct = retrieval.direct if policy.direct_threshold is None else policy.direct_threshold
    if retrieval.both and "direct" in policy.modes and confidence >= direct:
        return _both(retrieval)
    if best and best.question and "direct" in policy.modes and confidence >= direct:
        return Answer(text=best.answer, mode="direct", confidence=confidence, citations=(citation(best),))
    if request not in ("question", "choice") and "smalltalk" in policy.modes:
        return Answer(text=load(f"reply_{request}").render(language=language), mode="smalltalk", confidence=1.0)
    if request == "question" and model and policy.classify_with_llm and "grounded" in policy.modes:
        told, spent = sort_out(classification, model, smalltalk="smalltalk" in policy.modes)
        told = told or _found_out(classification, retrieval, policy=policy, model=model, memory=memory)
        return told.model_copy(update={"usage": spent + told.usage})
    return _found_out(classification, retrieval, policy=policy, model=model, memory=memory)


def _found_out(
    classification: Classification,
    retrieval: Retrieval,
    *,
    policy: Policy,
    model: LanguageModel | None,
    memory: Memory | None,
) -> Answer:
    """The answer to a question that no stored answer is sure for."""
    confidence, language = retrieval.confidence, classification.language
    threshold = retrieval.grounded if policy.grounded_threshold is None else policy.grounded_threshold
    grounds = bool(retrieval.passages and model and "grounded" in policy.modes and confidence >= threshold)
    # Of two questions in one message the items are no alternatives.
    asks_back = {"clarify", "direct"} <= set(policy.modes) and not retrieval.both
    close = close_candidates(retrieval, policy) if asks_back else []
    if close and (not grounds or is_even(close, retrieval)):
        return ask_back(close, language, confidence)
    if grounds and model:
        return grounded_answer(
            classification, retrieval, model=model, memory=memory, history_tokens=policy.history_tokens,
            max_tokens=policy.max_tokens, checked_by_model=policy.ground_check,
        )  # fmt: skip
    return unknown("unknown", language, flag="no_answer", confidence=confidence)


def _both(retrieval: Retrieval) -> Answer:
    """The stored answers to two questions asked at once, in the order they were asked."""
    passages = {passage.id: passage for passage in retrieval.passages}
    chosen = [passages[item] for item in retrieval.both]
    return Answer(
        text="\n\n".join(passage.answer for passage in chosen),
        mode="direct",
        confidence=retrieval.confidence,
        citations=tuple(citation(passage) for passage in chosen),
    )
