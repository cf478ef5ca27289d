"""Days of the week in a text, in Russian, Ukrainian and English."""

from __future__ import annotations

import re
from collections.abc import Iterator

_DAYS = (
    r"monday|понедельник\w{0,3}|понеділ\w{2,4}|пн", r"tuesday|вторник\w{0,3}|вівтор\w{2,4}|(?<!\d\s)(?<!\d)вт",
    r"wednesday|(?<=в\s)среду|(?<=по\s)средам|(?<=до\s|со\s)среды|серед[аиу]", r"thursday|четверг\w{0,3}|четвер|чт",
    r"friday|пятниц\w{1,3}|п.ятниц\w{1,3}|пт", r"saturday|суббот\w{1,3}|субот\w{1,3}|сб",
    r"sunday|воскресень\w{1,3}|неділ\w{1,3}|вс|нд",
)  # fmt: skip
#: What a passage may call one besides: words that mean something else as well.
_LOOSE = ("mon", "tues?", "wed|ср|среда", "thu(?:rs?)?", "fri", "sat", "sun")
_TO = re.compile(r"\s?(?:-|to|till|until|through|по|до)\s?", re.IGNORECASE)
_SEVERAL = (
    (range(5), re.compile(
        r"\b(?:weekdays?|(?:working|business|week) days?|будн\w{1,3}|рабочи[ех] дн\w{1,2})\b", re.IGNORECASE)),
    (range(5, 7), re.compile(r"\b(?:weekends?|выходн\w{2,3}|вихідн\w{2,3})\b", re.IGNORECASE)),
    (range(7), re.compile(
        r"\b(?:daily|every ?day|all week|any day|seven days a week|24/7|круглосуточно|ежедневн\w{1,3}|щодня|"
        r"кажд\w{2,3} день|без (?:выходн|вихідн)\w{2,3}|в любой день)\b", re.IGNORECASE)),
)  # fmt: skip


def _pattern(*words: tuple[str, ...]) -> re.Pattern[str]:
    days = ("|".join(one) for one in zip(*words, strict=True))
    return re.compile(
        rf"(?<!\w)(?:{'|'.join(f'(?P<d{n}>{day})' for n, day in enumerate(days))})s?(?!\w)", re.IGNORECASE
    )


_NAMED, _ANY = _pattern(_DAYS), _pattern(_DAYS, _LOOSE)


def weekdays(text: str, *, evidence: bool = False) -> Iterator[tuple[frozenset[str], str]]:
    """Days named in a text, from 0 for Monday, as written. ``evidence``: also those between two, and of phrases."""
    found = list((_ANY if evidence else _NAMED).finditer(text))
    days = [int((one.lastgroup or "d0")[1:]) for one in found]
    for day, one in zip(days, found, strict=True):
        yield frozenset({str(day)}), one.group()
    if not evidence:
        return
    for number in range(1, len(found)):
        before, one = found[number - 1], found[number]
        if _TO.fullmatch(text, before.end(), one.start()):
            span = (days[number] - days[number - 1]) % 7
            yield frozenset(str((days[number - 1] + step) % 7) for step in range(span + 1)), ""
    for several, phrase in _SEVERAL:
        if phrase.search(text):
            yield frozenset(map(str, several)), ""
