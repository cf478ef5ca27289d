"""Numbers of papers and of money: told by their form, their check digits and the words beside them.

Sources of the forms: the orders of the Russian tax, pension and interior authorities that define each number; ISO/IEC
7812 (cards), ISO 13616 (IBAN), ISO 9362 (BIC).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.masking import checksums
from pipeline.masking.spans import Found, Kind, digits_of
from pipeline.masking.topics import is_money, is_order, topic_of

_D = r"[\-‐‑‒–—−]"
#: At most one separator between two digits.
_GAP = rf"(?:[^\S\n]|{_D}|[.])?"

#: Four groups of four, and digits in one piece, are a number of their own, whatever number follows.
_FOUR_FOURS = rf"\d{{4}}(?:(?:\s{{1,2}}|{_D})\d{{4}}){{3}}"
_CARD = re.compile(rf"(?<![\w+])(?:{_FOUR_FOURS}(?!\w|{_D}\d)|\d{{14,19}}(?!\w)|\d(?:{_GAP}\d){{13,18}}(?!\w))")
_GROUPED_BY_FOUR = re.compile(rf"{_FOUR_FOURS}(?:(?:\s|{_D})\d{{2,3}})?")
#: As banks show it.
_HIDDEN_CARD = re.compile(r"(?<!\w)\d{4}[\s\-]?(?:\d\d)?(?:[\s\-]?[*•xхXХ]{2,4}){2,3}[\s\-]?\d{4}(?!\w)")
_ACCOUNT = re.compile(r"(?<!\w)\d(?:[^\S\n]|[.\-])?(?:\d(?:[^\S\n]|[.\-])?){18}\d(?!\w)")
_FOREIGN_ACCOUNT = re.compile(r"(?<!\w)(?:\d{6,17}|\d(?:[ \-]?\d){5,16})(?!\w)")
_SORT_CODE = re.compile(r"sort code\W{0,3}(?:is\s)?(?P<value>\d\d[ \-]?\d\d[ \-]?\d\d)(?!\w)", re.IGNORECASE)
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?:[ \-]?[A-Z0-9]{2,4}){3,8}(?!\w)", re.IGNORECASE)
_BIK = re.compile(r"(?<!\w)(?:0[1-4]\d(?:\s?\d){6}|[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?)(?!\w)")
_SNILS = re.compile(rf"(?<!\w)\d{{3}}(?:{_GAP}\d{{3}}){{2}}{_GAP}\d{{2}}(?!\w)")
_SNILS_FORM = re.compile(rf"\d{{3}}{_D}\d{{3}}{_D}\d{{3}}(?:\s|{_D})\d{{2}}")
_INN = re.compile(r"(?<!\w)\d(?:[\s\-]?\d){9}(?:(?:[\s\-]?\d){2})?(?!\w)")
_PASSPORT = re.compile(
    rf"(?<!\w)\d{{2}}(?:\s|{_D})?\d{{2}}[\s,;:]{{0,2}}(?:{_D}\s?)?(?:№|N[oº]?\.?|номер|number|#)?\s?:?\s?\d{{3}}\s?\d{{3}}(?!\w)",
    re.IGNORECASE,
)
_SERIES = re.compile(
    r"(?<!\w)сер(?:ия|ии|\.)?\s?:?\s?(?:паспорта)?\s?\d{2}\s?\d{2}[\s,;.]{0,2}(?:и\s)?(?:№|номер|ном\.?|н-р)\s?:?\s?\d{3}\s?\d{3}"
    r"(?!\w)",
    re.IGNORECASE,
)
#: The number first.
_SERIES_LAST = re.compile(
    r"(?<!\w)\d{3}\s?\d{3}[\s,;]{1,3}сер(?:ия|ии|\.)?\s?:?\s?(?:паспорта\s)?\d{2}\s?\d{2}(?!\w)", re.IGNORECASE
)
_FOREIGN_PASSPORT = re.compile(
    r"(?<!\w)(?:\d{2}\s?(?:№\s?)?\d{7}|[A-Z]{1,2}\s?\d{6,8}|\d{9}|(?=\w*\d\w*\d)[A-Z]\w{7}\d)(?!\w)", re.I
)
_DEPARTMENT = re.compile(r"(?:код(?:\s+подразделения)?|к/п)\W{0,3}(?P<value>\d{3}[-–]\d{3})(?!\w)", re.IGNORECASE)
_LICENCE = re.compile(
    r"(?<!\w)(?:\d{2}\s?(?:\d{2}|[А-ЯA-Z]{2})[\s,]{0,2}(?:№|N|номер)?\s?\d{6}|[A-Z]{5}\d{6}[A-Z0-9]{5,7}|"
    r"[A-Z]{1,2}[\s\-]?\d{3}[\s\-]?\d{3,4}[\s\-]?\d{0,7}|\d{7,9})(?!\w)",
    re.IGNORECASE,
)
_POLICY = re.compile(
    rf"(?<!\w)(?:\d(?:{_GAP}\d){{15}}|[А-ЯA-Z]{{2,3}}[\s\-]?№?\s?\d{{9,10}}|[A-ZА-Я]{{2,4}}[\-\s]?\d{{6,12}}|\d{{9,12}})(?!\w)",
    re.IGNORECASE,
)
_ID = re.compile(
    r"(?<!\w)(?:\d{3}[-\s]?\d{2}[-\s]?\d{4}|[A-Z]{2}\s?\d{2}\s?\d{2}\s?\d{2}\s?[A-D]|\d{12,15}|"
    r"(?=\w*\d)[A-HJ-NPR-Z\d]{17}|\d{8,10}|\d{6}\s\d{6}|\d{2}\s?(?:\d{2}|[А-Я]{2})\s?\d{6}|"
    r"[IVXLCIХУ]{1,5}[-–\s][А-Я]{2}[\s,]*(?:№\s?)?\d{6}|[А-Я]{2}\s?(?:№\s?)?\d{7}|\d{2}\s?(?:№\s?)?\d{7})(?!\w)",
    re.IGNORECASE,
)


def numbers(text: str) -> Iterator[Found]:
    """Cards, accounts, and the numbers of personal papers."""
    yield from _cards(text)
    yield from _accounts(text)
    yield from _snils(text)
    for pattern, kind, topic in _BY_TOPIC:
        for match in pattern.finditer(text):
            if topic_of(text, *match.span()) == topic:
                yield Found(*match.span(), kind)
    for match in (*_SERIES.finditer(text), *_SERIES_LAST.finditer(text)):
        if topic_of(text, *match.span()) not in ("licence", "policy", "id"):
            yield Found(*match.span(), "PASSPORT")
    for match in _DEPARTMENT.finditer(text):
        yield Found(*match.span("value"), "PASSPORT")


#: Only the words tell these from an order's number. A check digit is not asked for: a slip makes nobody anonymous.
_BY_TOPIC: tuple[tuple[re.Pattern[str], Kind, str], ...] = (
    (_INN, "INN", "inn"),
    (_PASSPORT, "PASSPORT", "passport"),
    (_FOREIGN_PASSPORT, "PASSPORT", "passport"),
    (_LICENCE, "LICENCE", "licence"),
    (_POLICY, "POLICY", "policy"),
    (_BIK, "BIK", "bik"),
    (_ID, "ID", "id"),
)


def _cards(text: str) -> Iterator[Found]:
    yield from (Found(*match.span(), "CARD") for match in _HIDDEN_CARD.finditer(text))
    for match in _CARD.finditer(text):
        digits = digits_of(match.group())
        real = checksums.luhn(digits) and _is_issued(digits)
        if topic_of(text, *match.span()) == "card":
            sure = real or len(digits) == 16
        else:
            grouped = bool(_GROUPED_BY_FOUR.fullmatch(match.group()))
            sure = real and (grouped or not is_order(text, match.start())) and not is_money(text, *match.span())
        if sure:
            yield Found(*match.span(), "CARD")


def _is_issued(digits: str) -> bool:
    """The length and the first digits are those of a payment network."""
    networks = {
        14: ("30", "36", "38"),
        15: ("34", "37"),
        16: ("2", "3", "4", "5", "6"),
        18: ("22", "50", "56", "57", "58", "62", "63", "67"),
        19: ("22", "50", "56", "57", "58", "62", "63", "67"),
    }
    return digits.startswith(networks.get(len(digits), ()))


def _accounts(text: str) -> Iterator[Found]:
    for match in _ACCOUNT.finditer(text):
        if match.group()[0] in "34" and not is_order(text, match.start()):
            yield Found(*match.span(), "ACCOUNT")
    for match in _FOREIGN_ACCOUNT.finditer(text):
        if topic_of(text, *match.span()) == "account" and not is_money(text, *match.span()):
            yield Found(*match.span(), "ACCOUNT")
    yield from (Found(*match.span("value"), "ACCOUNT") for match in _SORT_CODE.finditer(text))
    for match in _IBAN.finditer(text):
        if found := _iban_end(match):
            yield Found(match.start(), found, "IBAN")


def _iban_end(match: re.Match[str]) -> int | None:
    """Where the number ends: a word after it may look like one more group."""
    text = match.group()
    ends = [at.start() for at in re.finditer(r"[ \-]", text)] + [len(text)]
    for end in reversed(ends):
        if checksums.iban(re.sub(r"[ \-]", "", text[:end]).upper()):
            return match.start() + end
    return None


def _snils(text: str) -> Iterator[Found]:
    for match in _SNILS.finditer(text):
        formed = _SNILS_FORM.fullmatch(match.group()) and not is_order(text, match.start())
        if formed or topic_of(text, *match.span()) == "snils":
            yield Found(*match.span(), "SNILS")
