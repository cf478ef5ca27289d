"""The ledger of provider calls and the budgets they are paid from.

A call's most is set aside before it is made and replaced by what it did cost after it, by UPDATEs that compare: no
two processes can set the same money aside. Counters hold whole billionths of the currency, rounded up, because
neither database compares decimals exactly; the ledger's own amounts are not rounded.

Counters are always locked in the order of :data:`SCOPES`, the narrow ones first, so that two calls never wait for
each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    func,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from ragline.spending_settings import Budget, BudgetSettings
from storage.models import BudgetCounter, ModelCall

calls: Table = ModelCall.__table__  # type: ignore[attr-defined]
counters: Table = BudgetCounter.__table__  # type: ignore[attr-defined]

Scope = Literal["sender", "conversation", "account", "all"]
SCOPES: tuple[Scope, ...] = ("sender", "conversation", "account", "all")
#: The columns of a call that tell whose it is.
_WHOSE: dict[Scope, tuple[str, ...]] = {
    "sender": ("channel", "account", "sender"),
    "conversation": ("conversation_id",),
    "account": ("channel", "account"),
    "all": (),
}
#: Parts of a unit of the currency in which counters count.
UNIT = 1_000_000_000
#: The share of a budget at whose spending its operator is warned.
WARN_AT = Decimal("0.8")


def counted(amount: Decimal) -> int:
    """An amount as counters hold it: whole billionths, rounded up."""
    return int((amount * UNIT).to_integral_value(ROUND_CEILING))


@dataclass(frozen=True)
class Counter:
    """One budget in one period: whose it is (see :func:`key_of`), and its limit in counted parts."""

    scope: Scope
    key: str
    period: str
    limit: int

    @property
    def name(self) -> dict[str, str]:
        return {"c_scope": self.scope, "c_key": self.key, "c_period": self.period}


@dataclass(frozen=True)
class Payer:
    """Whom a call is made for. What is not of a turn has none of it."""

    turn_id: str | None = None
    step: str | None = None
    round: int = 0
    attempt: int = 0
    message_id: str | None = None
    conversation_id: str | None = None
    channel: str | None = None
    account: str | None = None
    sender: str | None = None


class State(NamedTuple):
    """A counter as it stands."""

    spent: int
    reserved: int
    warned_at: datetime | None
    exhausted_at: datetime | None


@dataclass(frozen=True)
class Refused:
    """The budget that does not hold a call. ``first``: nobody was refused by it in this period before."""

    counter: Counter
    spent: int
    reserved: int
    first: bool = False

    @property
    def passing(self) -> bool:
        """Whether the budget is not spent yet: there may be room when the calls under way have been paid."""
        return self.spent < self.counter.limit


@dataclass(frozen=True)
class Warned:
    """A budget that has just passed :data:`WARN_AT`."""

    counter: Counter
    spent: int


def key_of(scope: Scope, payer: Payer) -> str | None:
    """Which counter of a scope a payer has; None where there is nobody to count it for."""
    if scope == "all":
        return ""
    if scope == "conversation":
        return payer.conversation_id
    if payer.channel is None or payer.account is None:
        return None
    account = f"{payer.channel}/{payer.account}"
    if scope == "account":
        return account
    return None if payer.sender is None else f"{account}/{payer.sender}"


class Limit(NamedTuple):
    """A budget that is set: its scope, the period that runs, and its limit in counted parts."""

    scope: Scope
    period: str
    limit: int


def day_of(budget: BudgetSettings, now: datetime) -> str:
    """The day in the budgets' time zone, YYYY-MM-DD."""
    return now.astimezone(ZoneInfo(budget.time_zone)).date().isoformat()


def limits_of(budget: BudgetSettings, now: datetime) -> list[Limit]:
    """The budgets that are set, and the periods that run, in the order of :data:`SCOPES`."""
    day = day_of(budget, now)
    found = []
    for scope in SCOPES:
        own: Budget = budget if scope == "all" else getattr(budget, scope)
        for period, limit in ((day, own.day), (day[:7], own.month)):
            if limit is not None:
                found.append(Limit(scope, period, counted(limit)))
    return found


def counters_of(budget: BudgetSettings, payer: Payer, now: datetime) -> list[Counter]:
    """The counters a payer's calls are counted in, in the order they are locked in."""
    keys = {scope: key_of(scope, payer) for scope in SCOPES}
    return [
        Counter(scope, key, period, limit)
        for scope, period, limit in limits_of(budget, now)
        if (key := keys[scope]) is not None
    ]


_named = and_(
    counters.c.scope == bindparam("c_scope"),
    counters.c.key == bindparam("c_key"),
    counters.c.period == bindparam("c_period"),
)
_amount: ColumnElement[int] = bindparam("amount", type_=counters.c.spent.type)
_limit: ColumnElement[int] = bindparam("limit", type_=counters.c.spent.type)
#: The one rule of a budget. A call that does not fit beside the others is let through alone while anything is left:
#: the most a call can cost is many times what it does cost, and the rest of the budget would never be used.
_TAKE: Update = (
    counters.update()
    .where(
        _named,
        or_(
            counters.c.spent + counters.c.reserved + _amount <= _limit,
            and_(counters.c.reserved == 0, counters.c.spent < _limit),
        ),
    )
    .values(reserved=counters.c.reserved + _amount)
)
_MOVE: Update = (
    counters.update()
    .where(_named)
    .values(
        reserved=counters.c.reserved - bindparam("released", type_=counters.c.spent.type),
        spent=counters.c.spent + bindparam("paid", type_=counters.c.spent.type),
    )
    .returning(*(counters.c[name] for name in State._fields))
)
_STATE: Select[Any] = select(*(counters.c[name] for name in State._fields)).where(_named)
_WARN: Update = counters.update().where(_named, counters.c.warned_at.is_(None)).values(warned_at=bindparam("now"))
_EXHAUST: Update = (
    counters.update().where(_named, counters.c.exhausted_at.is_(None)).values(exhausted_at=bindparam("now"))
)
#: A budget that was raised is warned of, and told to be spent, anew.
_RAISED: Update = counters.update().where(_named).values(warned_at=None, exhausted_at=None)
_CLOSE: Update = (
    calls.update()
    .where(calls.c.id == bindparam("call_id"), calls.c.outcome == bindparam("was"))
    .values(
        {
            name: bindparam(f"to_{name}", type_=calls.c[name].type)
            for name in (
                "outcome", "cost", "price_source", "counted", "tokens_in", "tokens_out", "tokens_cached",
                "audio_seconds", "images", "error_class", "ms", "closed_at",
            )
        }
    )
)  # fmt: skip
_EXPIRED: Select[Any] = (
    select(calls.c.id, calls.c.counted, calls.c.budgets)
    .where(calls.c.outcome == "reserved", calls.c.expires_at < bindparam("now"))
    .order_by(calls.c.expires_at)
    .limit(bindparam("most"))
)
_ABANDON: Update = (
    calls.update()
    .where(calls.c.id == bindparam("call_id"), calls.c.outcome == "reserved")
    .values(outcome="abandoned", closed_at=bindparam("now"))
)


def reserve(
    connection: Connection, row: Mapping[str, Any], held: Sequence[Counter], *, now: datetime
) -> Refused | None:
    """Set the most a call can cost (``row["counted"]``) aside in all of its counters and write the call down.

    ``row`` is the call's row without ``budgets``; ``held`` are in the order of :data:`SCOPES`. Returns the budget that
    does not hold it, and has then changed nothing.
    """
    amount = row["counted"]
    for position, counter in enumerate(held):
        refused = _take(connection, counter, row, now)
        if refused is not None:
            for earlier in held[:position]:
                connection.execute(_MOVE, {**earlier.name, "released": amount, "paid": 0})
            return refused
    budgets = [[counter.scope, counter.key, counter.period] for counter in held]
    connection.execute(calls.insert(), {**row, "budgets": budgets})
    return None


def _take(connection: Connection, counter: Counter, row: Mapping[str, Any], now: datetime) -> Refused | None:
    values = {**counter.name, "amount": row["counted"], "limit": counter.limit}
    if connection.execute(_TAKE, values).rowcount == 1:
        return None
    found = connection.execute(_STATE, counter.name).first()
    if found is None:
        _begin(connection, counter, row)
        if connection.execute(_TAKE, values).rowcount == 1:
            return None
        found = connection.execute(_STATE, counter.name).one()
    state = State._make(found)
    spent = state.spent >= counter.limit
    first = (
        spent
        and state.exhausted_at is None
        and connection.execute(_EXHAUST, {**counter.name, "now": now}).rowcount == 1
    )
    return Refused(counter, state.spent, state.reserved, first)


def _begin(connection: Connection, counter: Counter, row: Mapping[str, Any]) -> None:
    """A counter with what its period has cost already: a budget may be set on any day."""
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(counters)
    paid = func.coalesce(func.sum(calls.c.counted), 0)
    so_far = connection.execute(select(paid).where(*_of(counter, row))).scalar_one()
    begun = {"scope": counter.scope, "key": counter.key, "period": counter.period, "spent": int(so_far), "reserved": 0}
    connection.execute(insert.values(begun).on_conflict_do_nothing())


def _of(counter: Counter, row: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    """The calls of a counter that holds the call ``row``."""
    period = counter.period
    days = calls.c.day == period if len(period) == 10 else calls.c.day.between(f"{period}-01", f"{period}-31")
    return [days, *(calls.c[name] == row[name] for name in _WHOSE[counter.scope])]


def close(
    connection: Connection,
    call_id: str,
    held: Sequence[Counter],
    *,
    reserved: int,
    now: datetime,
    values: Mapping[str, Any],
) -> list[Warned]:
    """Write what came of a call and move its money: ``reserved`` is given back, ``values["counted"]`` is spent.

    ``values`` are the columns of :data:`_CLOSE`. A call that was given up as abandoned and ends after all is put
    right. Returns the budgets that have just come near their limit.
    """
    given = {"call_id": call_id, "to_closed_at": now} | {f"to_{name}": value for name, value in values.items()}
    paid = values["counted"]
    if connection.execute(_CLOSE, {**given, "was": "reserved"}).rowcount == 1:
        released = reserved
    elif connection.execute(_CLOSE, {**given, "was": "abandoned"}).rowcount == 1:
        released, paid = 0, paid - reserved
    else:
        return []
    return [warned for counter in held if (warned := _pay(connection, counter, released, paid, now)) is not None]


def _pay(connection: Connection, counter: Counter, released: int, paid: int, now: datetime) -> Warned | None:
    moved = connection.execute(_MOVE, {**counter.name, "released": released, "paid": paid}).first()
    if moved is None:
        return None
    near = moved.spent >= WARN_AT * counter.limit
    told = moved.warned_at is not None
    if (told and not near) or (moved.exhausted_at is not None and moved.spent < counter.limit):
        connection.execute(_RAISED, counter.name)
        told = False
    if told or not near:
        return None
    marked = connection.execute(_WARN, {**counter.name, "now": now}).rowcount == 1
    return Warned(counter, moved.spent) if marked else None


class Expired(NamedTuple):
    """A call nobody has closed by its deadline."""

    id: str
    counted: int
    budgets: list[list[str]]


def expired(connection: Connection, *, now: datetime, most: int = 100) -> list[Expired]:
    """Calls whose process must be dead: they are past their deadline."""
    return [Expired._make(row) for row in connection.execute(_EXPIRED, {"now": now, "most": most})]


def abandon(connection: Connection, call: Expired, *, now: datetime) -> bool:
    """Give one up: what it set aside counts as spent, since its request may have been answered, and paid, unheard.

    False where it was closed meanwhile. One call a transaction, or two of them could wait for each other.
    """
    if connection.execute(_ABANDON, {"call_id": call.id, "now": now}).rowcount != 1:
        return False
    for scope, key, period in call.budgets:
        name = {"c_scope": scope, "c_key": key, "c_period": period}
        connection.execute(_MOVE, {**name, "released": call.counted, "paid": call.counted})
    return True
