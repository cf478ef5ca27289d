"""Figures of a text: what a customer acts on and a model must not make up.

Numbers, amounts of money, percentages, months, times, links, e-mail addresses, phone numbers, handles, names of files
and codes, each in a form in which two ways of writing the same are equal: 1 000 = 1,000.00, 12 мая = 12.05, two = 2, 6 p.m. = 18:00.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Literal

Kind = Literal["number", "money", "percent", "month", "time", "link", "email", "phone", "handle", "file", "code"]
CONTACTS = ("link", "email", "phone", "handle")

_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_LINK = re.compile(
    r"(?:h(?:tt|xx)ps?://|www\.)[^\s<>()\[\]\"'«»]+"
    r"|(?<![\w@.-])(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,8}(?:[a-z]{2,24}|[A-Z]{2,24}|xn--\w+)"
    r"(?![\w-])(?:/[^\s<>()\[\]\"'«»]*)?"
    r"|(?<![\w@.-])(?:[\w-]{1,63}\.){1,8}(?:рф|рус|москва|дети|онлайн|сайт)(?![\w-])(?:/[^\s<>()\[\]\"'«»]*)?",
)
#: What a person calls a file: no program makes a link of it, since it ends in no top-level domain.
_EXTENSIONS = (
    "docx?|pdf|xlsx?|pptx?|odt|ods|rtf|txt|csv|jsonl?|xml|ya?ml|html?|epub|rar|7z|exe|apk|jpe?g|png|gif|bmp|tiff?|"
    "webp|hei[cf]|svg|mp[34]|m4a|wav|flac|og[ag]|opus|avi|mkv|webm|mpe?g"
)
_FILE = re.compile(rf"(?<![\w@.:/-])(?!www\.)[\w.-]{{1,120}}\.(?:{_EXTENSIONS})(?![\w/-]|\.\w)", re.IGNORECASE)
#: Ways to write an address that a person reads as one: evil[.]example, evil dot com.
_DOT = re.compile(r"\s*[\[({]\s*(?:\.|dot|точка)\s*[\])}]\s*|\s+(?:dot|точка)\s+(?=[a-z]{2,8}\b)", re.IGNORECASE)
_PHONE = re.compile(
    r"\+\d[\d\s().-]{7,18}\d|(?<![\d.,])[78][\s(-]{0,2}\d{3}[\s)-]{0,2}\d{3}[\s-]?\d{2}[\s-]?\d{2}(?!\d)"
    r"|\(\d{3,4}\)\s?\d{2,3}[\s-]?\d{2}[\s-]?\d{2}(?!\d)|(?<!\d)\d{3}-\d{3}-\d{4}(?!\d)"
)
_HANDLE = re.compile(r"(?<![\w.@])@[A-Za-z]\w{3,}")
#: Nothing a person writes or reads. What is looked for in such a row would take long, and is in it as a whole.
_ENDLESS = re.compile(r"[A-Za-z0-9А-Яа-яЁё@.,+/_=-]{300,}")
_BLANKS = re.compile(r"\s{3,}")
_LONG_CODE = re.compile(r"(?<!\w)[A-Za-zА-Яа-яЁё0-9+/=_-]{28,}")
_DATE = re.compile(r"(?<![\d.])(?:(\d{4})-(\d{2})-(\d{2})|(\d{1,2})([./])(\d{1,2})\5(\d{4}|\d{2}))(?![\d.]\d|\d)")
_DAY_MONTH = re.compile(r"(?<![\d.,])(0?[1-9]|[12]\d|3[01])\.(0[1-9]|1[0-2])(?![\d%]|[.,]\d)")
_TIME = re.compile(r"(?<!\d)(\d{1,2}):(\d{2})(?!\d)(?:\s*([ap])\.?m\b)?|(?<!\d)(\d{1,2})\s*([ap])\.?m\b", re.IGNORECASE)
_NUMBER = re.compile(r"(?<!\d)\d{1,3}(?: \d{3})+(?!\d)(?:[.,]\d{1,2}(?!\d))?|\d+(?:[.,]\d+)*")
_MONTHS = (
    "янв jan", "фев feb", "мар mar", "апр apr", "мая май мае may", "июн jun", "июл jul", "авг aug", "сен sep",
    "окт oct", "ноя nov", "дек dec",
)  # fmt: skip
_MONTH_OF = {start: number for number, starts in enumerate(_MONTHS, 1) for start in starts.split()}
_MONTH_WORD = (
    r"(январ\w+|янв|феврал\w+|фев|марта?|мар|апрел\w+|апр|ма[йяе]|июн\w+|июл\w+|август\w*|авг|сентябр\w+|сен|"
    r"октябр\w+|окт|ноябр\w+|ноя|декабр\w+|дек|january|jan|february|feb|march|mar|april|apr|may|june|jun|july|jul|"
    r"august|aug|september|sept?|october|oct|november|nov|december|dec)"
)
_MONTH = re.compile(
    rf"\d(?:st|nd|rd|th|-?го|-?е)?\s+(?:of\s+)?{_MONTH_WORD}\b|\b{_MONTH_WORD}\.?\s+\d|\b(?:in|в|until|до|с|from)\s+{_MONTH_WORD}\b",
    re.IGNORECASE,
)
_UNITS = {
    2: "two два две двух двум двумя", 3: "three три трех трем тремя", 4: "four четыре четырех четырем четырьмя",
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
_SMALL_WORDS = {word: n for table in _COUNTS for n, words in table.items() for word in words.split()}
_LARGE_WORDS = {word: n for n, words in _LARGE.items() for word in words.split()}
#: Of the large ones those that count by themselves: "a hundred", "сто".
_ALONE = ("сто", "ста", "тысяча", "тысячу", "hundred", "thousand")
_CURRENCIES = {
    "rub": r"₽|руб\w*|р\.|rub\b|rou?bles?", "usd": r"\$|usd\b|dollars?|доллар\w*", "eur": r"€|eur\b|euros?|евро",
    "gbp": r"£|gbp\b|pounds?", "kzt": r"₸|тенге|kzt\b|tenge", "uah": r"₴|грн|гривен\w*|гривн\w*|uah\b",
}  # fmt: skip
_CURRENCY = re.compile("|".join(f"(?P<{name}>{words})" for name, words in _CURRENCIES.items()), re.IGNORECASE)
_PERCENT = re.compile(r"\s*(?:%|процент\w*|per ?cent)", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")
_LIST_MARK = re.compile(r"(?m)^\s*\d{1,2}[.)]\s+")


@dataclass(frozen=True)
class Figure:
    """One figure. It is the same as another of its kind that shares one of the ``values``. ``shown``: as written."""

    kind: Kind
    values: frozenset[str]
    shown: str
    currency: str = ""


@dataclass
class Figures:
    """The figures of some texts, to look others up in."""

    values: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: Amounts with their currency, as ``rub 500``; of an unnamed currency as `` 500``.
    money: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, texts: Iterable[str], read: Callable[[str], Iterable[Figure]] | None = None) -> Figures:
        """``read`` finds the figures of one text: by default :func:`evidence`, for passages :func:`passage_figures`."""
        found = cls()
        for text in texts:
            for figure in (read or evidence)(text):
                found.values[figure.kind] |= figure.values
                if figure.kind in ("money", "percent", "time"):
                    found.values["number"] |= figure.values
                if figure.kind == "money":
                    found.money |= {f"{figure.currency} {value}" for value in figure.values}
        return found

    def has(self, figure: Figure) -> bool:
        """Whether the figure is among these."""
        if figure.kind == "money":
            if not self.money:  # the texts name prices without a currency
                return bool(figure.values & self.values["number"])
            return any(f"{figure.currency} {value}" in self.money for value in figure.values)
        if figure.kind == "link":
            return any(own == value or (own.startswith(f"{value}/") and "/" not in value)
                       for value in figure.values for own in self.values["link"])  # fmt: skip
        return bool(figure.values & self.values[figure.kind])


def plain(text: str) -> str:
    """A text with wide digits, blanks and dashes as the usual ones, and disguised dots as dots."""
    usual = unicodedata.normalize("NFKC", text).translate({code: "-" for code in range(0x2010, 0x2016)} | {0x2212: "-"})
    seen = re.sub("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]", "", usual)
    return _DOT.sub(".", _BLANKS.sub(lambda run: "\n" if "\n" in run.group() else "  ", seen))


def evidence(text: str) -> tuple[Figure, ...]:
    """The figures of a text, and what each may be read as besides."""
    return tuple(figures(text, evidence=True))


#: The same of a passage, which is looked at again with the next question.
passage_figures = lru_cache(maxsize=4096)(evidence)


def figures(text: str, *, evidence: bool = False) -> list[Figure]:
    """The figures of a text, in no order. ``evidence``: also what a figure may be read as besides."""
    left = plain(text)
    if not evidence:
        left = _LIST_MARK.sub("\n", left)
    found = [Figure("code", frozenset({row.group()}), row.group()[:40]) for row in _ENDLESS.finditer(left)]
    left = _ENDLESS.sub(" ; ", left)
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(left):
            found.append(Figure(kind, frozenset({_CANONICAL[kind](match.group())}), match.group()))
        left = pattern.sub(" ; ", left) if found else left
    for match in _MONTH.finditer(left):
        word = next(group for group in match.groups() if group)
        month = _MONTH_OF[word.lower()[:3]]
        found.append(Figure("month", frozenset({str(month)}), word))
        if evidence and (day := re.search(r"\d{1,2}", left[max(match.start() - 1, 0) : match.end() + 1])):
            found.append(_as_date(int(day.group()), month))
    left, dated = _dates(left, evidence)
    found += dated
    left, timed = _times(left, evidence)
    found += timed
    return [*found, *_numbers(left, evidence), *_worded(left)]


def _link(text: str) -> str:
    bare = re.sub(r"^(?:h(?:tt|xx)ps?://)?(?:www\.)?", "", text.lower())
    return bare.rstrip(".,;:!?/")


def _phone(text: str) -> str:
    return "".join(filter(str.isdigit, text))[-10:]


_CANONICAL: dict[str, Callable[[str], str]] = {
    "email": str.lower,
    "link": _link,
    "phone": _phone,
    "handle": str.lower,
    "code": str,
    "file": str.lower,
}
_PATTERNS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("email", _EMAIL), ("file", _FILE), ("link", _LINK), ("handle", _HANDLE), ("phone", _PHONE), ("code", _LONG_CODE),
)  # fmt: skip


def _dates(text: str, evidence: bool) -> tuple[str, list[Figure]]:
    found: list[Figure] = []
    for match in _DATE.finditer(text):
        year, month, day = (match.group(1), match.group(2), match.group(3)) if match.group(1) else (
            match.group(7), match.group(6), match.group(4)
        )  # fmt: skip
        parts = {str(int(day)), str(int(month))}
        either = match.group(5) == "/"
        found.append(Figure("number", frozenset(parts if either else {str(int(day))}), match.group()))
        found.append(Figure("month", frozenset(parts if either else {str(int(month))}), match.group()))
        full = year if len(year) == 4 else f"20{year}"
        found.append(Figure("number", frozenset({full, year}), match.group()))
        if evidence:
            found.append(_as_date(int(day), int(month)))
    text = _DATE.sub(" ; ", text)
    if evidence:
        for match in _DAY_MONTH.finditer(text):
            found.append(Figure("number", frozenset({str(int(match.group(1)))}), match.group()))
            found.append(Figure("month", frozenset({str(int(match.group(2)))}), match.group()))
    return text, found


def _as_date(day: int, month: int) -> Figure:
    """A day and its month as a number: 12.05."""
    return Figure("number", frozenset(_values(f"{day}.{month:02}")), "")


def _times(text: str, evidence: bool) -> tuple[str, list[Figure]]:
    found: list[Figure] = []
    for match in _TIME.finditer(text):
        hour, minute = int(match.group(1) or match.group(4)), int(match.group(2) or 0)
        half = match.group(3) or match.group(5)
        if half and hour <= 12:
            hour = hour % 12 + (12 if half.lower() == "p" else 0)
        values = {f"{hour}:{minute:02}"}
        if minute == 0:
            values |= {str(hour)} | ({str(hour % 12 or 12)} if evidence or half else set())
        found.append(Figure("time" if minute or evidence else "number", frozenset(values), match.group()))
    return _TIME.sub(" ; ", text), found


def _numbers(text: str, evidence: bool) -> Iterator[Figure]:
    for match in _NUMBER.finditer(text):
        shown = match.group()
        values = _values(shown)
        if evidence and " " in shown:
            for part in shown.split():
                yield Figure("number", frozenset(_values(part)), part)
        behind, before = text[match.end() :], text[: match.start()]
        scale = _WORD.match(behind.lstrip())
        if scale and (factor := _LARGE_WORDS.get(scale.group().lower())) and _attached(behind, scale.group()):
            scaled = {_written(Decimal(value) * factor) for value in values if _is_decimal(value)}
            values = values | scaled if evidence else scaled
            behind = behind.lstrip()[scale.end() :].lstrip(".")
        if _PERCENT.match(behind):
            yield Figure("percent", frozenset(values), shown + "%")
        elif name := _currency(before, behind):
            yield Figure("money", frozenset(values), shown, name)
        else:
            yield Figure("number", frozenset(values), shown)


def _attached(behind: str, word: str) -> bool:
    """A lone letter multiplies only what it is written to: 5k, and not "5 к оплате"."""
    return len(word) > 1 or not behind.startswith(" ")


def _currency(before: str, behind: str) -> str:
    after = _CURRENCY.match(behind.lstrip()) if len(behind) - len(behind.lstrip()) <= 1 else None
    if after:
        return after.lastgroup or ""
    ahead = re.search(rf"(?:{_CURRENCY.pattern})\s?$", before[-12:], re.IGNORECASE)
    return (ahead.lastgroup or "") if ahead else ""


def _worded(text: str) -> Iterator[Figure]:
    """Numbers in words, from two on: "one" is mostly no number."""
    words = list(_WORD.finditer(text.lower().replace("ё", "е")))
    place = 0
    while place < len(words):
        first, word = words[place], words[place].group()
        value, place = _SMALL_WORDS.get(word, 0), place + 1
        if value in _TENS and place < len(words) and 0 < _SMALL_WORDS.get(words[place].group(), 0) < 10:
            value, place = value + _SMALL_WORDS[words[place].group()], place + 1
        if value == 0 and word in _ALONE and not text[: first.start()].rstrip()[-1:].isdigit():
            value = _LARGE_WORDS[word]
        elif value and place < len(words) and len(words[place].group()) > 1 and words[place].group() in _LARGE_WORDS:
            value, place = value * _LARGE_WORDS[words[place].group()], place + 1
        if value:
            end = words[place - 1].end()
            kind: Kind = "percent" if _PERCENT.match(text[end:]) else "number"
            name = _currency("", text[end:]) if kind == "number" else ""
            yield Figure("money" if name else kind, frozenset({str(value)}), text[first.start() : end], name)


def _values(shown: str) -> set[str]:
    """What a number with these separators may mean, each as plain digits with a decimal point."""
    compact = shown.replace(" ", "")
    marks = [character for character in compact if character in ".,"]
    if not marks:
        return {_written(Decimal(compact))}
    if len(set(marks)) == 2:  # the last one is the decimal one
        whole, _, part = compact.rpartition(marks[-1])
        return {_written(Decimal(re.sub("[.,]", "", whole) + "." + part))}
    if len(marks) > 1:
        groups = re.split("[.,]", compact)
        thousands = all(len(group) == 3 for group in groups[1:])
        return {_written(Decimal("".join(groups)))} if thousands else {compact}
    whole, part = re.split("[.,]", compact)
    as_decimal = {_written(Decimal(f"{whole}.{part}"))}
    if len(part) == 3 and len(whole) <= 3 and whole != "0" and " " not in shown:
        return as_decimal | {_written(Decimal(whole + part))}
    return as_decimal


def _is_decimal(value: str) -> bool:
    return value.count(".") <= 1 and "," not in value


def _written(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
