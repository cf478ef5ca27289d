"""Many questions through the pipeline's own steps, over threads, against a base of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from pipeline import training
from pipeline.llm import UNMETERED, LanguageModel
from pipeline.reranking import make_reranking
from pipeline.run import Asked, ask
from pipeline.search import KnowledgeSearcher
from pipeline.spending import Meter
from ragline.settings import Settings
from storage import index
from storage.embedder.base import Embedder
from storage.session import Database
from storage.vectors.base import VectorStore

#: Questions on their way at once: as many as the searcher encodes in one batch.
THREADS = 16
#: Passages the measures look at.
LOOKED_AT = 5
Progress = Callable[[int], None]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Base:
    """A knowledge base with one store object for writing and searching, as the in-memory store needs it.

    ``paid`` is what a language model is paid from that is asked about it.
    """

    settings: Settings
    database: Database
    store: VectorStore
    embedder: Embedder
    paid: Meter = UNMETERED

    def bring_up_to_date(self, progress: Progress) -> int:
        """Derive from SQL what questions are answered from, index and head; returns how many texts were added."""
        knowledge = self.settings.knowledge
        added = index.sync(self.database, self.store, knowledge.store, self.embedder, knowledge.embedder, progress)
        training.bring_up_to_date(self.database, self.embedder)
        return added

    def searcher(self) -> KnowledgeSearcher:
        """A searcher of this base, warm."""
        knowledge = self.settings.knowledge
        made = KnowledgeSearcher(
            self.database,
            lambda _: self.store,
            self.embedder,
            knowledge.embedder,
            max_wrong_direct=knowledge.max_wrong_direct,
            reranking=make_reranking(self.settings),
        )
        made.warm_up()
        return made


def ask_all(
    questions: Sequence[str | Sequence[str]],
    base: Base,
    *,
    progress: Progress,
    model: Callable[[int], LanguageModel | None] = lambda _: None,
) -> list[Asked]:
    """What comes of each question (several messages: a burst), in order.

    ``model`` gives the language model of the question with this number; by default there is none, and what
    would be asked of one is answered ``unknown``.
    """
    knowledge = base.settings.knowledge
    deep = knowledge.model_copy(update={"top_k": max(knowledge.top_k, LOOKED_AT)})
    settings, searcher = base.settings.model_copy(update={"knowledge": deep}), base.searcher()

    def answer(number: int) -> Asked:
        found = ask(questions[number], settings=settings, searcher=searcher, model=model(number))
        progress(1)
        return found

    with ThreadPoolExecutor(THREADS, thread_name_prefix="ask") as pool:
        return list(pool.map(answer, range(len(questions))))
