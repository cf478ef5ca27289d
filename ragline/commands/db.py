"""``ragline db``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ragline.commands.output import AsJson, console, plain_errors, print_json
from ragline.errors import RaglineError
from ragline.settings import get_settings
from ragline.stack import folder
from storage import migrate

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The database.")


def _url() -> str:
    """That of the environment, else of the stack that runs on the folder, else of the settings."""
    settings = get_settings()
    if os.environ.get("DATABASE_URL"):
        return settings.database
    running = folder.find_running(settings.data.resolve() if settings.database_url else folder.prepare(settings.data))
    return running.database_url if running else settings.database


def _tell(as_json: bool, text: str, **found: object) -> None:
    if as_json:
        print_json(found)
    else:
        console.print(text)


@app.command()
def upgrade(
    revision: Annotated[str, typer.Argument(help="A revision, or head.")] = "head", as_json: AsJson = False
) -> None:
    """Bring the schema to a revision."""
    with plain_errors():
        migrate.upgrade(_url(), revision)
        found = migrate.current(_url())
    _tell(as_json, f"The schema is at {found}.", current=found)


@app.command()
def downgrade(revision: Annotated[str, typer.Argument(help="A revision, or base.")], as_json: AsJson = False) -> None:
    """Take the schema back to a revision. What later tables held is lost."""
    with plain_errors():
        data = folder.prepare(get_settings().data)
        if folder.find_running(data):
            raise RaglineError(f"a stack runs on {data}; stop it first")
        with folder.locked(data):
            migrate.downgrade(_url(), revision)
            found = migrate.current(_url())
    _tell(as_json, f"The schema is at {found or 'base'}.", current=found)


@app.command()
def current(as_json: AsJson = False) -> None:
    """The schema's revision, and the one this version needs."""
    with plain_errors():
        found, needed = migrate.current(_url()), migrate.revision_of("head")
    _tell(as_json, f"The schema is at {found or 'base'}; this version needs {needed}.", current=found, head=needed)


@app.command()
def check(as_json: AsJson = False) -> None:
    """Fail when the models and the schema differ."""
    with plain_errors():
        found = migrate.differences(_url())
        if found:
            raise RaglineError(f"the schema differs from the models in {len(found)} places, first {found[0]}")
    _tell(as_json, "The schema agrees with the models.", differences=0)
