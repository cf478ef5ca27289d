"""Words of a text: lower case, stems (Snowball, Russian and English), letter n-grams."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import snowballstemmer

_WORD = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*")
_own = threading.local()
#: ``ё`` is mostly written ``е``; Ukrainian letters as their nearest Russian ones, so that cognates share letters.
_FOLD = str.maketrans("ёіїєґ", "еииег")


def normalise(text: str) -> str:
    """Lower case, letters folded to Russian ones where they are variants, words only, one blank between."""
    return " ".join(_WORD.findall(text.lower().translate(_FOLD)))


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """The stem of a normalised word."""
    return str(_stemmer("russian" if "а" <= word[0] <= "я" else "english").stemWord(word))


def _stemmer(language: str) -> Any:
    """This thread's own: a stemmer keeps the word it is at, so two threads in one break each other."""
    found = getattr(_own, language, None)
    if found is None:
        found = snowballstemmer.stemmer(language)
        setattr(_own, language, found)
    return found


def stems(text: str) -> list[str]:
    """The stems of the words of a text, in order."""
    return [stem(word) for word in normalise(text).split()]


def ngrams(text: str, sizes: Sequence[int] = (3, 4)) -> list[str]:
    """The letter n-grams of the words of a text, words padded with a blank on both sides."""
    found: list[str] = []
    for word in normalise(text).split():
        padded = f" {word} "
        for size in sizes:
            if len(padded) <= size:
                found.append(padded)
                break
            found += [padded[i : i + size] for i in range(len(padded) - size + 1)]
    return found
