"""``ragline db``."""

from __future__ import annotations

from typing import Annotated

import typer

from ragline.commands.output import AsJson, console, plain_errors, print_json
from ragline.errors import RaglineError
from ragline.settings import get_settings
from ragline.stack import folder
from storage import migrate

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The database.")


def _url() -> str:
    settings = get_settings()
    if not settings.database_url:
        folder.prepare(settings.data)
    return settings.database


@app.command()
def upgrade(revision: Annotated[str, typer.Argument(help="A revision, or head.")] = "head") -> None:
    """Bring the schema to a revision."""
    with plain_errors():
        migrate.upgrade(_url(), revision)
        console.print(f"The schema is at {migrate.current(_url())}.")


@app.command()
def downgrade(revision: Annotated[str, typer.Argument(help="A revision, or base.")]) -> None:
    """Take the schema back to a revision. What later tables held is lost."""
    with plain_errors():
        migrate.downgrade(_url(), revision)
        console.print(f"The schema is at {migrate.current(_url()) or 'base'}.")


@app.command()
def current(as_json: AsJson = False) -> None:
    """The schema's revision, and the one this version needs."""
    with plain_errors():
        found, needed = migrate.current(_url()), migrate.revision_of("head")
    if as_json:
        print_json({"current": found, "head": needed})
    else:
        console.print(f"The schema is at {found or 'base'}; this version needs {needed}.")


@app.command()
def check() -> None:
    """Fail when the models and the schema differ."""
    with plain_errors():
        found = migrate.differences(_url())
        if found:
            raise RaglineError(f"the schema differs from the models in {len(found)} places, first {found[0]}")
        console.print("The schema agrees with the models.")
