"""Russian in English words, one by one: for an embedding model that reads only English, and to compare synonyms.

``ru_en.tsv`` lists concepts: an English gloss, a tab, and the Russian words and set phrases (words joined by ``_``)
that mean it; ``-`` marks words that say nothing by themselves, and the first line that lists a word counts. A word is
looked up by its stem, by the stems of its dictionary forms (pymorphy3), and by what is one slip of the fingers away.
What comes out is no sentence, but near in meaning to one: "когда вернёте деньги" reads "when return money".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from storage.words import normalise, stem

_CYRILLIC = re.compile(r"[а-яёіїєґў]", re.IGNORECASE)
#: Words of the longest phrase.
LONGEST = 3
#: Shorter words are too near to each other for a slip to be told from another word.
LEAST_LETTERS = 5
NOTHING = "-"
#: Words whose senses are kept.
REMEMBERED = 50_000


class Glossary:
    """Concepts by the stems of the words for them."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._known: dict[str, str] = {}
        self._phrases: dict[tuple[str, ...], str] = {}
        self._near: dict[str, list[str]] = {}
        self._words: dict[str, str | None] = {}
        for line in lines:
            english, _, russian = line.rstrip("\n").partition("\t")
            meaning = "" if english == NOTHING else english
            for phrase in russian.split():
                words = normalise(phrase.replace("_", " ")).split()
                if len(words) == 1:
                    self._known.setdefault(stem(words[0]), meaning)
                else:
                    self._phrases.setdefault(tuple(map(_form, words)), meaning)
        for known in self._known:
            if len(known) >= LEAST_LETTERS:
                for shape in _shortened(known):
                    self._near.setdefault(shape, []).append(known)

    def gloss(self, text: str) -> str:
        """The text with its Russian words as English ones; Russian words nobody listed are left out.

        A text without Cyrillic letters, or of which nothing would be left, is returned as it is.
        """
        if not _CYRILLIC.search(text):
            return text
        read = self._read(text)
        english = [found if gloss is None and not _CYRILLIC.search(found) else gloss for found, gloss in read]
        return " ".join(filter(None, english)) or text

    def glosses(self, text: str) -> list[str]:
        """The English glosses of the Russian words of a text, in order."""
        return [gloss for _, gloss in self._read(text) if gloss] if _CYRILLIC.search(text) else []

    def telling(self, text: str) -> tuple[list[str], list[str]]:
        """The words of a Russian text that say something; and those of them nobody listed: names, terms, numbers."""
        read = [(found.split(), gloss) for found, gloss in self._read(text)] if _CYRILLIC.search(text) else []
        return (
            [word for words, gloss in read for word in words if gloss != ""],
            [word for words, gloss in read for word in words if gloss is None],
        )

    def _read(self, text: str) -> Iterator[tuple[str, str | None]]:
        """The words and set phrases of a text, each with its gloss: empty if it says nothing; None if nobody listed it,
        as no Latin word is."""
        words = normalise(text).split()
        forms = [_form(word) for word in words]
        place = 0
        while place < len(words):
            sizes = range(min(LONGEST, len(words) - place), 1, -1)
            size = next((n for n in sizes if tuple(forms[place : place + n]) in self._phrases), 1)
            phrase = tuple(forms[place : place + size])
            found = " ".join(words[place : place + size])
            yield found, self._phrases[phrase] if size > 1 else self._gloss(found)
            place += size

    def _gloss(self, word: str) -> str | None:
        if not _CYRILLIC.search(word):
            return None
        try:
            return self._words[word]
        except KeyError:
            if len(self._words) >= REMEMBERED:
                self._words.clear()
            known = self._words[word] = self._look_up(word)
            return known

    def _look_up(self, word: str) -> str | None:
        """The gloss of a Russian word; None for a word nobody listed."""
        forms = [stem(word), *map(stem, _dictionary_forms(word))]
        known = next((form for form in forms if form in self._known), None)
        known = known or next((near for form in forms if (near := self._one_slip_away(form))), None)
        return self._known[known] if known else None

    def _one_slip_away(self, form: str) -> str | None:
        """The likeliest known stem that has one letter less, more or other, or two swapped."""
        if len(form) < LEAST_LETTERS:
            return None
        shapes = [form, *_shortened(form)]
        near = [found for shape in shapes for found in self._near.get(shape, ())]
        near += [shape for shape in shapes if shape in self._known and len(shape) >= LEAST_LETTERS]
        # Fingers rarely slip at the first letter; two swapped letters are surer than another one.
        near = [found for found in near if found[0] == form[0]]
        return min(near, key=lambda found: sorted(found) != sorted(form), default=None)


def _shortened(word: str) -> list[str]:
    """The word without each one of its letters."""
    return [word[:i] + word[i + 1 :] for i in range(len(word))]


def _dictionary_forms(word: str) -> list[str]:
    """What the word may be a form of, the likeliest first."""
    return list(dict.fromkeys(normalise(parse.normal_form) for parse in _morphology().parse(word)))


@lru_cache(maxsize=REMEMBERED)
def _form(word: str) -> str:
    """The stem of the likeliest dictionary form."""
    return stem(_dictionary_forms(word)[0]) if _CYRILLIC.search(word) else word


@cache
def _morphology() -> Any:
    import pymorphy3  # a third of a second and 20 MB, for Russian only

    return pymorphy3.MorphAnalyzer(lang="ru")


@lru_cache(maxsize=1)
def glossary() -> Glossary:
    """The packaged glossary, read once a process (a third of a second)."""
    return Glossary(_packaged().splitlines())


@lru_cache(maxsize=1)
def version() -> str:
    """Of the packaged glossary: vectors made with another one are not comparable."""
    return hashlib.sha256(_packaged().encode()).hexdigest()[:8]


def _packaged() -> str:
    return files("storage").joinpath("ru_en.tsv").read_text(encoding="utf-8")
