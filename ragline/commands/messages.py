"""``ragline messages``."""

from __future__ import annotations

from typing import Annotated

import typer

from ragline.commands.output import AsJson, plain_errors, print_json, print_table
from ragline.commands.services import services
from storage.session import get_database
from storage.views import list_messages

app = typer.Typer(add_completion=False)


@app.command()
def messages(
    failed: Annotated[bool, typer.Option("--failed", help="Only those whose answer failed.")] = False,
    conversation: Annotated[
        str | None, typer.Option(help="Only this conversation: its id or the channel's key.")
    ] = None,
    limit: Annotated[int, typer.Option(help="The newest so many; 0: all.", min=0)] = 100,
    as_json: AsJson = False,
) -> None:
    """What came in and where it stands, oldest first."""
    with plain_errors(), services("database"), get_database().read() as session:
        rows = list_messages(session, failed=failed, conversation=conversation, limit=limit)
    if as_json:
        print_json(rows)
        return
    columns = ("received_at", "channel", "conversation", "seq", "kind", "status", "step", "error", "id")
    print_table(columns, ([row[name] for name in columns] for row in rows), empty="No messages.")
