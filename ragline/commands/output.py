"""What commands print: tables for people, JSON for programs, errors on one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ragline.errors import ConfigurationError, RaglineError
from ragline.redaction import mask

#: Columns where nobody watches: a file or a pipe has no width to fit a table into, and folded cells cannot be searched.
_UNFOLDED = 1000
#: People read standard output; progress and errors go to standard error.
console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else _UNFOLDED)
errors = Console(stderr=True, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    json.dump(value, sys.stdout, ensure_ascii=False, default=str)
    sys.stdout.write("\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """A table, or ``empty`` when there are no rows."""
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    console.print(table if table.row_count else empty)


@contextmanager
def progress_bar(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error where a person watches; told how many more are done. ``total`` None: nobody knows yet."""
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, disable=not errors.is_terminal or total == 0) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done: progress.advance(task, done)


@contextmanager
def plain_errors() -> Iterator[None]:
    """An error of ours is one line on standard error; exit code 2 for a wrong setting or use, 1 otherwise."""
    try:
        yield
    except RaglineError as error:
        errors.print(f"ragline: {mask(str(error))}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(2 if isinstance(error, ConfigurationError) else 1) from None
