"""``ragline flags``."""

from __future__ import annotations

import typer

from ragline.commands.output import AsJson, plain_errors, print_json, print_table
from ragline.commands.services import services
from storage.session import get_database
from storage.views import list_flags

app = typer.Typer(add_completion=False)


@app.command()
def flags(as_json: AsJson = False) -> None:
    """Open red flags: questions a person should look at, oldest first."""
    with plain_errors(), services("database"), get_database().read() as session:
        rows = list_flags(session)
    if as_json:
        print_json(rows)
        return
    columns = ("created_at", "cause", "question", "conversation", "message_id")
    print_table(columns, ([row[name] for name in columns] for row in rows), empty="No open red flags.")
