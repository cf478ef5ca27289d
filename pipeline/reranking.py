"""A re-ranking model reads the best candidates together with the question and shares their probability anew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.found import Candidate
from ragline.settings import Settings
from storage.reranker import Reranker, make_reranker

#: Candidates with their probabilities, best first.
Ranked = tuple[tuple[Candidate, float], ...]


@dataclass(frozen=True)
class Reranking:
    """The model, and how many candidates it reads of a question."""

    model: Reranker
    top: int = 10

    def warm_up(self) -> None:
        """Do what the first question would wait for."""
        self.model.scores("warm-up", ["warm-up"])

    def __call__(self, question: str, ranked: Ranked) -> Ranked:
        """The candidates in their new order, none surer than the first one was before.

        By Bayes' rule, of the first ``top`` with probabilities p and the model's r: p' = min(1, Σp) · p·r / Σ(p·r), and
        at most what calibration promised of the first. The others follow in their order, none above them. A question
        in the very words of one item is that item's, and asks the model nothing.
        """
        if len(ranked) < 2 or (ranked[0][0].exact and not ranked[1][0].exact):
            return ranked
        read, rest = ranked[: self.top], ranked[self.top :]
        before = np.array([p for _, p in read], dtype=np.float64)
        shares = before * self.model.scores(question, [text_of(candidate) for candidate, _ in read])
        if not (np.isfinite(shares).all() and shares.sum() > 0):
            return ranked
        after = np.round(np.minimum(min(1.0, before.sum()) * shares / shares.sum(), before[0]), 6).tolist()
        # The very words of several items come first here, too; those that share nothing keep their order.
        order = sorted(range(len(read)), key=lambda i: (not read[i][0].exact, -shares[i]))
        least = min(after)
        return (*((read[i][0], after[i]) for i in order), *((candidate, min(p, least)) for candidate, p in rest))


def text_of(candidate: Candidate) -> str:
    """What the model reads: the nearest phrasing and the answer, of a passage its heading and text."""
    above = candidate.heading if candidate.passage else candidate.question
    # An item that is only a label has its id in the place of an answer.
    below = None if candidate.answer == candidate.id else candidate.answer
    return "\n".join(text for text in (above, below) if text)


def make_reranking(settings: Settings) -> Reranking | None:
    """The re-ranking the settings ask for, its model loaded; None where they name none.

    Raises :class:`~ragline.errors.ConfigurationError` for a model that cannot be loaded.
    """
    model = make_reranker(settings.knowledge.reranker)
    return None if model is None else Reranking(model, settings.knowledge.rerank_top)
