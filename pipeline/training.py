"""Trains the head (:mod:`pipeline.head`) from the phrasings of the base, and calibrates it without labelled questions.

For calibration phrasings are kept from the training and asked as questions the base answers, and whole items are kept
from it and their phrasings asked as questions it cannot answer; so are those of ``elsewhere.txt``, which are about
anything but a company's business. What is true of those is what the confidence promises.
"""

from __future__ import annotations

import hashlib
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sqlmodel import Session

from pipeline.embedders import embedder_in_use
from pipeline.encoded import Encoded
from pipeline.fitting import Array, Labels, fit_choice, fit_classifier, fit_logistic
from pipeline.head import (
    FORMAT,
    NEAR,
    Evidence,
    Fusion,
    Head,
    Points,
    answer_features,
    dot,
    sigmoid,
    text_features,
)
from ragline.logs import get_logger
from ragline.settings import Settings
from storage import heads, knowledge
from storage.embedder.base import Embedder
from storage.session import Database

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: An item with fewer phrasings is found by nearness and words, not learned.
PHRASINGS = 5
#: Fewer such items teach nothing; more of them, or more rows, take minutes.
FEWEST_ITEMS, MOST_ITEMS, MOST_ROWS = 5, 1000, 30_000
#: Weights of text features kept, two bytes each.
MOST_WEIGHTS = 10_000_000
#: Share of phrasings and of items kept out in each of the folds.
FOLDS, KEPT_OUT = 2, 0.15
#: The share of questions taken to have no answer in the base and yet to be as near to it as an item kept out is; as
#: many more are taken to be about something else altogether.
UNANSWERABLE = 0.12
#: A question from elsewhere may be answered by the base after all if it is nearer to a phrasing than a share of
#: the base's own phrasings is to any other: models differ in what cosine that is. And how many phrasings are asked.
ANSWERED_AFTER_ALL, SAMPLED = 0.25, 500
#: Nearest phrasings looked at, as in a search.
NEAREST = 50
BATCH = 512
log = get_logger(__name__)


@dataclass(frozen=True)
class Rows:
    """Phrasings ready for training, row by row: ``vectors`` (n, dimensions), ``layers`` (n, features), ``labels`` (n,).

    ``features``: those of :func:`~pipeline.head.text_features`, a sparse matrix (n, buckets): dictionaries take
    ten times the memory.
    """

    texts: Sequence[str]
    features: csr_matrix
    vectors: Array
    layers: Array
    labels: Labels
    names: tuple[str, ...]

    def take(self, chosen: NDArray[np.bool_]) -> Rows:
        """The chosen rows, classes numbered anew without gaps."""
        held = np.flatnonzero(chosen)
        places = held.tolist()
        present, labels = np.unique(self.labels[held], return_inverse=True)
        names = tuple(self.names[i] for i in present)
        return Rows(
            [self.texts[row] for row in places],
            self.features[held],
            self.vectors[held],
            self.layers[held],
            labels.astype(np.int64),
            names,
        )


def choose(phrasings: Sequence[tuple[str, str]], *, seed: int = 0) -> list[tuple[str, str]]:
    """The (item, phrasing) pairs to learn from, within the limits above; empty when there is too little to learn."""
    counts = Counter(item for item, _ in phrasings)
    rich = [item for item, count in counts.most_common(MOST_ITEMS) if count >= PHRASINGS]
    if len(rich) < FEWEST_ITEMS:
        return []
    each = max(PHRASINGS, MOST_ROWS // len(rich))
    dice, by_item = np.random.default_rng(seed), defaultdict(list)
    for item, text in phrasings:
        by_item[item].append(text)
    chosen: list[tuple[str, str]] = []
    for item in sorted(rich):
        texts = sorted(by_item[item])
        if len(texts) > each:
            texts = [texts[i] for i in sorted(dice.choice(len(texts), each, replace=False))]
        chosen += [(item, text) for text in texts]
    return chosen


def train(rows: Rows, elsewhere: Rows, embedder: str) -> Head:
    """A head trained from ``rows`` and calibrated on what its folds kept out, and on questions from ``elsewhere``."""
    dice = np.random.default_rng(0)
    far = elsewhere.take((elsewhere.vectors @ rows.vectors.T).max(axis=1) < _nearness(rows.vectors))
    tried = [_try(rows, *split, far) for split in _splits(rows.labels, dice)]
    fusion = _fit_fusion(tried)
    answering, points, grounded = _calibrate(tried, fusion)
    return _fit(rows, embedder, fusion, answering, points, grounded)


def _nearness(vectors: Array) -> float:
    """The cosine to their nearest other that all but a share of the phrasings reach."""
    sample = vectors[:: max(1, len(vectors) // SAMPLED)]
    cosines = np.partition(sample @ vectors.T, -2, axis=1)[:, -2]
    return float(np.quantile(cosines, ANSWERED_AFTER_ALL))


def _fit(
    rows: Rows,
    embedder: str,
    fusion: Fusion,
    answering: tuple[float, ...] = (),
    points: Points = ((1.0, 0.0),),
    grounded: float = 1.0,
) -> Head:
    weights, bias = fit_classifier(rows.layers, rows.labels, len(rows.names))
    buckets, idf, text_weights, text_bias = _fit_text(rows.features, rows.labels, len(rows.names))
    return Head(
        labels=rows.names,
        embedder=embedder,
        weights=weights,
        bias=bias,
        buckets=buckets,
        idf=idf,
        text_weights=text_weights,
        text_bias=text_bias,
        fusion=fusion,
        answering=answering,
        operating_points=points,
        grounded=grounded,
    )


def count_features(texts: Sequence[str]) -> csr_matrix:
    """The text features of each text, one row a text."""
    from scipy.sparse import csr_matrix

    columns, values, starts = array("i"), array("f"), [0]
    for text in texts:
        found = text_features(text)
        columns.extend(found.keys())
        values.extend(found.values())
        starts.append(len(columns))
    held = (np.frombuffer(values, np.float32), np.frombuffer(columns, np.int32), np.array(starts, np.int32))
    return csr_matrix(held, shape=(len(texts), 1 + max(columns, default=0)))


def _fit_text(
    found: csr_matrix, labels: Labels, classes: int
) -> tuple[NDArray[np.int32], Array, NDArray[np.float16], Array]:
    """A linear support vector classifier on tf-idf: bucket numbers, their idf, weights (buckets, classes), bias."""
    from sklearn.preprocessing import normalize
    from sklearn.svm import LinearSVC

    count = found.shape[0]
    spread = np.bincount(found.indices, minlength=found.shape[1])
    buckets = np.flatnonzero(spread >= (2 if count > 1000 else 1)).astype(np.int32)
    idf = np.log((1 + count) / (1 + spread[buckets])).astype(np.float32) + 1
    matrix = found[:, buckets].astype(np.float64)
    matrix.data *= idf[matrix.indices]
    model = LinearSVC(C=0.5, tol=1e-2, max_iter=100, random_state=0).fit(normalize(matrix, copy=False), labels)
    weights, bias = model.coef_, model.intercept_
    if classes == 2:  # scikit-learn keeps one row for two classes
        weights, bias = np.vstack([-weights, weights]), np.concatenate([-bias, bias])
    # A head must stay small enough to be read by every worker: features that weigh least go.
    kept = np.sort(np.argsort(-np.abs(weights).max(axis=0))[: MOST_WEIGHTS // classes])
    return buckets[kept], idf[kept], weights.T[kept].astype(np.float16), bias.astype(np.float32)


def _splits(labels: Labels, dice: np.random.Generator) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """For each fold: the rows of items kept out as a whole, and the other rows kept out."""
    classes = int(labels.max()) + 1
    order = dice.permutation(classes)
    share = max(1, round(classes * KEPT_OUT))
    splits = []
    for fold in range(FOLDS):
        unknown = np.isin(labels, order[fold * share : (fold + 1) * share])
        asked = np.zeros(len(labels), dtype=bool)
        for label in range(classes):
            own = dice.permutation(np.flatnonzero(labels == label))
            asked[own[: max(1, round(len(own) * KEPT_OUT))]] = True
        splits.append((unknown, asked & ~unknown))
    return splits


@dataclass(frozen=True)
class _Tried:
    """What a fold's head says of a question, and the class that is right (-1: none)."""

    evidence: Evidence
    label: int
    far: bool


def _try(rows: Rows, unknown: NDArray[np.bool_], asked: NDArray[np.bool_], far: Rows) -> list[_Tried]:
    kept = rows.take(~unknown & ~asked)
    head = _fit(kept, "", Fusion(1, 1, 1))
    near = rows.take(unknown | asked)
    labels = [head.index.get(near.names[label], -1) for label in near.labels]
    tried = [_Tried(found, label, far=False) for found, label in zip(_ask(head, kept, near), labels, strict=True)]
    return tried + [_Tried(found, -1, far=True) for found in _ask(head, kept, far)]


def _ask(head: Head, kept: Rows, questions: Rows) -> list[Evidence]:
    """What a head that was trained from ``kept`` says of each question."""
    found: list[Evidence] = []
    for start in range(0, len(questions.texts), BATCH):
        cosines = questions.vectors[start : start + BATCH] @ kept.vectors.T
        most = min(NEAREST, cosines.shape[1])
        nearest = np.argpartition(-cosines, most - 1, axis=1)[:, :most]
        for i, own in enumerate(nearest):
            hits = [(int(kept.labels[j]), float(cosines[i, j])) for j in own]
            found.append(head.evidence(questions.texts[start + i], head.read(questions.layers[start + i]), hits))
    return found


def _fit_fusion(folds: Sequence[Sequence[_Tried]]) -> Fusion:
    """The weights under which the right classes of the kept phrasings are likeliest, averaged over the folds."""
    found = []
    for fold in folds:
        asked = [one for one in fold if one.label >= 0]
        parts = [
            np.stack([one.evidence.layers for one in asked]).astype(np.float64),
            np.stack([one.evidence.text for one in asked]).astype(np.float64),
            np.stack([NEAR * one.evidence.near for one in asked]).astype(np.float64),
        ]
        found.append(fit_choice(parts, np.array([one.label for one in asked])))
    layers, text, near = (max(float(value), 0.0) for value in np.mean(found, axis=0))
    return Fusion(layers, text, NEAR * near)


def _calibrate(folds: Sequence[Sequence[_Tried]], fusion: Fusion) -> tuple[tuple[float, ...], Points, float]:
    """The confidence model, (threshold, wrong-direct rate) pairs, and the threshold for grounded answers."""
    tried = [one for fold in folds for one in fold]
    logits = [fusion.logits(one.evidence) for one in tried]
    best = [int(np.argmax(own)) for own in logits]
    right = [first == one.label for first, one in zip(best, tried, strict=True)]
    features = [answer_features(one.evidence, own, first) for one, own, first in zip(tried, logits, best, strict=True)]
    # What tells the answerable from the others is learned from as many of each, the probability from their true shares.
    slopes = fit_logistic(features, right, _weigh(tried, 0.5, apart=False))
    weights = _weigh(tried, UNANSWERABLE, apart=True)
    scale, shift = fit_logistic([[dot(slopes, own)] for own in features], right, weights)
    answering = (*(scale * slope for slope in slopes[:-1]), scale * slopes[-1] + shift)
    confidence = np.array([sigmoid(dot(answering, own)) for own in features])
    return answering, operating_points(confidence, np.array(right), np.array(weights)), 0.3


def _weigh(tried: Sequence[_Tried], unanswerable: float, *, apart: bool) -> list[float]:
    """A weight for each question, under which those without an answer have this share beside those with one; ``apart``:
    the near ones and the far ones have it each."""
    kinds = [None if one.label >= 0 else apart and one.far for one in tried]
    counts = Counter(kinds)
    odds = unanswerable / (1 - unanswerable)
    return [1.0 if kind is None else odds * counts[None] / counts[kind] for kind in kinds]


def operating_points(confidence: NDArray[np.float64], right: NDArray[np.bool_], weights: NDArray[np.float64]) -> Points:
    """For thresholds from 0.3 to 0.999 the share of answers at or above them that are wrong."""
    points = []
    for threshold in np.round(np.concatenate([np.arange(0.3, 0.99, 0.01), np.arange(0.99, 0.9995, 0.001)]), 3):
        above = confidence >= threshold
        mass = float(weights[above].sum())
        points.append((float(threshold), float(weights[above & ~right].sum()) / mass if mass else 0.0))
    return tuple(points)


def _revision(session: Session) -> str:
    """Of all that a head is made from: another form, or other questions from elsewhere, make a new one due."""
    parts = [str(FORMAT), *elsewhere(), knowledge.fingerprint(session)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def elsewhere() -> list[str]:
    """Questions, Russian and English, that hardly any company's base answers."""
    return files("pipeline").joinpath("elsewhere.txt").read_text(encoding="utf-8").splitlines()


def bring_up_to_date(database: Database, embedder: Embedder, encoded: Encoded | None = None) -> Head | None:
    """Train a head unless the stored one is of this base and this model; returns a new one, None where none is due.

    The old head serves until the new one is stored. Safe to run twice at once: the later one stays.
    ``encoded`` remembers what the training before has encoded.
    """
    with database.read() as session:
        revision = _revision(session)
        if heads.is_current(session, revision, embedder.name):
            return None
        phrasings = knowledge.phrasings(session)
    chosen = choose(phrasings)
    began = time.perf_counter()
    if not chosen:
        heads.put(database, revision, embedder.name, b"")
        log.info("head_not_trained", phrasings=len(phrasings), reason="too few items with enough phrasings")
        return None
    items, texts, far = [item for item, _ in chosen], [text for _, text in chosen], elsewhere()
    names = tuple(dict.fromkeys(items))
    number = {name: i for i, name in enumerate(names)}
    vectors, layers = (encoded or Encoded()).encode(embedder, [*texts, *far])
    half, own = time.perf_counter(), len(texts)
    labels = np.array([number[item] for item in items], dtype=np.int64)
    rows = Rows(texts, count_features(texts), vectors[:own], layers[:own], labels, names)
    none = np.zeros(len(far), dtype=np.int64)
    head = train(rows, Rows(far, count_features(far), vectors[own:], layers[own:], none, ("",)), embedder.name)
    stored = head.to_bytes()
    heads.put(database, revision, embedder.name, stored)
    log.info(
        "head_trained",
        items=len(names),
        phrasings=len(texts),
        seconds_encoding=round(half - began, 1),
        seconds_training=round(time.perf_counter() - half, 1),
        bytes=len(stored),
    )
    return head


def train_configured(settings: Settings, database: Database, encoded: Encoded) -> None:
    """:func:`bring_up_to_date` with the model in use, on one core: the others answer meanwhile."""
    bring_up_to_date(database, embedder_in_use(settings, database, threads=1), encoded)
