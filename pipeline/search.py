"""Candidates for an answer: the nearest vectors and the nearest words, one candidate a knowledge item."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sqlmodel import col, select

from pipeline.embedders import make_embedder
from ragline.batching import Batched
from ragline.clock import utcnow
from ragline.logs import get_logger
from ragline.settings import Settings
from storage import knowledge
from storage.embedder.base import Embedder, Vectors
from storage.index import LiveIndex, check_embedder, count_texts, is_complete, live_index
from storage.lexical import LexicalIndex, normalise
from storage.models import KnowledgeItem, KnowledgePhrase
from storage.session import Database
from storage.vectors import make_store
from storage.vectors.base import CollectionMissing, Hit, StoreUnavailable, VectorStore
from storage.visibility import EVERYWHERE, Scope
from storage.visible_rows import Nearest, VisibleRows, nearest_visible

#: Nearest texts taken from each side before they are joined by item.
NEAREST = 50
#: Questions of other threads that are searched for at once.
BATCH = 16
#: Questions whose nearest texts are kept until the base changes: 8 kB each.
REMEMBERED = 2000
#: Texts up to which words are compared too; beyond it the vectors alone find the candidates.
LEXICAL_LIMIT = 50_000
#: Seconds after which a change of the base is looked for.
FRESH = 1.0
log = get_logger(__name__)


@dataclass(frozen=True)
class Candidate:
    """One item with its best similarities to the question (cosines, 0 to 1; ``exact``: same words).

    The last three are of a document passage: what is cited.
    """

    id: str
    question: str | None
    answer: str
    locale: str | None
    dense: float
    stems: float
    trigrams: float
    exact: bool
    source: str | None = None
    heading: str | None = None
    page: int | None = None


class Searcher(Protocol):
    """What the retrieve step needs of the knowledge base."""

    def search(self, question: str, scope: Scope = EVERYWHERE) -> Sequence[Candidate]:
        """Candidates the scope may see now, in no particular order; empty when there are none."""
        ...

    def warm_up(self) -> None:
        """Load what the first search would load."""
        ...


@dataclass(frozen=True)
class _Text:
    id: str
    text: str
    item: KnowledgeItem
    passage: bool
    source: str | None


@dataclass(frozen=True)
class _Snapshot:
    """The base as it was at a revision."""

    revision: tuple[int, str]
    live: LiveIndex | None
    texts: list[_Text]
    rows: dict[str, int]
    #: Texts of the base, drafts and archived ones too, which the index holds all the same.
    indexed: int
    lexical: LexicalIndex | None
    visible: VisibleRows
    #: The index holds these very texts, so what it answers can be kept.
    complete: bool
    #: By question and how many were asked for.
    nearest: OrderedDict[tuple[str, int], list[Hit]] = field(default_factory=OrderedDict)

    def remember(self, asked: tuple[str, int], hits: list[Hit]) -> None:
        if self.complete:
            self.nearest[asked] = hits
            while len(self.nearest) > REMEMBERED:
                self.nearest.popitem(last=False)


class KnowledgeSearcher:
    """Searches the live index and the words of the base. Thread-safe; changes show within :data:`FRESH` seconds."""

    def __init__(
        self,
        database: Database,
        store: Callable[[str], VectorStore],
        embedder: Embedder,
        setting: str,
        *,
        first_store: str | None = None,
    ) -> None:
        """``first_store`` is where the first index will be, for :meth:`warm_up` before there is one."""
        self._database, self._store, self._embedder, self._setting = database, store, embedder, setting
        self._first_store = first_store
        self._lock = threading.Lock()
        self._dense: Batched[tuple[str, int], list[Hit]] = Batched(self._nearest, most=BATCH)
        self._snapshot: _Snapshot | None = None
        self._checked = 0.0

    def warm_up(self) -> None:
        self._embedder.encode_queries(["warm-up"])
        live = self._current().live
        if name := live.store if live else self._first_store:
            with suppress(StoreUnavailable):  # the first search will say so
                self._store(name).ping()

    def search(self, question: str, scope: Scope = EVERYWHERE) -> list[Candidate]:
        snapshot = self._current()
        if not snapshot.texts:
            return []
        seen = snapshot.visible.mask(scope, utcnow())
        dense, farthest = self._visible_nearest(question, snapshot, seen)
        stems = trigrams = np.zeros(len(snapshot.texts), dtype=np.float32)
        rows = {snapshot.rows[hit.id] for hit in dense}
        if snapshot.lexical:
            stems, trigrams = (scores * seen for scores in snapshot.lexical.scores(question))
            for scores in (stems, trigrams):
                best = np.argpartition(-scores, min(NEAREST, len(scores)) - 1)[:NEAREST]
                rows |= {int(row) for row in best if scores[row] > 0}
        near = {hit.id: hit.score for hit in dense}
        # A text that only its words brought here is at most as near as the farthest of the nearest.
        asked = normalise(question)
        found: dict[str, Candidate] = {}
        best_text: dict[str, float] = {}
        for row in rows:
            text = snapshot.texts[row]
            score = near.get(text.id, farthest)
            exact = not text.passage and normalise(text.text) == asked
            known = found.get(text.item.id)
            rank = score + float(stems[row]) + float(trigrams[row]) + exact
            closest = known is None or rank > best_text[text.item.id]
            if closest:
                best_text[text.item.id] = rank
            found[text.item.id] = Candidate(
                id=text.item.id,
                question=(None if text.passage else text.text) if closest or known is None else known.question,
                answer=text.item.answer if text.item.answer is not None else text.item.id,
                locale=text.item.locale,
                dense=max(score, known.dense if known else 0.0),
                stems=max(float(stems[row]), known.stems if known else 0.0),
                trigrams=max(float(trigrams[row]), known.trigrams if known else 0.0),
                exact=exact or bool(known and known.exact),
                source=text.source,
                heading=text.item.heading,
                page=text.item.page,
            )
        return list(found.values())

    def _visible_nearest(self, question: str, snapshot: _Snapshot, seen: NDArray[np.bool_]) -> Nearest:
        """The nearest texts of those that may be seen, by the index."""

        def fetch(k: int) -> list[Hit]:
            hits = snapshot.nearest.get((question, k))
            if hits is None:
                hits = self._dense((question, k))
                snapshot.remember((question, k), hits)
            return hits

        def keep(text: str) -> bool:
            row = snapshot.rows.get(text)
            return row is not None and bool(seen[row])

        share = float(seen.sum()) / max(snapshot.indexed, 1)
        return nearest_visible(fetch, keep, wanted=NEAREST, share=share)

    def _nearest(self, asked: Sequence[tuple[str, int]]) -> list[list[Hit]]:
        live = self._current().live
        if live is None:
            return [[] for _ in asked]
        check_embedder(live, self._embedder, self._setting)
        vectors = self._embedder.encode_queries([question for question, _ in asked])
        most = max(k for _, k in asked)
        found = self._query(live, vectors, most)
        return [hits[:k] for hits, (_, k) in zip(found, asked, strict=True)]

    def _query(self, live: LiveIndex, vectors: Vectors, k: int) -> list[list[Hit]]:
        try:
            return self._store(live.store).query(live.collection, vectors, k)
        except CollectionMissing:
            # The index was swapped a moment ago and the old collection is gone.
            newer = self._current(now=True).live
            if newer is None or newer == live:
                raise
            return self._store(newer.store).query(newer.collection, vectors, k)

    def _current(self, *, now: bool = False) -> _Snapshot:
        with self._lock:
            if self._snapshot is None or now or time.monotonic() - self._checked > FRESH:
                self._snapshot = self._read(self._snapshot)
                self._checked = time.monotonic()
            return self._snapshot

    def _read(self, old: _Snapshot | None) -> _Snapshot:
        with self._database.read() as session:
            revision, live = knowledge.revision(session), live_index(session)
            same = old is not None and (old.revision, old.live) == (revision, live)
            if old is not None and same and (old.complete or live is None):
                return old
            complete = live is not None and is_complete(session, live)
            if old is not None and old.revision == revision:
                if same and not complete:
                    return old
                return replace(old, live=live, complete=complete, nearest=OrderedDict())
            found = session.exec(
                select(KnowledgePhrase, KnowledgeItem)
                .join(KnowledgeItem, col(KnowledgeItem.id) == KnowledgePhrase.item_id)
                .where(KnowledgeItem.status == "active")
            ).all()
            sources, indexed = knowledge.document_sources(session), count_texts(session)
        texts = [
            _Text(phrase.id, phrase.text, item, passage, sources.get(item.document_id or "", item.source))
            if (passage := phrase.kind == "passage")
            else _Text(phrase.id, phrase.text, item, passage, None)
            for phrase, item in found
        ]
        if old is not None and [text.id for text in texts] == [text.id for text in old.texts]:
            lexical = old.lexical  # an edit of who sees what; a phrase that changes has another id
        else:
            lexical = LexicalIndex(text.text for text in texts) if len(texts) <= LEXICAL_LIMIT else None
        log.info("knowledge_loaded", texts=len(texts), live=live.id if live else None)
        rows = {text.id: row for row, text in enumerate(texts)}
        visible = VisibleRows([text.item for text in texts])
        return _Snapshot(revision, live, texts, rows, indexed, lexical, visible, complete)


def make_searcher(settings: Settings, database: Database, *, threads: int = 1) -> KnowledgeSearcher:
    """The searcher the settings ask for; ``threads`` are those one query's encoding may use."""
    stores: dict[str, VectorStore] = {}

    def store(name: str) -> VectorStore:
        if name not in stores:
            stores[name] = make_store(name, settings)
        return stores[name]

    name = settings.knowledge.embedder
    embedder = make_embedder(settings, name, threads=threads)
    return KnowledgeSearcher(database, store, embedder, name, first_store=settings.knowledge.store)
