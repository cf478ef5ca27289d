"""Numbers in words, in Russian and English."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal

_UNITS = {
    2: "two два две двух двум двумя двое двоих", 3: "three три трех трем тремя трое троих",
    4: "four четыре четырех четырем четырьмя четверо",
    5: "five пять пяти пятью", 6: "six шесть шести шестью", 7: "seven семь семи семью",
    8: "eight восемь восьми восемью", 9: "nine девять девяти девятью",
}  # fmt: skip
_TEENS = {
    10: "ten десять десяти десятью", 11: "eleven одиннадцать одиннадцати", 12: "twelve двенадцать двенадцати",
    13: "thirteen тринадцать тринадцати", 14: "fourteen четырнадцать четырнадцати",
    15: "fifteen пятнадцать пятнадцати", 16: "sixteen шестнадцать шестнадцати",
    17: "seventeen семнадцать семнадцати", 18: "eighteen восемнадцать восемнадцати",
    19: "nineteen девятнадцать девятнадцати",
}  # fmt: skip
_TENS = {
    20: "twenty двадцать двадцати", 30: "thirty тридцать тридцати", 40: "forty сорок сорока",
    50: "fifty пятьдесят пятидесяти", 60: "sixty шестьдесят шестидесяти", 70: "seventy семьдесят семидесяти",
    80: "eighty восемьдесят восьмидесяти", 90: "ninety девяносто девяноста",
}  # fmt: skip
_HUNDREDS = {
    200: "двести двухсот", 300: "триста трехсот", 400: "четыреста", 500: "пятьсот пятисот", 600: "шестьсот",
    700: "семьсот", 800: "восемьсот", 900: "девятьсот",
}  # fmt: skip
_LARGE = {
    100: "hundred сто ста", 1000: "thousand тысяча тысячи тысяч тысячу тыс k к",
    1_000_000: "million миллион миллиона миллионов млн",
}  # fmt: skip
_COUNTS = (_UNITS, _TEENS, _TENS, _HUNDREDS)
#: Counting words from two on ("one" is mostly no number), and those that multiply what is before them.
SMALL = {word: n for table in _COUNTS for n, words in table.items() for word in words.split()}
LARGE = {word: n for n, words in _LARGE.items() for word in words.split()}
#: Of the large ones those that count by themselves: "a hundred", "сто".
_ALONE = ("сто", "ста", "тысяча", "тысячу", "hundred", "thousand")
_ONE_AND_A_HALF = ("полтора", "полторы", "полутора")
_AND_A_HALF = re.compile(r"\s(?:and a half|с половиной|з половиною)(?!\w)", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")


def spelled(text: str, *, counts: Callable[[int], bool]) -> Iterator[tuple[Decimal, int, int]]:
    """Numbers in words from two on, each with its beginning and end.

    ``counts``: whether a multiplier that ends at a place and has no number before it is meant as one: тысячи рублей.
    """
    words = list(_WORD.finditer(text.lower().replace("ё", "е")))
    place = 0
    while place < len(words):
        first, word = words[place], words[place].group()
        value, place = Decimal(SMALL.get(word, 0)), place + 1
        if value in _TENS and place < len(words) and 0 < SMALL.get(words[place].group(), 0) < 10:
            value, place = value + SMALL[words[place].group()], place + 1
        if word in _ONE_AND_A_HALF:
            value = Decimal("1.5")
        elif value and (half := _AND_A_HALF.match(text, words[place - 1].end())):
            value, place = value + Decimal("0.5"), place + len(half.group().split())
        if value == 0 and word in LARGE and not text[: first.start()].rstrip()[-1:].isdigit():
            alone = word in _ALONE or (len(word) > 1 and counts(first.end()))
            value = Decimal(LARGE[word] if alone else 0)
        elif value and place < len(words) and len(words[place].group()) > 1 and words[place].group() in LARGE:
            value, place = value * LARGE[words[place].group()], place + 1
        if value:
            yield value, first.start(), words[place - 1].end()
