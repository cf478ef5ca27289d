"""Who sees an item of the knowledge base, and when; and how search keeps to it without a filter in the vector store.

A metadata filter costs a store time linear in the collection, so the nearest vectors are fetched without one, some
more than are wanted, and what the customer may not see is dropped where candidates are made.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from storage.vectors.base import Hit

STATUSES = ("draft", "active", "archived")
#: More than are wanted are fetched, at most so many times as many at first and so many if too few remain.
FIRST, SECOND = 4, 16
#: Scopes whose visible rows are kept: channels times languages is a small number.
_SCOPES = 64


@dataclass(frozen=True)
class Scope:
    """For whom is searched. ``channel`` or ``locale`` (BCP 47) None: whatever it is limited to is seen."""

    channel: str | None = None
    locale: str | None = None


#: What is limited to a channel or a language is seen too, what is not valid now is not.
EVERYWHERE = Scope()


class Restricted(Protocol):
    """What the rule needs of an item. Empty ``channels`` or ``languages``: all of them."""

    @property
    def status(self) -> str: ...
    @property
    def valid_from(self) -> datetime | None: ...
    @property
    def valid_until(self) -> datetime | None: ...
    @property
    def channels(self) -> Sequence[str]: ...
    @property
    def languages(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Visibility:
    """What is limited of an item; the default is nothing."""

    status: str = "active"
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    channels: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()


def visible(item: Restricted, *, channel: str | None, locale: str | None, now: datetime) -> bool:
    """Whether a customer of this channel and language sees the item at ``now``.

    ``valid_from`` is the first moment, ``valid_until`` the first one after. A language covers its regions: ``ru``
    is seen by ``ru-RU``.
    """
    if item.status != "active":
        return False
    if item.valid_from is not None and now < item.valid_from:
        return False
    if item.valid_until is not None and now >= item.valid_until:
        return False
    if item.channels and channel is not None and channel not in item.channels:
        return False
    return not item.languages or locale is None or any(covers(language, locale) for language in item.languages)


def covers(language: str, locale: str) -> bool:
    """Whether a locale is of a language: ``ru`` covers ``ru`` and ``ru-RU``, ``pt-BR`` covers itself only."""
    wanted, asked = (tag.lower().replace("_", "-") for tag in (language, locale))
    return asked == wanted or asked.startswith(f"{wanted}-")


class VisibleRows:
    """Which rows of a base are visible for a scope. Thread-safe.

    Rows are judged by distinct rule, and again only when a validity date has passed; a look is then one lookup.
    """

    def __init__(self, items: Sequence[Restricted]) -> None:
        """``items``: the item of each row."""
        numbers: dict[tuple[object, ...], int] = {}
        self._rules: list[Restricted] = []
        rows = np.zeros(len(items), dtype=np.int32)
        for row, item in enumerate(items):
            rule = (item.status, item.valid_from, item.valid_until, tuple(item.channels), tuple(item.languages))
            if rule not in numbers:
                numbers[rule] = len(self._rules)
                self._rules.append(item)
            rows[row] = numbers[rule]
        self._rows = rows
        dates = {moment for item in self._rules for moment in (item.valid_from, item.valid_until) if moment}
        self._dates = sorted(dates)
        self._masks: dict[Scope, tuple[int, NDArray[np.bool_]]] = {}
        self._lock = threading.Lock()

    def mask(self, scope: Scope, now: datetime) -> NDArray[np.bool_]:
        """One boolean a row; not to be written to."""
        era = bisect_right(self._dates, now)
        with self._lock:
            known = self._masks.get(scope)
            if known is None or known[0] != era:
                if len(self._masks) >= _SCOPES:
                    self._masks.clear()
                seen = [visible(rule, channel=scope.channel, locale=scope.locale, now=now) for rule in self._rules]
                known = self._masks[scope] = era, np.array(seen, dtype=np.bool_)[self._rows]
            return known[1]


class Nearest(NamedTuple):
    """The nearest visible vectors, best first. ``floor``: what was not fetched is at most as near; 0 if all was."""

    hits: list[Hit]
    floor: float


def nearest_visible(
    fetch: Callable[[int], Sequence[Hit]], keep: Callable[[str], bool], *, wanted: int, share: float
) -> Nearest:
    """At most ``wanted`` hits that ``keep`` lets through, of what ``fetch(k)`` returns, best first.

    ``share`` of the rows (0 to 1) is visible: as many more are fetched. Where fewer than half of what is wanted
    remain, a second, larger fetch is made, and no third: a customer who sees one row in a hundred may miss one that
    is far from the question.
    """
    k = wanted if share >= 1 else min(FIRST * wanted, round(wanted / max(share, 0.01)))
    found = fetch(k)
    kept = [hit for hit in found if keep(hit.id)]
    if 2 * len(kept) < wanted and len(found) >= k and k < SECOND * wanted:
        k = SECOND * wanted
        found = fetch(k)
        kept = [hit for hit in found if keep(hit.id)]
    if len(kept) >= wanted:
        return Nearest(kept[:wanted], kept[wanted - 1].score)
    return Nearest(kept, found[-1].score if len(found) >= k else 0.0)
