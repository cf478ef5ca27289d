"""A question through the steps in this process, without channels or workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeVar

from pydantic import BaseModel

from pipeline.llm import LanguageModel
from pipeline.masking import masked
from pipeline.prompts import account_prompts
from pipeline.search import Searcher
from pipeline.steps.clarify import retrieval_of
from pipeline.steps.classify import classify
from pipeline.steps.generate import Policy, generate
from pipeline.steps.retrieve import Passage, Retrieval, retrieve
from pipeline.turn import Answer, Citation, Classification, Option, Turn, TurnMessage
from ragline.ids import new_id
from ragline.settings import Settings
from storage.offers import Chosen
from storage.visibility import Scope

Result = TypeVar("Result")


class StepTime(BaseModel):
    """One step of an in-process run; ``ms`` is wall time, ``cost`` in US dollars as a decimal string."""

    name: str
    ms: float
    tokens_in: int = 0
    tokens_out: int = 0
    cost: str | None = "0"


class Asked(BaseModel):
    """What came of a question."""

    answer: str
    mode: str
    confidence: float
    flag: str | None
    citations: list[Citation]
    options: list[Option] = []
    passages: list[Passage]
    steps: list[StepTime]


def make_policy(settings: Settings) -> Policy:
    """The answer policy of the settings; thresholds they leave open are those calibrated for the base."""
    own = settings.answer
    return Policy(
        modes=own.modes,
        direct_threshold=own.direct_threshold,
        grounded_threshold=own.grounded_threshold,
        clarify_threshold=own.clarify_threshold,
        largest=settings.media.largest,
        longest=max(1, round(settings.media.longest.total_seconds() / 60)),
        history_tokens=own.history_tokens,
        max_tokens=own.max_tokens,
        ground_check=own.ground_check == "llm",
        classify_with_llm=own.classify_with_llm,
    )


def search_step(
    classification: Classification,
    *,
    searcher: Searcher,
    k: int,
    channel: str | None = None,
    locale: str | None = None,
    chosen: Callable[[str], Chosen | None] = lambda _: None,
) -> Retrieval:
    """Retrieve what is visible on ``channel`` in the customer's language: a base may have its own answer to a greeting.

    An item the customer chose (``chosen`` reads it) is found without a search, while it is in the base.
    """
    choice = classification.choice
    if choice and choice.outcome == "item" and choice.item and (item := chosen(choice.item)):
        return retrieval_of(choice, item)
    if classification.request in ("human", "unreadable") or (choice and choice.outcome != "item"):
        return Retrieval(passages=(), confidence=0.0)
    scope = Scope(channel, language_asked(classification, locale))
    return retrieve(classification.question, searcher=searcher, k=k, scope=scope)


def language_asked(classification: Classification, locale: str | None) -> str:
    """The language knowledge is shown by: that of the reply, or the customer's own, where letters cannot tell it.

    ``locale`` (BCP 47) is what the channel says of the customer.
    """
    known = (locale or "").lower().replace("_", "-").partition("-")[0]
    if classification.language == "en" and locale and known not in ("en", "ru"):
        return locale
    return classification.language


def ask(
    question: str | Sequence[str],
    *,
    settings: Settings,
    searcher: Searcher,
    model: LanguageModel | None,
    channel: str | None = None,
    locale: str | None = None,
) -> Asked:
    """Classify, retrieve and generate as for a customer of ``channel`` and ``locale``; nothing is stored or sent.

    Several texts are the messages of one burst.
    """
    steps: list[StepTime] = []

    def timed(name: str, work: Callable[[], Result]) -> Result:
        began = time.perf_counter()
        result = work()
        took = (time.perf_counter() - began) * 1000
        usage = result.usage if isinstance(result, Answer) else None
        steps.append(
            StepTime(
                name=name,
                ms=round(took, 3),
                tokens_in=usage.tokens_in if usage else 0,
                tokens_out=usage.tokens_out if usage else 0,
                cost=_money(usage.cost) if usage else "0",
            )
        )
        return result

    texts = [question] if isinstance(question, str) else question
    messages = tuple(TurnMessage(kind="text", text=text) for text in texts)
    turn = Turn(id=new_id(), messages=messages, locale=locale)
    classification = timed("classify", lambda: classify(turn))
    k = settings.knowledge.top_k
    retrieval = timed(
        "retrieve", lambda: search_step(classification, searcher=searcher, k=k, channel=channel, locale=locale)
    )
    shown = masked(model, settings) if model else None
    with account_prompts(settings.prompts.folder):
        answer = timed(
            "generate", lambda: generate(classification, retrieval, policy=make_policy(settings), model=shown)
        )
    return Asked(
        answer=answer.text,
        mode=answer.mode,
        confidence=answer.confidence,
        flag=answer.flag,
        citations=list(answer.citations),
        options=list(answer.options),
        passages=list(retrieval.passages),
        steps=steps,
    )


def _money(cost: Decimal | None) -> str | None:
    return None if cost is None else format(cost, "f")
