"""``ragline flags``."""

from __future__ import annotations

from typing import Annotated

import typer

from ragline.commands.output import AsJson, console, plain_errors, print_json, print_table
from ragline.commands.services import services
from storage.session import get_database
from storage.views import list_flags

app = typer.Typer(add_completion=False, invoke_without_command=True)


@app.callback()
def flags(context: typer.Context, as_json: AsJson = False) -> None:
    """Open red flags: questions a person should look at, oldest first."""
    if context.invoked_subcommand:
        return
    with plain_errors(), services("database"), get_database().read() as session:
        rows = list_flags(session)
    if as_json:
        print_json(rows)
        return
    columns = ("created_at", "cause", "question", "conversation", "message_id")
    print_table(columns, ([row[name] for name in columns] for row in rows), empty="No open red flags.")


@app.command()
def draft(
    flag_id: Annotated[str, typer.Argument(help="Id of the flag, as `ragline flags --json` lists it.")],
    as_json: AsJson = False,
) -> None:
    """Draft an answer to a flagged question from the knowledge base, for a person to complete. Nothing is sent."""
    from ragline.commands.flag_drafts import draft_of  # the list needs neither model nor search

    with plain_errors(), services("database", "chroma") as settings:
        question, found = draft_of(flag_id, settings, get_database())
    if as_json:
        usage = found.usage.model_dump(mode="json")
        cited = [one.model_dump() for one in found.citations]
        print_json(
            {"flag": flag_id, "question": question, "draft": found.text, "doubt": found.doubt, "citations": cited,
             "usage": usage}
        )  # fmt: skip
        return
    console.print(found.text, markup=False, highlight=False)
    for one in found.citations:
        console.print(f"  from {one.id}: {one.title}", markup=False, highlight=False)
    if found.doubt:
        console.print(f"Not borne out by what it cites: {found.doubt}", markup=False, highlight=False)
