"""Questions typed on the wrong keyboard layout, or Russian written in Latin letters, as they were meant.

Whether a reading is right is judged by the base's own texts: by the share of its letter triples that they hold. So it
works for whatever the base is about, and a question is left as it is where no other reading fits clearly better.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from storage.words import normalise

_QWERTY = "`qwertyuiop[]asdfghjkl;'zxcvbnm,./" + '~QWERTYUIOP{}ASDFGHJKL:"ZXCVBNM<>?'
_JCUKEN = "ёйцукенгшщзхъфывапролджэячсмитьбю." + "ЁЙЦУКЕНГШЩЗХЪФЫВАПРОЛДЖЭЯЧСМИТЬБЮ,"
_TO_RUSSIAN, _TO_ENGLISH = str.maketrans(_QWERTY, _JCUKEN), str.maketrans(_JCUKEN, _QWERTY)
#: The ways of writing Russian in Latin letters that people use, longest first; the rest is letter by letter.
_SOUNDS = {
    "shch": "щ", "sch": "щ", "shh": "щ", "zh": "ж", "kh": "х", "ts": "ц", "ch": "ч", "sh": "ш", "yu": "ю", "ya": "я",
    "yo": "е", "ju": "ю", "ja": "я", "jo": "е", "ye": "е", "je": "е", "iy": "ий", "yy": "ый", "'": "ь",
}  # fmt: skip
_LETTERS = str.maketrans("abcdefghijklmnopqrstuvwxyz46", "абцдефгхийклмнопкрстуввхызчш")
_SOUND = re.compile("|".join(_SOUNDS))
_AFTER_VOWEL = re.compile(r"(?<=[аеоуиэюя])ы")
_DIGIT_INSIDE = re.compile(r"(?<![a-z])[46]|[46](?![a-z])")
#: English words that are no Russian ones by sound: one of them in ten tells that the text is English.
_ENGLISH_WORDS = frozenset(
    [
        "the",
        "of",
        "is",
        "are",
        "was",
        "were",
        "what",
        "what's",
        "how",
        "when",
        "why",
        "where",
        "which",
        "who",
        "can",
        "can't",
        "could",
        "would",
        "should",
        "you",
        "your",
        "yours",
        "it",
        "its",
        "and",
        "for",
        "with",
        "without",
        "have",
        "has",
        "had",
        "any",
        "this",
        "that",
        "these",
        "those",
        "will",
        "not",
        "from",
        "does",
        "did",
        "don't",
        "didn't",
        "there",
        "here",
        "an",
        "or",
        "be",
        "been",
        "if",
        "i'm",
        "i've",
        "my",
        "our",
        "get",
        "got",
        "want",
        "need",
        "please",
        "about",
        "into",
        "out",
        "off",
        "after",
        "before",
        "but",
        "hello",
        "help",
        "thanks",
    ]
)
_LATIN, _CYRILLIC = re.compile(r"[a-z]"), re.compile(r"[а-яёіїєґ]")
#: A reading is taken when the base knows this share of its triples, and so much more than of the text as written.
_LIKELY, _BETTER = 0.66, 0.2


def in_russian_letters(text: str) -> str:
    """A text in Latin letters read as Russian by sound."""
    kept = _DIGIT_INSIDE.sub(lambda digit: chr(0xE000 + int(digit[0])), text.lower())
    spelled = _SOUND.sub(lambda found: _SOUNDS[found[0]], kept).translate(_LETTERS)
    spelled = re.sub("[\ue000-\ue009]", lambda mark: str(ord(mark[0]) - 0xE000), spelled)
    return _AFTER_VOWEL.sub("й", spelled)


def on_the_other_layout(text: str) -> str:
    """The text as its keys would read on the other keyboard layout, Latin or Russian."""
    latin, cyrillic = len(_LATIN.findall(text.lower())), len(_CYRILLIC.findall(text.lower()))
    return text.translate(_TO_RUSSIAN if latin > cyrillic else _TO_ENGLISH)


class Slips:
    """Judges readings by the texts of a base."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._known: set[str] = set()
        for text in texts:
            self._known.update(_triples(text))
        self._cyrillic = any(_CYRILLIC.search(triple) for triple in self._known)
        self._latin = any(_LATIN.search(triple) for triple in self._known)

    def read(self, text: str) -> str:
        """The text as it was most likely meant; as it is where that is in doubt."""
        lower = text.lower()
        latin, cyrillic = len(_LATIN.findall(lower)), len(_CYRILLIC.findall(lower))
        if latin > cyrillic and self._cyrillic:
            words = lower.split()
            if sum(word.strip(".,!?") in _ENGLISH_WORDS for word in words) * 10 >= len(words):
                return text
            readings = [text.translate(_TO_RUSSIAN), in_russian_letters(text)]
        elif cyrillic > latin and self._latin:
            readings = [text.translate(_TO_ENGLISH)]
        else:
            return text
        best = max(readings, key=self._likely)
        likely = self._likely(best)
        return best if likely >= max(_LIKELY, self._likely(text) + _BETTER) else text

    def _likely(self, text: str) -> float:
        triples = _triples(text)
        return sum(triple in self._known for triple in triples) / max(len(triples), 1)


def _triples(text: str) -> list[str]:
    padded = f" {normalise(text)} "
    return [padded[i : i + 3] for i in range(len(padded) - 2)]
