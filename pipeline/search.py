"""Candidates for an answer: the nearest vectors, the nearest words and what the trained head says, by item."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sqlmodel import Session

from pipeline.base import Base, read_base
from pipeline.confidence import Calibration, calibration, rank, thresholds_for
from pipeline.embedders import open_embedder
from pipeline.found import Candidate, Found, Thresholds
from pipeline.head import Array, Head, near_scores
from pipeline.index_models import IndexModels
from pipeline.reranking import Reranking, make_reranking
from ragline.batching import Batched
from ragline.clock import utcnow
from ragline.logs import get_logger
from ragline.settings import Settings
from storage import heads, knowledge
from storage.embedder.base import Embedder, encode_layers
from storage.index import LiveIndex, coming_index, count_texts, is_complete, live_index
from storage.lexical import Question, best_rows
from storage.session import Database
from storage.vectors import make_store
from storage.vectors.base import CollectionMissing, Hit, StoreUnavailable, VectorStore
from storage.visibility import EVERYWHERE, Scope
from storage.visible_rows import Nearest, VisibleRows, nearest_visible
from storage.words import normalise

#: Nearest texts asked of the store, before they are joined by item.
NEAREST = 50
#: Items taken from each kind of words, and from the head.
FROM_WORDS, FROM_HEAD = 25, 10
_UNWEIGHED = [0.0] * 7
#: Questions of other threads that are searched for at once.
BATCH = 16
#: Questions whose findings are kept until the base changes: some 10 kB each.
REMEMBERED = 2000
#: Seconds after which a change of the base is looked for.
FRESH = 1.0
log = get_logger(__name__)


class Searcher(Protocol):
    """What the retrieve step needs of the knowledge base."""

    def search(self, question: str, scope: Scope = EVERYWHERE) -> Found:
        """Candidates the scope may see now, best first, and the probability that the first one answers."""
        ...

    def warm_up(self) -> None:
        """Load what the first search would load."""
        ...


#: Which items a scope may see now: one boolean an item.
Seen = NDArray[np.bool_]


@dataclass(frozen=True)
class _Nearest:
    """The nearest texts of a question by a model, and what the head reads of it (None where there is no head)."""

    hits: list[Hit]
    layers: Array | None
    model: str


class _OtherModel(Exception):
    """The index was swapped for one of another model between two looks at it."""


@dataclass(frozen=True)
class _Snapshot:
    """The base as it was at a revision, and the head in use then."""

    revision: tuple[int, str]
    live: LiveIndex | None
    #: The model of the live index.
    embedder: Embedder
    base: Base
    #: Of documents, by id: what is cited.
    sources: dict[str, str]
    #: Texts of the base, drafts and archived ones too, which the index holds all the same.
    indexed: int
    visible: VisibleRows
    head_id: str | None
    head: Head | None
    #: The index holds these very texts, so what is found can be kept.
    complete: bool
    #: The head knows every item, so nothing else has to be weighed.
    covered: bool
    #: By question, scope, and the time between two validity dates.
    found: OrderedDict[tuple[str, Scope, int], Found] = field(default_factory=OrderedDict)

    def remember(self, asked: tuple[str, Scope, int], found: Found) -> None:
        if self.complete:
            self.found[asked] = found
            while len(self.found) > REMEMBERED:
                with suppress(KeyError):  # another thread was faster
                    self.found.popitem(last=False)


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
        load: Callable[[LiveIndex], Embedder] | None = None,
        fitted: Calibration | None = None,
        max_wrong_direct: float = 0.02,
        reranking: Reranking | None = None,
    ) -> None:
        """``first_store`` is where the first index will be, for :meth:`warm_up` before there is one.

        ``load`` opens the model of an index that ``embedder`` did not make; without it such an index is an error.
        ``fitted`` defaults to the calibration in the package; ``max_wrong_direct``: the share of direct answers that
        may be wrong, which the thresholds follow from. ``reranking`` reads the best candidates anew.
        """
        self._database, self._store, self._first = database, store, embedder
        self._models = IndexModels(embedder, load or (lambda _: embedder), setting)
        self._first_store = first_store
        self._fitted, self._max_wrong_direct = fitted or calibration(), max_wrong_direct
        self._reranking = reranking
        self._lock = threading.Lock()
        self._near: Batched[tuple[str, int], _Nearest] = Batched(self._nearest, most=BATCH)
        self._snapshot: _Snapshot | None = None
        self._checked = 0.0

    def warm_up(self) -> None:
        snapshot = self._current()
        encode_layers(snapshot.embedder, ["warm-up"])
        if self._reranking is not None:
            self._reranking.warm_up()
        live = snapshot.live
        if name := live.store if live else self._first_store:
            with suppress(StoreUnavailable):  # the first search will say so
                self._store(name).ping()

    def search(self, question: str, scope: Scope = EVERYWHERE) -> Found:
        while True:
            try:
                return self._search(question, scope, self._current())
            except _OtherModel:
                log.info("search_repeated", reason="the index is of another model now")

    def _search(self, question: str, scope: Scope, snapshot: _Snapshot) -> Found:
        now = utcnow()
        if not snapshot.base.texts:
            return Found()
        asked = question, scope, snapshot.visible.era(now)
        known = snapshot.found.get(asked)
        if known is None:
            meant = snapshot.base.slips.read(question)
            candidates, hits, read = self._candidates(snapshot, meant, snapshot.visible.mask(scope, now))
            known = rank(
                meant,
                candidates,
                fitted=self._fitted,
                head=snapshot.head,
                hits=hits,
                read=read,
                max_wrong_direct=self._max_wrong_direct,
            )
            if self._reranking is not None and known.ranked:
                known = self._rerank(self._reranking, snapshot.head, meant, known)
            snapshot.remember(asked, known)
        return known

    def _rerank(self, reranking: Reranking, head: Head | None, question: str, found: Found) -> Found:
        """``found`` with its best candidates in the model's order, and the thresholds of what is first then.

        They are not below those of what was first before, so that nothing is sent which would not have been.
        """
        ranked = reranking(question, found.ranked)
        first, confidence = ranked[0]
        limits = thresholds_for(
            question, first, fitted=self._fitted, head=head, max_wrong_direct=self._max_wrong_direct
        )
        before = found.thresholds
        higher = Thresholds(max(before.direct, limits.direct), max(before.grounded, limits.grounded))
        return Found(ranked, confidence, higher)

    def look(self, question: str) -> tuple[str, list[Candidate]]:
        """The question as it was meant, and its candidates as they are, for fitting."""
        snapshot = self._current()
        meant = snapshot.base.slips.read(question)
        return meant, self._candidates(snapshot, meant, snapshot.visible.mask(EVERYWHERE, utcnow()))[0]

    def _candidates(
        self, snapshot: _Snapshot, question: str, seen: Seen
    ) -> tuple[list[Candidate], list[tuple[str, float]], Array | None]:
        """Every item that is near in some way, the nearest texts by item, and what the head reads of the layers."""
        base = snapshot.base
        near, layers = self._visible_nearest(question, snapshot, seen)
        rows = [(base.rows[hit.id], hit.score) for hit in near.hits]
        hits = [(base.texts[row].item.id, score) for row, score in rows]
        dense: dict[int, tuple[float, int]] = {}  # by item: its best cosine, and the text that has it
        for row, score in rows:
            dense.setdefault(base.owners[row], (score, row))
        # Where the head knows every item, it has weighed the words itself.
        features = None if snapshot.covered else Question.of(question)
        words = [] if features is None else base.similarities(features)
        if not seen.all():
            words = [scores * seen for scores in words]
        same = [row for row in base.exact.get(normalise(question), ()) if seen[row]]
        chosen = set(dense).union(same, *(best_rows(scores, FROM_WORDS) for scores in words[:4]))
        read = None
        if snapshot.head is not None and layers is not None:
            read = snapshot.head.read(layers)
            ordered = (base.item_rows.get(snapshot.head.labels[int(label)]) for label in np.argsort(-read))
            chosen.update(islice((row for row in ordered if row is not None and seen[row]), FROM_HEAD))
        order = sorted(chosen)
        places = {base.whole[row].id: i for i, row in enumerate(order)}
        means = near_scores([(places.get(item, -1), score) for item, score in hits], len(order))
        chosen_rows = np.array(order, dtype=np.intp)
        similar = (
            np.stack([scores[chosen_rows] for scores in words], axis=1).tolist() if words else [_UNWEIGHED] * len(order)
        )
        known = 0.0 if features is None else base.phrases.known(features)
        found = []
        for item_row, mean, own in zip(order, means.tolist(), similar, strict=True):
            item = base.whole[item_row]
            # An item that only its words brought here is at most as near as what was not fetched.
            cosine, row = dense.get(item_row, (near.floor, base.spans[item_row][0]))
            text = base.texts[row]
            found.append(
                Candidate(
                    id=item.id,
                    question=None if text.passage else text.text,
                    answer=item.answer if item.answer is not None else item.id,
                    locale=item.locale,
                    dense=cosine,
                    near=mean,
                    stems=own[0],
                    letters=own[1],
                    whole_stems=own[2],
                    whole_letters=own[3],
                    part_stems=own[4],
                    part_letters=own[5],
                    unlisted=own[6],
                    exact=item_row in same,
                    passage=text.passage,
                    known=known,
                    source=snapshot.sources.get(item.document_id or "", item.source) if text.passage else None,
                    heading=item.heading,
                    page=item.page,
                )
            )
        return found, hits, read

    def _visible_nearest(self, question: str, snapshot: _Snapshot, seen: Seen) -> tuple[Nearest, Array | None]:
        """The nearest texts of those that may be seen, by the index, and what the head reads of the question."""
        base, layers = snapshot.base, None

        def fetch(k: int) -> list[Hit]:
            nonlocal layers
            near = self._near((question, k))
            if near.model != snapshot.embedder.name:
                raise _OtherModel
            layers = near.layers
            return near.hits

        def keep(text: str) -> bool:
            row = base.rows.get(text)
            return row is not None and bool(seen[base.owners[row]])

        share = base.count_texts(seen) / max(snapshot.indexed, 1)
        near = nearest_visible(fetch, keep, wanted=NEAREST, share=share)
        return near, layers

    def _nearest(self, asked: Sequence[tuple[str, int]]) -> list[_Nearest]:
        snapshot = self._current()
        try:
            return self._ask(snapshot, asked)
        except CollectionMissing:
            # The index was swapped and the old collection is gone: now its model has to be waited for.
            newer = self._current(now=True)
            if newer.live is None or newer.live == snapshot.live:
                raise
            return self._ask(newer, asked)

    def _ask(self, snapshot: _Snapshot, asked: Sequence[tuple[str, int]]) -> list[_Nearest]:
        live, embedder, questions = snapshot.live, snapshot.embedder, [question for question, _ in asked]
        if live is None:
            return [_Nearest([], None, embedder.name) for _ in questions]
        layers: Sequence[Array | None]
        if snapshot.head is None:
            vectors, layers = embedder.encode_queries(questions), [None] * len(questions)
        else:
            vectors, read = encode_layers(embedder, questions)
            layers = list(read)
        found = self._store(live.store).query(live.collection, vectors, max(k for _, k in asked))
        return [_Nearest(hits[:k], row, embedder.name) for hits, (_, k), row in zip(found, asked, layers, strict=True)]

    def _current(self, *, now: bool = False) -> _Snapshot:
        """The base as it was at most :data:`FRESH` seconds ago; ``now``: as it is, if its model must be waited for."""
        known = self._snapshot
        if known is not None and not now and time.monotonic() - self._checked <= FRESH:
            return known
        # One thread reads what is new; the others answer from what they know meanwhile, if that is anything.
        nothing = known is None or not known.complete or not known.base.texts
        if not self._lock.acquire(blocking=nothing or now) and known is not None:
            return known
        try:
            if self._snapshot is None or now or time.monotonic() - self._checked > FRESH:
                self._snapshot = self._read(self._snapshot, wait=now)
                self._checked = time.monotonic()
            return self._snapshot
        finally:
            self._lock.release()

    def _in_use(self, session: Session, old: _Snapshot | None, *, wait: bool) -> tuple[LiveIndex | None, Embedder]:
        """The live index and its model; the ones before while the model of a new one is being loaded."""
        live, coming = live_index(session), coming_index(session)
        if live is None:
            return None, self._first
        if coming is not None:
            self._models.get(coming)  # it is ready then when the index is
        embedder = self._models.get(live)
        if embedder is None:
            if old is not None and old.live is not None and not wait:
                return old.live, old.embedder
            embedder = self._models.wait(live)
        if old is not None and old.embedder is not embedder:
            self._models.keep({found.embedder for found in (live, coming) if found})
        return live, embedder

    def _read(self, old: _Snapshot | None, *, wait: bool) -> _Snapshot:
        with self._database.read() as session:
            revision, (live, embedder) = knowledge.revision(session), self._in_use(session, old, wait=wait)
            head_id = heads.newest(session, embedder.name)
            same = old is not None and (old.revision, old.live, old.head_id) == (revision, live, head_id)
            if old is not None and same and (old.complete or live is None):
                return old
            complete = live is not None and is_complete(session, live)
            if old is not None and same and not complete:
                return old
            head = old.head if old is not None and old.embedder is embedder else None
            if head_id is not None and (old is None or old.head_id != head_id):
                head = self._read_head(heads.read(session, head_id), head)
            if old is not None and old.revision == revision:
                changed = replace(old, found=OrderedDict())
            else:
                changed = self._read_base(session, revision, embedder, old)
        covered = head is not None and all(item.id in head.index for item in changed.base.whole)
        return replace(
            changed, live=live, embedder=embedder, head_id=head_id, head=head, complete=complete, covered=covered
        )

    def _read_base(
        self, session: Session, revision: tuple[int, str], embedder: Embedder, old: _Snapshot | None
    ) -> _Snapshot:
        """The base as it is now, without an index and a head."""
        base = read_base(session, old.base if old is not None else None)
        log.info("knowledge_loaded", texts=len(base.texts))
        return _Snapshot(
            revision=revision,
            live=None,
            embedder=embedder,
            base=base,
            sources=knowledge.document_sources(session),
            indexed=count_texts(session),
            visible=VisibleRows(base.whole),
            head_id=None,
            head=None,
            complete=False,
            covered=False,
        )

    def _read_head(self, stored: bytes | None, old: Head | None) -> Head | None:
        """The stored head; the old one where it is gone again or cannot be read, None where it is empty."""
        if stored is None:
            return old
        if not stored:
            return None
        try:
            head = Head.from_bytes(stored)
        except ValueError as error:
            log.warning("head_not_read", error=str(error))
            return old
        log.info("head_loaded", items=len(head.labels), bytes=len(stored))
        return head


def make_searcher(settings: Settings, database: Database, *, threads: int = 1) -> KnowledgeSearcher:
    """The searcher the settings ask for; ``threads`` are those one query's encoding may use."""
    stores: dict[str, VectorStore] = {}

    def store(name: str) -> VectorStore:
        if name not in stores:
            stores[name] = make_store(name, settings)
        return stores[name]

    with database.read() as session:
        live = live_index(session)
    load = partial(open_embedder, settings, threads=threads)
    return KnowledgeSearcher(
        database,
        store,
        load(live),
        settings.knowledge.embedder,
        first_store=settings.knowledge.store,
        load=load,
        max_wrong_direct=settings.knowledge.max_wrong_direct,
        reranking=make_reranking(settings),
    )
