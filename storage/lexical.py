"""Lexical similarity over a base that fits into memory: word stems (Russian and English) and letter trigrams.

Both are binary tf-idf cosines, computed for all texts at once from inverted lists. Stems carry morphology, trigrams
carry typing slips; the packaged embedding model, being English, carries neither for Russian.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np
import snowballstemmer
from numpy.typing import NDArray

_WORD = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*")
_RUSSIAN = snowballstemmer.stemmer("russian")
_ENGLISH = snowballstemmer.stemmer("english")
Scores = NDArray[np.float32]


def normalise(text: str) -> str:
    """Lower case, ``ё`` as ``е``, words only, one blank between."""
    return " ".join(_WORD.findall(text.lower().replace("ё", "е")))


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    stemmer = _RUSSIAN if "а" <= word[0] <= "я" else _ENGLISH
    return str(stemmer.stemWord(word))


def stems(text: str) -> set[str]:
    """The stems of the words of a text."""
    return {_stem(word) for word in normalise(text).split()}


def trigrams(text: str) -> set[str]:
    """The letter trigrams of a text, words padded with a blank."""
    padded = f" {normalise(text)} "
    return {padded[i : i + 3] for i in range(len(padded) - 2)}


class _Space:
    """Binary tf-idf over one kind of feature."""

    def __init__(self, features: Callable[[str], set[str]], texts: Sequence[str]) -> None:
        self._features = features
        self._size = len(texts)
        lists: dict[str, list[int]] = defaultdict(list)
        for row, text in enumerate(texts):
            for feature in features(text):
                lists[feature].append(row)
        self._lists = {feature: np.asarray(rows, dtype=np.int32) for feature, rows in lists.items()}
        norms = np.zeros(self._size, dtype=np.float64)
        for rows in self._lists.values():
            norms[rows] += self._idf(len(rows)) ** 2
        self._norms = np.sqrt(np.maximum(norms, 1e-9))

    def scores(self, text: str) -> Scores:
        """Cosine of ``text`` with every text, shape (texts,)."""
        total, norm = np.zeros(self._size, dtype=np.float64), 0.0
        for feature in self._features(text):
            rows = self._lists.get(feature)
            weight = self._idf(0 if rows is None else len(rows)) ** 2
            norm += weight
            if rows is not None:
                total[rows] += weight
        return (total / (self._norms * math.sqrt(norm or 1.0))).astype(np.float32)

    def _idf(self, count: int) -> float:
        return math.log(1 + self._size / (count + 0.5))


class LexicalIndex:
    """Texts, compared by stems and by trigrams."""

    def __init__(self, texts: Iterable[str]) -> None:
        kept = list(texts)
        self._stems = _Space(stems, kept)
        self._trigrams = _Space(trigrams, kept)

    def scores(self, text: str) -> tuple[Scores, Scores]:
        """Stem and trigram cosines of ``text`` with every text, in the order they were given."""
        return self._stems.scores(text), self._trigrams.scores(text)
