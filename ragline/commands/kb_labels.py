"""``ragline kb labels``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from ragline.commands.output import AsJson, console, plain_errors, print_json, print_table
from ragline.commands.services import services
from ragline.errors import ConfigurationError
from storage.offers import query_rows
from storage.session import get_database


def labels(
    path: Annotated[Path | None, typer.Argument(help="File to write, a question a row: .jsonl.")] = None,
    split: Annotated[Literal["dev", "val", "test"], typer.Option(help="The split named in the rows.")] = "dev",
    as_json: AsJson = False,
) -> None:
    """What customers chose when they were asked which item they mean, as labelled questions for `ragline eval`."""
    with plain_errors(), services("database"):
        with get_database().read() as session:
            rows = list(query_rows(session, split=split))
        if path is not None:
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            try:
                path.write_text(lines, encoding="utf-8")
            except OSError as error:
                raise ConfigurationError(f"{path}: cannot be written ({error.strerror})") from error
    if as_json:
        print_json(rows)
    elif path is not None:
        console.print(f"{len(rows)} questions written to {path}.", markup=False)
    else:
        cells = ((row["kind"], row["text"], ", ".join(row["gold"])) for row in rows)
        print_table(("kind", "question", "chosen"), cells, empty="Nobody was asked which item they mean yet.")
