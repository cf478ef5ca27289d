"""Candidates for an answer: the nearest vectors, the nearest words and what the trained head says, by item."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pipeline.base import Base, read_base
from pipeline.confidence import Calibration, calibration, rank
from pipeline.found import Candidate, Found
from pipeline.head import Array, Head, near_scores
from ragline.batching import Batched
from ragline.logs import get_logger
from ragline.settings import Settings
from storage import heads, knowledge
from storage.embedder import make_embedder
from storage.embedder.base import Embedder, encode_layers
from storage.index import LiveIndex, check_embedder, is_complete, live_index
from storage.lexical import Features, best_rows, normalise
from storage.session import Database
from storage.vectors import make_store
from storage.vectors.base import CollectionMissing, Hit, StoreUnavailable, VectorStore

#: Nearest texts taken from each side before they are joined by item.
NEAREST = 50
#: Items taken from the words of whole items, and from the head.
FROM_WHOLE, FROM_HEAD = 20, 10
#: Questions of other threads that are searched for at once.
BATCH = 16
#: Questions whose findings are kept until the base changes: some 10 kB each.
REMEMBERED = 2000
#: Seconds after which a change of the base is looked for.
FRESH = 1.0
log = get_logger(__name__)


class Searcher(Protocol):
    """What the retrieve step needs of the knowledge base."""

    def search(self, question: str) -> Found:
        """Candidates, best first, and the probability that the first one answers; none when the base is empty."""
        ...

    def warm_up(self) -> None:
        """Load what the first search would load."""
        ...


@dataclass(frozen=True)
class _Nearest:
    """The nearest texts of a question, and what the head reads of it (None where there is no head)."""

    hits: list[Hit]
    layers: Array | None


@dataclass(frozen=True)
class _Snapshot:
    """The base as it was at a revision, and the head in use then."""

    revision: tuple[int, str]
    live: LiveIndex | None
    base: Base
    head_id: str | None
    head: Head | None
    #: The index holds these very texts, so what is found can be kept.
    complete: bool
    found: OrderedDict[str, Found] = field(default_factory=OrderedDict)

    def remember(self, question: str, found: Found) -> None:
        if self.complete:
            self.found[question] = found
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
        fitted: Calibration | None = None,
        max_wrong_direct: float = 0.02,
    ) -> None:
        """``first_store`` is where the first index will be, for :meth:`warm_up` before there is one.

        ``fitted`` defaults to the calibration in the package; ``max_wrong_direct``: the share of direct answers that
        may be wrong, which the thresholds follow from.
        """
        self._database, self._store, self._embedder, self._setting = database, store, embedder, setting
        self._first_store = first_store
        self._fitted, self._max_wrong_direct = fitted or calibration(), max_wrong_direct
        self._lock = threading.Lock()
        self._near: Batched[str, _Nearest] = Batched(self._nearest, most=BATCH)
        self._snapshot: _Snapshot | None = None
        self._checked = 0.0

    def warm_up(self) -> None:
        encode_layers(self._embedder, ["warm-up"])
        live = self._current().live
        if name := live.store if live else self._first_store:
            with suppress(StoreUnavailable):  # the first search will say so
                self._store(name).ping()

    def search(self, question: str) -> Found:
        snapshot = self._current()
        if not snapshot.base.texts:
            return Found()
        known = snapshot.found.get(question)
        if known is None:
            meant = snapshot.base.slips.read(question)
            candidates, near = self._candidates(snapshot, meant)
            known = rank(
                meant,
                candidates,
                fitted=self._fitted,
                head=snapshot.head,
                hits=near[0],
                layers=near[1],
                max_wrong_direct=self._max_wrong_direct,
            )
            snapshot.remember(question, known)
        return known

    def look(self, question: str) -> tuple[str, list[Candidate]]:
        """The question as it was meant, and its candidates as they are, for fitting."""
        snapshot = self._current()
        meant = snapshot.base.slips.read(question)
        return meant, self._candidates(snapshot, meant)[0]

    def _candidates(
        self, snapshot: _Snapshot, question: str
    ) -> tuple[list[Candidate], tuple[list[tuple[str, float]], Array | None]]:
        """Every item that is near in some way, and the nearest texts by item with what the head reads."""
        base = snapshot.base
        near = self._near(question)
        features = Features.of(question)
        hits = [(base.texts[base.rows[hit.id]].item.id, hit.score) for hit in near.hits if hit.id in base.rows]
        dense = {base.rows[hit.id]: hit.score for hit in near.hits if hit.id in base.rows}
        # A text that only its words brought here is at most as near as the farthest of the nearest.
        farthest = min(dense.values(), default=0.0) if len(dense) >= NEAREST else 0.0
        stems, letters = base.phrases.scores(features)
        whole_stems, whole_letters = base.items.scores(features)
        part_stems, part_letters = base.parts.scores(features)
        chosen = {base.texts[row].item_row for row in dense}
        for scores in (stems, letters):
            chosen |= {base.texts[row].item_row for row in best_rows(scores, NEAREST)}
        for scores in (whole_stems, whole_letters):
            chosen |= set(best_rows(scores, FROM_WHOLE))
        if snapshot.head is not None and near.layers is not None:
            logits = near.layers @ snapshot.head.weights + snapshot.head.bias
            for best in np.argsort(-logits)[:FROM_HEAD]:
                if (row := base.item_rows.get(snapshot.head.labels[int(best)])) is not None:
                    chosen.add(row)
        ids = [base.whole[row].id for row in chosen]
        places = {item_id: i for i, item_id in enumerate(ids)}
        means = near_scores([(places.get(item, -1), score) for item, score in hits], len(ids))
        asked = normalise(question)
        found = []
        for item_row, mean in zip(chosen, means.tolist(), strict=True):
            item, (first, last) = base.whole[item_row], base.spans[item_row]
            own = slice(first, last)
            part = slice(*base.part_spans[item_row])
            cosines = [dense.get(row, farthest) for row in range(first, last)]
            ranks = np.asarray(cosines, dtype=np.float32) + stems[own] + letters[own]
            text = base.texts[first + int(np.argmax(ranks))]
            found.append(
                Candidate(
                    id=item.id,
                    question=None if text.passage else text.text,
                    answer=item.answer if item.answer is not None else item.id,
                    locale=item.locale,
                    dense=max(cosines),
                    near=float(mean),
                    stems=float(stems[own].max()),
                    letters=float(letters[own].max()),
                    whole_stems=float(whole_stems[item_row]),
                    whole_letters=float(whole_letters[item_row]),
                    part_stems=float(part_stems[part].max(initial=0.0)),
                    part_letters=float(part_letters[part].max(initial=0.0)),
                    exact=any(not one.passage and one.normal == asked for one in base.texts[own]),
                    passage=text.passage,
                    known=base.phrases.known(features),
                )
            )
        return found, (hits, near.layers)

    def _nearest(self, questions: Sequence[str]) -> list[_Nearest]:
        snapshot = self._current()
        live = snapshot.live
        if live is None:
            return [_Nearest([], None) for _ in questions]
        check_embedder(live, self._embedder, self._setting)
        layers: Sequence[Array | None]
        if snapshot.head is None:
            vectors, layers = self._embedder.encode_queries(questions), [None] * len(questions)
        else:
            vectors, read = encode_layers(self._embedder, questions)
            layers = list(read)
        try:
            hits = self._store(live.store).query(live.collection, vectors, NEAREST)
        except CollectionMissing:
            # The index was swapped a moment ago and the old collection is gone.
            newer = self._current(now=True).live
            if newer is None or newer == live:
                raise
            hits = self._store(newer.store).query(newer.collection, vectors, NEAREST)
        return [_Nearest(own, row) for own, row in zip(hits, layers, strict=True)]

    def _current(self, *, now: bool = False) -> _Snapshot:
        with self._lock:
            if self._snapshot is None or now or time.monotonic() - self._checked > FRESH:
                self._snapshot = self._read(self._snapshot)
                self._checked = time.monotonic()
            return self._snapshot

    def _read(self, old: _Snapshot | None) -> _Snapshot:
        with self._database.read() as session:
            revision, live = knowledge.revision(session), live_index(session)
            head_id = heads.newest(session, self._embedder.name)
            same = old is not None and (old.revision, old.live, old.head_id) == (revision, live, head_id)
            if old is not None and same and (old.complete or live is None):
                return old
            complete = live is not None and is_complete(session, live)
            if old is not None and same and not complete:
                return old
            head = old.head if old is not None else None
            if head_id is not None and (old is None or old.head_id != head_id):
                head = self._read_head(heads.read(session, head_id), head)
            if old is not None and old.revision == revision:
                base = old.base
            else:
                base = read_base(session, old.base if old is not None else None)
                log.info("knowledge_loaded", texts=len(base.texts), live=live.id if live else None)
        return _Snapshot(revision, live, base, head_id, head, complete)

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

    name = settings.knowledge.embedder
    embedder = make_embedder(name, threads=threads)
    return KnowledgeSearcher(
        database,
        store,
        embedder,
        name,
        first_store=settings.knowledge.store,
        max_wrong_direct=settings.knowledge.max_wrong_direct,
    )
