"""Figures of a text: what a customer acts on and a model must not make up.

Numbers, amounts of money, percentages, months, times, links, e-mail addresses, phone numbers, handles, names of files
and codes, each in a form in which two ways of writing the same are equal: 1 000 = 1,000.00, 12 мая = 12.05, two = 2,
6 p.m. = 18:00, two years = 24 months. A number with a unit is no number of another unit.
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

from pipeline.measures import UNIT, halves, lone, measures, per, unit_after
from pipeline.numerals import LARGE, SMALL, spelled
from pipeline.weekdays import weekdays

Kind = Literal[
    "number", "money", "percent", "month", "weekday", "time", "link", "email", "phone", "handle", "file", "code"
]
CONTACTS = ("link", "email", "phone", "handle")

_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_LINK = re.compile(
    r"(?:h(?:tt|xx)ps?://|www\.)[^\s<>()\[\]\"'«»]+"
    # Letters of any alphabet before the dot: one that only looks like another makes another address.
    r"|(?<![\w@.-])(?:[^\W_][\w-]{0,62}\.){1,8}(?:[a-z]{2,24}|[A-Z]{2,24}|xn--\w+|[A-Z][a-z]{1,23}(?=/\w)"
    r"|(?i:com|net|org|info|biz|ru|su|ua|by|kz|io|app|dev|shop|site|online|xyz|win|link|click|club|ly|gg|eu"
    r"|рф|рус|москва|дети|онлайн|сайт|укр|бел|қаз|ком|орг))(?![\w-])(?:/[^\s<>()\[\]\"'«»]*)?",
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
_RANGE = re.compile(r"\s?(?:-|to|or|до|или|або)\s?", re.IGNORECASE)
_CURRENCIES = {
    "rub": r"₽|руб\w*|р\.|rub\b|rou?bles?", "usd": r"\$|usd\b|dollars?|доллар\w*", "eur": r"€|eur\b|euros?|евро",
    "gbp": r"£|gbp\b|pounds?", "kzt": r"₸|тенге|kzt\b|tenge", "uah": r"₴|грн|гривен\w*|гривн\w*|uah\b",
}  # fmt: skip
_CURRENCY = re.compile("|".join(f"(?P<{name}>{words})" for name, words in _CURRENCIES.items()), re.IGNORECASE)
_PERCENT = re.compile(r"\s*(?:%|процент\w*|per ?cent)", re.IGNORECASE)
_FEW = re.compile(
    r"(?<!\w)(?:(?P<article>an?)|(?P<nothing>zero|ноль|нуль|ноля|нуля)|one|single|один|одну|одного|одна)(?=\s)",
    re.IGNORECASE,
)
#: The end of what an article and a currency are about: "a dollar.", and not "a dollar account".
_ENDS = re.compile(r"\s\w+\s*(?:$|[.,;:!?)]|(?:for|per|an?|each|only|and|or)\b)", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")
_COUNTING = re.compile(
    rf"(?<!\w)(?:{'|'.join([*SMALL, *LARGE])})(?!\w)|(?<![^\W\d_])(?:{_CURRENCY.pattern})(?!\w)"
    rf"|(?<=[\d/])\s?(?:{UNIT})(?!\w)",
    re.IGNORECASE,
)
_LIST_MARK = re.compile(r"(?m)^\s*\d{1,2}[.)]\s+")


@dataclass(frozen=True)
class Figure:
    """One figure. It is the same as another of its kind that shares one of the ``values``. ``shown``: as written."""

    kind: Kind
    values: frozenset[str]
    shown: str
    currency: str = ""
    #: Of a number with a unit: what it measures. Of an amount: the units it is paid for.
    measures: frozenset[str] = frozenset()
    per: frozenset[str] = frozenset()


@dataclass
class Figures:
    """The figures of some texts, to look others up in."""

    values: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: Amounts with their currency, as ``rub 500``; of an unnamed currency as `` 500``.
    money: set[str] = field(default_factory=set)
    #: The same, with the unit it is paid for: ``rub 500 month``, ``rub 500 `` where none is named.
    rates: set[str] = field(default_factory=set)
    #: What numbers with a unit measure; numbers without one may be of any.
    measures: set[str] = field(default_factory=set)
    bare: set[str] = field(default_factory=set)

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
                    amounts = {f"{figure.currency} {value}" for value in figure.values}
                    found.money |= amounts
                    found.rates |= {f"{amount} {unit}" for amount in amounts for unit in figure.per or ("",)}
                elif figure.kind == "time":
                    found.measures |= measures(figure.values, "hour")
                elif figure.measures:
                    found.measures |= figure.measures
                elif figure.kind == "number":
                    found.bare |= figure.values
        return found

    def has(self, figure: Figure) -> bool:
        """Whether the figure is among these."""
        if figure.kind == "money":
            if not self.money:  # the texts name prices without a currency
                return bool(figure.values & self.values["number"])
            amounts = [f"{figure.currency} {value}" for value in figure.values]
            if not figure.per:
                return any(amount in self.money for amount in amounts)
            return any(f"{amount} {unit}" in self.rates for amount in amounts for unit in ("", *figure.per))
        if figure.measures:
            return bool(figure.measures & self.measures or figure.values & self.bare)
        if figure.kind == "link":
            return any(own == value or (own.startswith(f"{value}/") and "/" not in value)
                       for value in figure.values for own in self.values["link"])  # fmt: skip
        return bool(figure.values & self.values[figure.kind])


def plain(text: str) -> str:
    """A text with wide digits, blanks and dashes as the usual ones, and disguised dots as dots."""
    usual = unicodedata.normalize("NFKC", text).translate({code: "-" for code in range(0x2010, 0x2016)} | {0x2212: "-"})
    seen = re.sub("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]", "", usual)
    return _DOT.sub(".", _BLANKS.sub(lambda run: "\n" if "\n" in run.group() else "  ", seen))


def without_figures(text: str) -> str:
    """A text without the words of its figures (numbers in words, currencies, units): they are judged as figures."""
    return _COUNTING.sub(" ", text)


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
    found += _few(left)
    found += (Figure("weekday", days, shown) for days, shown in weekdays(left, evidence=evidence))
    found += (Figure("number", frozenset({value}), shown, measures=what) for value, what, shown in halves(left))
    if evidence:
        found += (Figure("number", frozenset({"1"}), word, measures=one) for word, one in lone(left))
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
        if scale and (factor := LARGE.get(scale.group().lower())) and _attached(behind, scale.group()):
            scaled = {_written(Decimal(value) * factor) for value in values if _is_decimal(value)}
            values = values | scaled if evidence else scaled
            behind = behind.lstrip()[scale.end() :].lstrip(".")
        if _PERCENT.match(behind):
            yield Figure("percent", frozenset(values), shown + "%")
        else:
            yield _counted(frozenset(values), shown, before, behind)


def _counted(values: frozenset[str], shown: str, before: str, behind: str) -> Figure:
    """A number between these two texts: of money, or of what its unit measures."""
    if name := _currency(before, behind):
        after = _CURRENCY.match(behind.lstrip())
        end = len(behind) - len(behind.lstrip()) + after.end() if after else 0
        return Figure("money", values, shown, name, per=per(behind, end))
    unit = unit_after(behind, 0) or unit_after(behind, _range_end(behind))
    return Figure("number", values, f"{shown} {unit}".strip(), measures=measures(values, unit))


def _range_end(behind: str) -> int:
    """Where the other end of a range ends, whose unit is of both: 3-5 days; 0 where there is none."""
    joined = _RANGE.match(behind)
    if joined is None:
        return 0
    number = _NUMBER.match(behind, joined.end())
    if number:
        return number.end()
    word = _WORD.match(behind, joined.end())
    return word.end() if word and word.group().lower().replace("ё", "е") in SMALL else 0


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
    for value, start, end in spelled(text, counts=lambda place: bool(_currency("", text[place:]))):
        values, shown = frozenset({_written(value)}), text[start:end]
        if _PERCENT.match(text[end:]):
            yield Figure("percent", values, shown)
        else:
            yield _counted(values, shown, "", text[end:])


def _few(text: str) -> Iterator[Figure]:
    """Amounts and shares of one or nothing, in words: by themselves "one" and "a" are mostly no numbers."""
    for word in _FEW.finditer(text):
        value, behind = frozenset({"0" if word.group("nothing") else "1"}), text[word.end() :]
        if _PERCENT.match(behind):
            yield Figure("percent", value, word.group())
        elif (name := _currency("", behind)) and (not word.group("article") or _ENDS.match(behind)):
            yield Figure("money", value, word.group() + behind[:12], name)


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
