"""Words and letters of a base that fits into memory, compared with a question from inverted lists.

Stems (Snowball, Russian and English) carry morphology, English glosses of Russian words carry synonyms, letter n-grams
carry typing slips, answers carry what the phrasings of a question leave out.
Scores are tf-idf cosines (https://nlp.stanford.edu/IR-book/html/htmledition/dot-products-1.html) and, for whole items,
BM25 as a share of the most a text could reach (https://www.nowpublishers.com/article/Details/INR-019).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from storage.gloss import glossary
from storage.words import ngrams, stem, stems

#: Features are numbered by a hash: no vocabulary has to be kept, and one in a thousand shares its number.
BUCKETS = 1 << 20
#: From so many texts on, a feature found in more than one of ``COMMON`` texts tells nothing and costs most of the time.
MANY, COMMON = 5000, 10
_K1, _B = 1.2, 0.75

Scores = NDArray[np.float32]
Numbers = NDArray[np.int32]


def number(feature: str, buckets: int = BUCKETS) -> int:
    """The number of a feature, the same in every process."""
    return crc32(feature.encode()) % buckets


@dataclass(frozen=True)
class Counted:
    """The features of one text: their numbers and how often each occurs."""

    numbers: Numbers
    counts: Scores

    @classmethod
    def of(cls, features: Sequence[str]) -> Counted:
        counted = Counter(map(number, features))
        return cls(np.fromiter(counted.keys(), np.int32, len(counted)), np.fromiter(counted.values(), np.float32))


@dataclass(frozen=True)
class Features:
    """What is compared of a text."""

    stems: Counted
    letters: Counted

    @classmethod
    def of(cls, text: str) -> Features:
        """``stems`` are those of the text and of its glosses."""
        return cls(Counted.of(stems(text) + stems(" ".join(glossary().glosses(text)))), Counted.of(ngrams(text)))


@dataclass(frozen=True)
class Question(Features):
    """What a question asks the texts for: beside its features the stems of the words of a Russian question that say
    something, and of those the glossary does not list, mostly names and terms. Of the Cyrillic ones among these an
    English model reads nothing."""

    telling: Counted
    unlisted: Counted

    @classmethod
    def of(cls, text: str) -> Question:
        telling, unlisted = (Counted.of([stem(word) for word in words]) for words in glossary().telling(text))
        features = Features.of(text)
        return cls(features.stems, features.letters, telling, unlisted)


class _Space:
    """Inverted lists over one kind of feature."""

    def __init__(self, texts: Sequence[Counted], *, bm25: bool) -> None:
        self._size, self._bm25 = len(texts), bm25
        lengths = np.array([len(text.numbers) for text in texts], dtype=np.int64)
        numbers = np.concatenate([text.numbers for text in texts]) if texts else np.empty(0, np.int32)
        counts = np.concatenate([text.counts for text in texts]) if texts else np.empty(0, np.float32)
        rows = np.repeat(np.arange(self._size, dtype=np.int32), lengths)
        occurring = np.bincount(numbers, minlength=BUCKETS)
        known = np.flatnonzero(occurring)
        spread, places = occurring[known], np.zeros(BUCKETS, dtype=np.int32)
        places[known] = np.arange(len(known), dtype=np.int32)
        place = places[numbers]
        self._place = dict(zip(known.tolist(), range(len(known)), strict=True))
        self._idf = np.log(1 + self._size / (spread + 0.5)).astype(np.float32)
        self._own = self._idf.tolist()
        self._unknown = math.log(1 + self._size / 0.5)
        if bm25:
            sizes = np.bincount(rows, weights=counts, minlength=self._size)
            relative = (sizes / max(float(sizes.mean()), 1e-9))[rows] if self._size else counts
            weights = self._idf[place] * counts / (counts + _K1 * (1 - _B + _B * relative))
        else:
            weights = self._idf[place] * (1 + np.log(counts))
            norms = np.sqrt(np.bincount(rows, weights=weights**2, minlength=self._size))
            # The question's own weight of a feature is this one's idf again, so it is multiplied in here, once.
            weights = weights / np.maximum(norms, 1e-9)[rows] * self._idf[place]
        order = _stable_order(place)
        # Rows in the machine's own index type: numpy converts any other at each use, which takes most of a query.
        self._rows, self._weights = rows[order].astype(np.intp), weights[order].astype(np.float32)
        self._starts = np.concatenate([[0], np.cumsum(spread)]).tolist()
        self._most = self._size // COMMON if self._size > MANY else self._size

    def scores(self, text: Counted) -> Scores:
        """Similarity (0 to 1) of a text with every text, shape (texts,)."""
        total, norm = self._sum(text)
        return total / np.float32(max(norm if self._bm25 else math.sqrt(norm), 1e-9))

    def share(self, part: Counted, whole: Counted) -> Scores:
        """How much of the ``whole`` of a text every text has in the words of a ``part`` of it; by BM25, 0 to 1."""
        return self._sum(part)[0] / np.float32(max(self._sum(whole)[1], 1e-9))

    def _sum(self, text: Counted) -> tuple[Scores, float]:
        """The weights of a text's features in every text, and what they add up to in the text itself."""
        total, norm = np.zeros(self._size, dtype=np.float32), 0.0
        for feature, count in zip(text.numbers.tolist(), text.counts.tolist(), strict=True):
            place = self._place.get(feature)
            own = self._unknown if place is None else self._own[place]
            often = 1.0 if self._bm25 or count == 1 else 1 + math.log(count)
            norm += own if self._bm25 else own * own * often * often
            if place is None:
                continue
            start, end = self._starts[place], self._starts[place + 1]
            if end - start > self._most:
                continue
            weights = self._weights[start:end]
            np.add.at(total, self._rows[start:end], weights if often == 1 else weights * np.float32(often))
        return total, norm

    def known(self, text: Counted) -> float:
        """The share of the text's features that some text of the space has."""
        return sum(n in self._place for n in text.numbers.tolist()) / max(len(text.numbers), 1)


def _stable_order(places: Numbers) -> NDArray[np.intp]:
    """The stable ascending order of numbers below 2**32: two passes over halves, which numpy sorts by radix."""
    order = np.argsort((places & 0xFFFF).astype(np.uint16), kind="stable")
    return order[np.argsort((places[order] >> 16).astype(np.uint16), kind="stable")]


class LexicalIndex:
    """Texts compared by stems and by letters, both as cosines; ``whole`` adds BM25 for long texts."""

    def __init__(self, texts: Sequence[Features], *, whole: bool = False) -> None:
        self._stems = _Space([text.stems for text in texts], bm25=whole)
        self._letters = _Space([text.letters for text in texts], bm25=False)

    def scores(self, text: Features) -> tuple[Scores, Scores]:
        """Similarities by stems and by letters with every text, in the order they were given."""
        return self._stems.scores(text.stems), self._letters.scores(text.letters)

    def unlisted(self, question: Question) -> Scores:
        """How much of the question every text has in the words that the glossary does not list."""
        return self._stems.share(question.unlisted, question.telling)

    def known(self, text: Features) -> float:
        """The share of the text's stems that the base knows."""
        return self._stems.known(text.stems)


def best_rows(scores: Scores, k: int) -> list[int]:
    """The rows of the at most ``k`` highest scores above 0, in no order."""
    top = float(scores.max(initial=0.0))
    if top <= 0:
        return []
    # Nearly all of a large base is far below the best: sorting what is left costs a tenth.
    near: NDArray[np.intp] = np.flatnonzero(scores > top * 0.25)
    if len(near) > k:
        near = near[np.argpartition(-scores[near], k)[:k]]
    return [int(row) for row in near]
