"""A text as the recognisers read it: numbers that are spoken in figures, words apart from the numbers they touch.

Transcripts spell numbers out ("восемь девятьсот шестнадцать ..."), people leave spaces out and take a letter for a
figure. Each is brought to the form that the recognisers know, and what they find is found again in the text itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

_UNITS = {
    "ноль": 0, "нуль": 0, "нолик": 0, "один": 1, "одна": 1, "раз": 1, "два": 2, "две": 2, "три": 3, "четыре": 4,
    "пять": 5, "шесть": 6, "семь": 7, "восемь": 8, "девять": 9,
    "zero": 0, "oh": 0, "nought": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9,
}  # fmt: skip
_TEENS = {
    "десять": 10, "одиннадцать": 11, "двенадцать": 12, "тринадцать": 13, "четырнадцать": 14, "пятнадцать": 15,
    "шестнадцать": 16, "семнадцать": 17, "восемнадцать": 18, "девятнадцать": 19,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS = {
    "двадцать": 20, "тридцать": 30, "сорок": 40, "пятьдесят": 50, "шестьдесят": 60, "семьдесят": 70,
    "восемьдесят": 80, "девяносто": 90,
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_HUNDREDS = {
    "сто": 100, "двести": 200, "триста": 300, "четыреста": 400, "пятьсот": 500, "шестьсот": 600, "семьсот": 700,
    "восемьсот": 800, "девятьсот": 900,
}  # fmt: skip
_VALUES = {**_UNITS, **_TEENS, **_TENS, **_HUNDREDS}
#: A number is added to one before it that has more room: hundreds 3, tens 2.
_SIZES = {**dict.fromkeys(_TENS, 2), **dict.fromkeys(_TEENS, 2), **{word: 1 for word, value in _UNITS.items() if value}}
_ALONE = 9
_AGAIN = {"double": 2, "triple": 3, "дважды": 2, "трижды": 3}
_PLUS = ("плюс", "plus")
_SPELT = "|".join(sorted((*_UNITS, *_TEENS, *_TENS, *_HUNDREDS, *_AGAIN, *_PLUS, "hundred"), key=len, reverse=True))
_TOKEN = re.compile(rf"(?:{_SPELT}|\d{{1,8}})(?!\w)", re.IGNORECASE)
_BETWEEN = r"(?:[\s,.\-–—]{1,3}|\s(?:и|and)\s)"
#: A row of numbers, one of them at least a word.
_ROW = re.compile(
    rf"(?<!\w)(?:\+?\d{{1,8}}{_BETWEEN}){{0,8}}(?:{_SPELT})(?!\w)(?:{_BETWEEN}(?:{_SPELT}|\d{{1,8}})(?!\w)){{1,40}}",
    re.IGNORECASE,
)
#: Fewer digits are an amount or a size.
_FEWEST = 4

_UNSEEN = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")
#: A long number right after a word, or a word right after it. A name and number of a mailbox stay together.
_STUCK = re.compile(
    r"(?:(?<=[а-яё]{3})|(?<=(?<![a-z])(?:tel|inn))|(?<=(?<![a-z])(?:phone|snils))|(?<=(?<![a-z])(?:card|cell|call)))"
    r"(?=\+?\d{6}(?![\w.\-]*@))|(?<=\d{6})(?=[а-яё]{3})",
    re.IGNORECASE,
)
_LIKE = {"З": "3", "з": "3", "О": "0", "о": "0", "O": "0", "o": "0", "б": "6", "l": "1", "I": "1"}
#: Figures enough for a telephone or a card, with a letter or two among them that looks like one.
_SLIPPED = re.compile(r"(?<!\w)\+?\d(?:[\s().\-]{0,3}[\dЗзОоOoбlI]){9,18}(?!\w)")
_LETTERS = range(1, 4)


class Edit(NamedTuple):
    """``text[start:end]`` is read as ``read``."""

    start: int
    end: int
    read: str


@dataclass(frozen=True)
class Reading:
    """``text``: what is read. ``begins`` and ``ends``: where each of its characters comes from; empty: unchanged."""

    text: str
    begins: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Where ``text[start:end]``, which is not empty, stands in the original."""
        return (self.begins[start], self.ends[end - 1]) if self.begins else (start, end)


def read(text: str) -> Reading:
    """``text`` as the recognisers read it."""
    edits = _apart(sorted([*_spoken(text), *_slipped(text), *_stuck(text), *_unseen(text)]))
    if not edits:
        return Reading(text)
    parts, begins, ends, at = [], [], [], 0
    for edit in [*edits, Edit(len(text), len(text), "")]:
        parts += [text[at : edit.start], edit.read]
        begins += [*range(at, edit.start), *[edit.start] * len(edit.read)]
        ends += [*range(at + 1, edit.start + 1), *[edit.end] * len(edit.read)]
        at = edit.end
    return Reading("".join(parts), begins, ends)


def _apart(edits: list[Edit]) -> Iterator[Edit]:
    at = 0
    for edit in edits:
        if edit.start >= at:
            yield edit
            at = edit.end


def _unseen(text: str) -> Iterator[Edit]:
    return (Edit(*match.span(), "") for match in _UNSEEN.finditer(text))


def _stuck(text: str) -> Iterator[Edit]:
    return (Edit(*match.span(), " ") for match in _STUCK.finditer(text))


def _slipped(text: str) -> Iterator[Edit]:
    for match in _SLIPPED.finditer(text):
        letters = [at for at in range(*match.span()) if text[at] in _LIKE]
        if len(letters) in _LETTERS:
            yield from (Edit(at, at + 1, _LIKE[text[at]]) for at in letters)


def _spoken(text: str) -> Iterator[Edit]:
    for match in _ROW.finditer(text):
        groups = list(_groups(text, *match.span()))
        if sum(char.isdecimal() for group in groups for char in group.read) < _FEWEST:
            continue
        yield from groups
        # figures told one by one are one number
        yield from (Edit(before.end, group.start, _link(before, group)) for before, group in pairwise(groups))


def _link(before: Edit, group: Edit) -> str:
    return "" if before.read == "+" or (_is_single(before) and _is_single(group)) else " "


def _is_single(group: Edit) -> bool:
    return group.read == len(group.read) * group.read[0]


def _groups(text: str, start: int, end: int) -> Iterator[Edit]:
    """The numbers of a row, each with the words that are added up in it: "сто двадцать три" is 123."""
    whole, room, again = None, 0, None
    for token in _TOKEN.finditer(text, start, end):
        word = token.group().lower()
        value, size = _VALUES.get(word, 0), _SIZES.get(word, _ALONE)
        if word in _AGAIN:
            again = token
        elif again:
            if whole:
                yield whole
            whole, room = (
                Edit(again.start(), token.end(), str(_VALUES.get(word, word)) * _AGAIN[again.group().lower()]),
                0,
            )
            again = None
        elif whole and size < room and not text[whole.end : token.start()].strip(" -"):  # a pause ends a number
            whole, room = Edit(whole.start, token.end(), str(int(whole.read) + value)), 2 if word in _TENS else 0
        elif whole and word == "hundred" and len(whole.read) == 1:
            whole, room = Edit(whole.start, token.end(), f"{whole.read}00"), 0
        else:
            if whole:
                yield whole
            read_as = "+" if word in _PLUS else str(_VALUES.get(word, word))
            whole, room = Edit(*token.span(), read_as), 3 if word in _HUNDREDS else 2 if word in _TENS else 0
    if whole:
        yield whole
