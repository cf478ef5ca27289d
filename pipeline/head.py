"""The trained head: which item a question is about, learned from the base's own phrasings (:mod:`pipeline.training`).

A linear classifier on the embedding model's hidden layers, another on words and letters, and the nearest phrasings are
added as logits; a logistic model then turns what they say of the best item into the probability that it answers
(Platt scaling, https://en.wikipedia.org/wiki/Platt_scaling), fitted on phrasings and items kept from the training, and
on questions from elsewhere.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from storage.lexical import number
from storage.words import ngrams, stems

#: Version of the stored form: another one is not read, and a training is due then.
FORMAT = 2
#: Nearest phrasings of an item whose mean similarity counts: one alone may be a chance neighbour.
NEAR = 5
_BUCKETS = 1 << 18
_SIZES = (2, 3, 4, 5)

Array = NDArray[np.float32]
Points = tuple[tuple[float, float], ...]


def text_features(text: str) -> dict[int, float]:
    """Numbers of the stems, stem pairs and letter n-grams of a text, with 1 + log of how often each occurs."""
    words = stems(text)
    named = [f"w{word}" for word in words]
    named += [f"p{left} {right}" for left, right in pairwise(words)]
    named += [f"c{gram}" for gram in ngrams(text, _SIZES)]
    counts: dict[int, float] = {}
    for name in named:
        key = number(name, _BUCKETS)
        counts[key] = counts.get(key, 0.0) + 1.0
    return {key: 1 + math.log(count) for key, count in counts.items()}


def near_scores(hits: Sequence[tuple[int, float]], classes: int) -> Array:
    """The mean similarity of each class's :data:`NEAR` nearest phrasings, shape (classes,).

    ``hits``: class and cosine of the nearest phrasings, in any order; class -1 is none. A class with fewer of them is
    taken to have the rest as far away as the farthest.
    """
    floor = min((score for _, score in hits), default=0.0)
    best: dict[int, list[float]] = {}
    for label, score in sorted(hits, key=lambda hit: -hit[1]):
        kept = best.setdefault(label, [])
        if label >= 0 and len(kept) < NEAR:
            kept.append(score)
    found = np.full(classes, floor, dtype=np.float32)
    for label, kept in best.items():
        if kept:
            found[label] = (sum(kept) + floor * (NEAR - len(kept))) / NEAR
    return found


@dataclass(frozen=True)
class Evidence:
    """What is said of every class for one question, each of shape (classes,)."""

    layers: Array
    text: Array
    near: Array
    nearest: float
    words: int


@dataclass(frozen=True)
class Fusion:
    """Weights of the three kinds of evidence."""

    layers: float
    text: float
    near: float

    def logits(self, evidence: Evidence) -> Array:
        """Logits over the classes, shape (classes,)."""
        added = self.layers * evidence.layers + self.text * evidence.text + self.near * evidence.near
        return np.asarray(added, dtype=np.float32)


def answer_features(evidence: Evidence, logits: Array, best: int) -> list[float]:
    """What the confidence model sees of class ``best``: how it stands, how far the logits spread, what is nearest.

    Its lead over the second is left out: between two items that are both near a question has an answer, and its
    probability would fall with the base's size. Of a question that has none the logits of all classes lie close.
    """
    return [
        float(logits[best]),
        float(logits.std()),
        float(evidence.layers.mean()),
        evidence.nearest,
        math.log1p(min(evidence.words, 20)),
    ]


@dataclass(frozen=True)
class Head:
    """Weights and calibration. ``labels``: the items it knows; ``revision``: of the base it was trained from."""

    labels: tuple[str, ...]
    embedder: str
    weights: Array  # (features of the layers, classes)
    bias: Array
    buckets: NDArray[np.int32]  # numbers of the text features, ascending
    idf: Array
    text_weights: NDArray[np.float16]  # (buckets, classes)
    text_bias: Array
    fusion: Fusion
    answering: tuple[float, ...]
    operating_points: Points
    grounded: float

    @cached_property
    def index(self) -> dict[str, int]:
        """The class of an item."""
        return {label: i for i, label in enumerate(self.labels)}

    @cached_property
    def _place(self) -> dict[int, int]:
        return {int(bucket): i for i, bucket in enumerate(self.buckets)}

    def read(self, layers: Array) -> Array:
        """Logits of the classes by the layers of a question, shape (classes,)."""
        return np.asarray(layers @ self.weights + self.bias, dtype=np.float32)

    def evidence(self, text: str, read: Array, hits: Sequence[tuple[int, float]]) -> Evidence:
        """What the head says of a question. ``read``: of :meth:`read`; ``hits``: as for :func:`near_scores`."""
        features = text_features(text)
        held = [(self._place[key], value) for key, value in features.items() if key in self._place]
        places = np.array([place for place, _ in held], dtype=np.int64)
        values = np.array([value for _, value in held], dtype=np.float32) * self.idf[places]
        values /= max(float(np.linalg.norm(values)), 1e-9)
        return Evidence(
            layers=read,
            text=values @ self.text_weights[places].astype(np.float32) + self.text_bias,
            near=near_scores(hits, len(self.labels)),
            nearest=max((score for _, score in hits), default=0.0),
            words=len(stems(text)),
        )

    def confidence(self, evidence: Evidence, logits: Array, best: int) -> float:
        """The probability that class ``best`` answers."""
        return sigmoid(dot(self.answering, answer_features(evidence, logits, best)))

    def to_bytes(self) -> bytes:
        """The stored form: an ``.npz`` archive of arrays and a line of JSON, nothing that runs when it is read."""
        facts = {
            "format": FORMAT, "labels": self.labels, "embedder": self.embedder, "answering": self.answering,
            "fusion": [self.fusion.layers, self.fusion.text, self.fusion.near],
            "operating_points": self.operating_points, "grounded": self.grounded,
        }  # fmt: skip
        out = io.BytesIO()
        np.savez(
            out,
            facts=np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8),
            weights=self.weights.astype(np.float16),
            bias=self.bias,
            buckets=self.buckets,
            idf=self.idf,
            text_weights=self.text_weights,
            text_bias=self.text_bias,
        )
        return out.getvalue()

    @classmethod
    def from_bytes(cls, stored: bytes) -> Head:
        """The head of :meth:`to_bytes`. Raises ``ValueError`` for another version or damaged bytes."""
        try:
            with np.load(io.BytesIO(stored), allow_pickle=False) as arrays:
                facts: dict[str, Any] = json.loads(arrays["facts"].tobytes())
                if facts["format"] != FORMAT:
                    raise KeyError(f"version {facts['format']}")
                return cls(
                    labels=tuple(facts["labels"]),
                    embedder=facts["embedder"],
                    weights=arrays["weights"].astype(np.float32),
                    bias=arrays["bias"],
                    buckets=arrays["buckets"],
                    idf=arrays["idf"],
                    text_weights=arrays["text_weights"],
                    text_bias=arrays["text_bias"],
                    fusion=Fusion(*facts["fusion"]),
                    answering=tuple(facts["answering"]),
                    operating_points=tuple((float(t), float(w)) for t, w in facts["operating_points"]),
                    grounded=float(facts["grounded"]),
                )
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise ValueError(f"the stored head cannot be read ({type(error).__name__})") from error


def dot(weights: Sequence[float], features: Sequence[float]) -> float:
    """Weighted sum; the last weight is the intercept."""
    return sum(w * x for w, x in zip(weights, [*features, 1.0], strict=True))


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, value))))
