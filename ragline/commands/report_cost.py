"""The sections of ``ragline report`` about money."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlmodel import Session

from ragline.clock import utcnow
from ragline.commands.output import console, print_table
from ragline.settings import Settings
from storage.spending import limits_of
from storage.spending_report import GROUPS, budgets, costs


def read_cost(session: Session, settings: Settings, since: datetime) -> dict[str, Any]:
    """Sums of the calls since then, by day, model, provider, modality, purpose and account."""
    return costs(session.connection(), since=since)


def read_budgets(session: Session, settings: Settings, since: datetime) -> list[dict[str, Any]]:
    """The budgets that are set, as they stand now."""
    found = budgets(session.connection(), limits_of(settings.budget, utcnow()))
    return [{**one.shown(), "currency": settings.llm.currency} for one in found]


def show_cost(found: dict[str, Any]) -> None:
    """Tables, the sums first. What has no price, or may not have been paid, is never added to the cost."""
    if not found["total"]:
        console.print("No calls.")
        return
    for total in found["total"]:
        unpriced = f", {total['unpriced']} unpriced" if total["unpriced"] else ""
        said = f"{_money(total, 'cost')} for {total['calls']} calls, {total['failed']} of them failed{unpriced}"
        console.print(said)
    for name in GROUPS:
        columns = (name, "calls", "tokens in", "cached", "tokens out", "sound, s", "images", "cost")
        print_table(columns, [_cells(name, row) for row in found[name]], empty="")
        console.print()
    _apart("unpriced", "Unpriced: no price is known; set llm.prices. Budgets count", found)
    _apart("uncertain", "Uncertain: broken off or given up, perhaps paid all the same. Budgets count", found)


def _cells(name: str, row: dict[str, Any]) -> list[Any]:
    numbers = [row[key] for key in ("calls", "tokens_in", "tokens_cached", "tokens_out", "audio_seconds", "images")]
    unpriced = f"{row['unpriced']} unpriced" if row["unpriced"] else ""
    cost = "" if unpriced and not Decimal(row["cost"]) else _money(row, "cost")
    return [row[name] or "-", *numbers, " + ".join(filter(None, (cost, unpriced)))]


def _apart(name: str, says: str, found: dict[str, Any]) -> None:
    for row in found[name]:
        console.print(f"{says} {_money(row, 'assumed')} for {row['calls']} calls of {row['model']}.", markup=False)


def show_budgets(found: list[dict[str, Any]]) -> None:
    """A line a budget."""
    columns = ("budget", "of", "period", "spent", "reserved", "limit", "used", "")
    rows = [
        (row["scope"], row["key"], row["period"], *(_money(row, name) for name in ("spent", "reserved", "limit")),
         f"{row['share']:.0%}", _state(row))
        for row in found
    ]  # fmt: skip
    print_table(columns, rows, empty="No budget is set; see docs/operations.md, Prices and budgets.")


def _state(row: dict[str, Any]) -> str:
    if row["exhausted"]:
        since = f" since {row['exhausted_at']}" if row["exhausted_at"] else ""
        return f"spent; models are not asked{since}"
    return f"nearly spent since {row['warned_at']}" if row["warned_at"] else ""


def _money(row: dict[str, Any], name: str) -> str:
    """Four digits after the point; of less than that the first two, since what was paid is never shown as nothing."""
    amount = Decimal(row[name])
    digits = max(4, 1 - amount.adjusted()) if amount else 4
    return f"{amount:.{digits}f} {row['currency']}"
