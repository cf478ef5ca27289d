"""What was spent, on what, and how far the budgets are: sums of the ledger for people to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from storage.spending import UNIT, WARN_AT, Counter, Limit, State, calls, counters

#: What calls are grouped by.
GROUPS = ("day", "model", "provider", "modality", "purpose", "account")
#: Calls without a cost: those that failed or were given up, and those without a price.
_APART = ("uncertain", "unpriced")
_LABEL = dict.fromkeys(_APART, "model")
#: Counters shown of each scope at most, the fullest first.
MOST = 20


class _Row(NamedTuple):
    day: str
    model: str
    provider: str
    modality: str
    purpose: str
    channel: str | None
    account: str | None
    tokens_in: int
    tokens_out: int
    tokens_cached: int
    audio_seconds: float
    images: int
    cost: Decimal | None
    currency: str
    counted: int
    outcome: str


@dataclass
class Sum:
    """Calls together. ``cost`` is what is known to be paid, unrounded.

    Beside it: ``unpriced`` calls were answered by a model without a price, and ``uncertain`` ones failed or were given
    up after their request had left; budgets count both, as ``assumed``.
    """

    currency: str
    calls: int = 0
    failed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    audio_seconds: float = 0.0
    images: int = 0
    cost: Decimal = field(default_factory=Decimal)
    unpriced: int = 0
    uncertain: int = 0
    assumed: Decimal = field(default_factory=Decimal)

    def add(self, row: _Row) -> None:
        self.calls += 1
        self.failed += row.outcome == "failed"
        for name in ("tokens_in", "tokens_out", "tokens_cached", "audio_seconds", "images"):
            setattr(self, name, getattr(self, name) + getattr(row, name))
        if row.cost is not None:
            self.cost += row.cost
        elif row.outcome != "reserved":
            self.unpriced += row.outcome == "answered"
            self.uncertain += row.outcome != "answered"
            self.assumed += Decimal(row.counted) / UNIT

    def shown(self) -> dict[str, Any]:
        """As JSON: amounts are decimals in texts."""
        amounts = {"cost": format(self.cost, "f"), "assumed": format(self.assumed, "f")}
        return {**vars(self), **amounts, "audio_seconds": round(self.audio_seconds, 3)}


def costs(connection: Connection, *, since: datetime) -> dict[str, list[dict[str, Any]]]:
    """The sums of calls begun since then: ``total`` (one a currency), and by each of :data:`GROUPS`, dearest first.

    ``unpriced`` and ``uncertain`` are those of the calls without a cost, by model: see :class:`Sum`.
    """
    columns = [calls.c[name] for name in _Row._fields]
    # The day, whose zone is at most 14 hours from UTC, is what there is an index of.
    day = (since.astimezone(UTC) - timedelta(days=1)).date().isoformat()
    query = select(*columns).where(calls.c.day >= day, calls.c.started_at >= since)
    found = connection.execution_options(yield_per=5000).execute(query)
    groups: dict[str, dict[tuple[str, str], Sum]] = {name: {} for name in ("total", *GROUPS, *_APART)}
    with localcontext() as context:
        context.prec = 60  # a sum is not rounded
        for row in map(_Row._make, found):
            apart = _APART[row.outcome == "answered"] if row.cost is None and row.outcome != "reserved" else None
            for name, sums in groups.items():
                if name in _APART and name != apart:
                    continue
                key = (_value(name, row), row.currency)
                sums.setdefault(key, Sum(row.currency)).add(row)
    return {
        name: [{**({} if name == "total" else {_LABEL.get(name, name): value}), **sums[value, money].shown()}
               for value, money in _order(name, sums)]
        for name, sums in groups.items()
    }  # fmt: skip


def _value(name: str, row: _Row) -> str:
    if name == "total":
        return ""
    if name == "account":
        return "" if row.account is None else f"{row.channel}/{row.account}"
    return str(getattr(row, _LABEL.get(name, name)))


def _order(name: str, sums: dict[tuple[str, str], Sum]) -> list[tuple[str, str]]:
    """Days in order, the others dearest first."""
    return sorted(sums) if name == "day" else sorted(sums, key=lambda key: (-sums[key].cost - sums[key].assumed, key))


@dataclass(frozen=True)
class Budgeted:
    """A budget and where it stands."""

    counter: Counter
    state: State

    @property
    def share(self) -> float:
        """Spent and set aside, in shares of the limit."""
        held = self.state.spent + self.state.reserved
        return held / self.counter.limit if self.counter.limit else 1.0

    @property
    def exhausted(self) -> bool:
        """Whether it is spent as it is set now: it may have been raised since it was noted to be."""
        return self.state.spent >= self.counter.limit

    def shown(self) -> dict[str, Any]:
        """As JSON: amounts are decimals in texts."""
        amounts = {"limit": self.counter.limit, "spent": self.state.spent, "reserved": self.state.reserved}
        near = self.state.spent >= WARN_AT * self.counter.limit
        times = {
            "warned_at": self.state.warned_at if near else None,
            "exhausted_at": self.state.exhausted_at if self.exhausted else None,
        }
        return {
            "scope": self.counter.scope,
            "key": self.counter.key,
            "period": self.counter.period,
            **{name: format(Decimal(parts) / UNIT, "f") for name, parts in amounts.items()},
            "share": round(self.share, 4),
            "exhausted": self.exhausted,
            **{name: at.isoformat() if at else None for name, at in times.items()},
        }


def budgets(connection: Connection, limits: Sequence[Limit]) -> list[Budgeted]:
    """Where the budgets of the running periods stand; of accounts, conversations and senders the fullest ones."""
    found = []
    for scope, period, limit in limits:
        query = select(counters.c.key, *(counters.c[name] for name in State._fields)).where(
            counters.c.scope == scope, counters.c.period == period
        )
        rows = connection.execute(query.order_by((counters.c.spent + counters.c.reserved).desc()).limit(MOST)).all()
        if not rows and scope == "all":
            found.append(Budgeted(Counter(scope, "", period, limit), State(0, 0, None, None)))
        found += [Budgeted(Counter(scope, key, period, limit), State._make(state)) for key, *state in rows]
    return found
