"""``ragline report``: what happened, in sections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer
from sqlmodel import Session

from ragline.clock import utcnow
from ragline.commands.output import AsJson, console, plain_errors, print_json
from ragline.commands.report_cost import read_budgets, read_cost, show_budgets, show_cost
from ragline.commands.services import services
from ragline.commands.spans import since_time
from ragline.settings import Settings
from storage.session import get_database

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Section:
    """One part of the report: ``read`` gives it as JSON, ``show`` prints that for people."""

    title: str
    read: Callable[[Session, Settings, datetime], Any]
    show: Callable[[Any], None]


#: Name in the JSON -> section, in the order they are printed.
SECTIONS: dict[str, Section] = {
    "cost": Section("Cost", read_cost, show_cost),
    "budgets": Section("Budgets", read_budgets, show_budgets),
}


@app.command()
def report(
    since: Annotated[str, typer.Option(help="Not older than this: 30m, 2h, 7d, or a date and time.")] = "7d",
    as_json: AsJson = False,
) -> None:
    """What the models cost, and how far the budgets are."""
    with plain_errors():
        begin, end = since_time(since), utcnow()
        with services("database") as settings, get_database().read() as session:
            found = {name: section.read(session, settings, begin) for name, section in SECTIONS.items()}
    if as_json:
        print_json({"since": begin.isoformat(), "until": end.isoformat(), **found})
        return
    for name, section in SECTIONS.items():
        console.print(f"{section.title}\n", style="bold underline")
        section.show(found[name])
        console.print()
