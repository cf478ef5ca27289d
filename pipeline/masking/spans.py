"""What a recogniser finds: a part of a text and the kind of identifier it is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pipeline.masking.reading import read

Kind = Literal[
    "PHONE",
    "EMAIL",
    "CARD",
    "PASSPORT",
    "INN",
    "SNILS",
    "ACCOUNT",
    "IBAN",
    "BIK",
    "BIRTHDATE",
    "ADDRESS",
    "LICENCE",
    "POLICY",
    "PLATE",
    "IP",
    "HANDLE",
    "SECRET",
    "ID",
    "NAME",
    "TEXT",
]
#: Kinds whose value is its digits: how they are grouped says nothing.
_NUMERIC = frozenset({"PHONE", "CARD", "INN", "SNILS", "ACCOUNT", "BIK"})


@dataclass(frozen=True, order=True)
class Found:
    """``text[start:end]`` is an identifier of this kind."""

    start: int
    end: int
    kind: Kind


def digits_of(text: str) -> str:
    """The digits alone, in ASCII."""
    return "".join(str(int(char)) for char in text if char.isdecimal())


def canonical(kind: Kind, text: str) -> str:
    """What two writings of one value have in common: ``8 (916) 123-45-67`` and ``+7 916 123 45 67`` are one phone."""
    if kind not in _NUMERIC:
        return re.sub(r"[\s.,]+", " ", text).casefold().strip()
    digits = digits_of(read(text).text)
    return f"7{digits[1:]}" if kind == "PHONE" and len(digits) == 11 and digits[0] == "8" else digits


def merged(found: Iterable[Found]) -> list[Found]:
    """In order and apart: those that overlap become one, of the kind of the longest."""
    result: list[Found] = []
    longest = 0
    for one in sorted(found):
        last = result[-1] if result else None
        if last is None or one.start >= last.end:
            result.append(one)
            longest = one.end - one.start
            continue
        kind = one.kind if one.end - one.start > longest else last.kind
        longest = max(longest, one.end - one.start)
        result[-1] = Found(last.start, max(last.end, one.end), kind)
    return result
