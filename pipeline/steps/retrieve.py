"""Retrieve: passages of the knowledge base, best first, and the probability that the best one answers."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from pipeline.found import Candidate, Found
from pipeline.search import Searcher
from pipeline.steps.parts import parts
from pipeline.turn import Frozen
from storage.visibility import EVERYWHERE, Scope

#: A part is a question of its own when it is answered this surely, and more surely than the whole: what two sentences
#: say of one matter is answered best by both together.
OWN_QUESTION = 0.6
#: Where a message may ask two things and it is not sure: so many items of the whole come before those of its parts.
WHOLE = 3


class Passage(Frozen):
    """One knowledge item. ``question`` is its phrasing nearest to what was asked; None for a document passage.

    ``score``: the probability that this item is the right one. ``source``, ``heading`` and ``page`` say where a
    document passage stands.
    """

    id: str
    score: float = Field(ge=0, le=1)
    question: str | None
    answer: str
    locale: str | None = None
    source: str | None = None
    heading: str | None = None
    page: int | None = None


class Retrieval(Frozen):
    """``confidence``: calibrated probability (0 to 1) that the first passage answers the question.

    ``both``: ids of the two passages that answer two questions asked at once; then ``confidence`` is the lower of the
    two, and the two come first. ``direct`` and ``grounded``: the thresholds calibrated for the base it comes from.
    """

    passages: tuple[Passage, ...] = ()
    confidence: float = Field(0.0, ge=0, le=1)
    both: tuple[str, ...] = ()
    direct: float = Field(0.9, ge=0, le=1)
    grounded: float = Field(0.3, ge=0, le=1)


def retrieve(question: str, *, searcher: Searcher, k: int, scope: Scope = EVERYWHERE) -> Retrieval:
    """The at most ``k`` best items ``scope`` may see now; of a message that asks two things, the best of both first."""
    found = searcher.search(question, scope)
    if not found.ranked:
        return Retrieval()
    own = [searcher.search(part, scope) for part in asked] if len(asked := parts(question)) == 2 else []
    both = _two_answers(found, own)
    return Retrieval(
        passages=_passages(found, own, k, both=bool(both)),
        confidence=min(one.confidence for one in own) if both else found.confidence,
        both=both,
        direct=found.thresholds.direct,
        grounded=found.thresholds.grounded,
    )


def _two_answers(whole: Found, own: Sequence[Found]) -> tuple[str, ...]:
    """The items that answer two parts, where each part has a sure answer of its own."""
    least = max(OWN_QUESTION, whole.confidence)
    firsts = [part.ranked[0][0] for part in own if part.ranked and part.confidence >= least]
    if len(firsts) == 2 and firsts[0].id != firsts[1].id and all(c.question is not None for c in firsts):
        return tuple(c.id for c in firsts)
    return ()


def _passages(found: Found, own: Sequence[Found], k: int, *, both: bool) -> tuple[Passage, ...]:
    """The items to show, each once: of two answers these first; else the parts only help the whole to find more."""
    firsts = [part.ranked[0] for part in own if part.ranked]
    order = [*firsts, *found.ranked] if both else [*found.ranked[:WHOLE], *firsts, *found.ranked[WHOLE:]]
    passages: dict[str, Passage] = {}
    for c, score in order[: k + len(firsts)]:
        if c.id not in passages:
            passages[c.id] = _passage(c, score)
    return tuple(passages.values())[:k]


def _passage(found: Candidate, score: float) -> Passage:
    return Passage(
        id=found.id,
        score=score,
        question=found.question,
        answer=found.answer,
        locale=found.locale,
        source=found.source,
        heading=found.heading,
        page=found.page,
    )
