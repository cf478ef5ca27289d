"""How search keeps to what a customer may see without a filter in the vector store.

A metadata filter costs a store time linear in the collection, so the nearest vectors are fetched without one, some
more than are wanted, and what the customer may not see is dropped where candidates are made.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.vectors.base import Hit
from storage.visibility import Restricted, Scope, visible

#: More than are wanted are fetched, at most so many times as many at first and so many if too few remain.
FIRST, SECOND = 4, 16
#: Scopes whose visible rows are kept: channels times languages is a small number.
_SCOPES = 64


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

    def era(self, now: datetime) -> int:
        """A number that changes with what is visible, as validity dates pass."""
        return bisect_right(self._dates, now)

    def mask(self, scope: Scope, now: datetime) -> NDArray[np.bool_]:
        """One boolean a row; not to be written to."""
        era = self.era(now)
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
