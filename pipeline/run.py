"""A question through the steps in this process, without channels or workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

from pydantic import BaseModel

from pipeline.llm import LanguageModel
from pipeline.search import Searcher
from pipeline.steps.classify import classify
from pipeline.steps.generate import Policy, generate
from pipeline.steps.retrieve import Passage, Retrieval, retrieve
from pipeline.turn import Answer, Classification, Turn, TurnMessage
from ragline.ids import new_id
from ragline.settings import Settings

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
    passages: list[Passage]
    steps: list[StepTime]


def make_policy(settings: Settings) -> Policy:
    """The answer policy of the settings; thresholds they leave open are those calibrated for the base."""
    own = settings.answer
    return Policy(
        modes=own.modes,
        direct_threshold=own.direct_threshold,
        grounded_threshold=own.grounded_threshold,
        history_tokens=own.history_tokens,
        max_tokens=own.max_tokens,
    )


def search_step(classification: Classification, *, searcher: Searcher, k: int) -> Retrieval:
    """Retrieve, where there is something to search for: a base may have its own answer to a greeting."""
    if classification.request in ("human", "unreadable"):
        return Retrieval(passages=(), confidence=0.0)
    return retrieve(classification.question, searcher=searcher, k=k)


def ask(question: str, *, settings: Settings, searcher: Searcher, model: LanguageModel | None) -> Asked:
    """Classify, retrieve and generate; nothing is stored or sent."""
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

    turn = Turn(id=new_id(), messages=(TurnMessage(kind="text", text=question),))
    classification = timed("classify", lambda: classify(turn))
    retrieval = timed("retrieve", lambda: search_step(classification, searcher=searcher, k=settings.knowledge.top_k))
    answer = timed("generate", lambda: generate(classification, retrieval, policy=make_policy(settings), model=model))
    return Asked(
        answer=answer.text,
        mode=answer.mode,
        confidence=answer.confidence,
        flag=answer.flag,
        passages=list(retrieval.passages),
        steps=steps,
    )


def _money(cost: Decimal | None) -> str | None:
    return None if cost is None else format(cost, "f")
