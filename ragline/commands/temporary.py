"""A knowledge base of its own for a command: nothing of it is in the data folder, nothing of it stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.embedders import make_embedder
from pipeline.evaluation.asking import Base
from ragline.commands.ledger import ledger
from ragline.commands.output import errors, progress_bar
from ragline.commands.services import chroma_answers, services, started
from ragline.settings import get_settings
from ragline.stack.parts import chroma_part
from ragline.stack.ports import free_port
from storage.index import live_index, pending
from storage.knowledge_copy import copy_knowledge
from storage.knowledge_files import ItemRow, read_file
from storage.migrate import upgrade
from storage.session import Database, get_database, make_engine
from storage.vectors import make_store


@contextmanager
def temporary_base(store: str) -> Iterator[Base]:
    """An empty base under the settings of this folder, with its own database and, for ``chroma``, its own server.

    What its models cost is written into the ledger of the base in use.
    """
    settings = get_settings()
    with TemporaryDirectory(prefix="ragline-eval-") as folder, ExitStack() as stack:
        data = Path(folder)
        paid = stack.enter_context(ledger(settings))
        own: dict[str, Any] = {
            "data": data,
            "database_url": f"sqlite:///{data}/eval.sqlite3",
            "knowledge": settings.knowledge.model_copy(update={"store": store}),
        }
        if store == "chroma":
            port = free_port()
            own["chroma_url"] = f"http://127.0.0.1:{port}"
            stack.enter_context(started(chroma_part(data, port), data, chroma_answers(own["chroma_url"])))
        under = settings.model_copy(update=own)
        vectors = make_store(store, under)
        upgrade(under.database)
        database = Database(make_engine(under.database))
        stack.callback(database.close)
        base = Base(under, database, vectors, make_embedder(under), paid.meter("evaluate"))
        stack.callback(_drop, base)
        yield base


def read_items(paths: Sequence[Path]) -> tuple[list[ItemRow], list[dict[str, Any]]]:
    """What an import of these files would take, and the bad rows it would leave out; each of those is told too.

    Raises ``ConfigurationError`` for a file that cannot be read.
    """
    contents = [(path, read_file(path)) for path in paths]
    problems = [
        {"file": str(path), "row": problem.row, "reason": problem.reason}
        for path, found in contents
        for problem in found.problems
    ]
    for problem in problems:
        said = f"{problem['file']}, row {problem['row']}: {problem['reason']}; left out"
        errors.print(said, markup=False, highlight=False)
    return [item for _, found in contents for item in found.items], problems


def copy_present(base: Base) -> int:
    """Put a copy of the base in use into an empty one; returns how many items it has."""
    with services("database"):
        return copy_knowledge(get_database(), base.database)


def index_base(base: Base) -> int:
    """Bring the base up to date, showing how far it is; returns how many texts were added."""
    with base.database.read() as session:
        missing = pending(session)
    with progress_bar("Indexing", missing) as advance:
        return base.bring_up_to_date(advance)


def _drop(base: Base) -> None:
    """A store that is a server elsewhere keeps nothing of ours."""
    with base.database.read() as session:
        live = live_index(session)
    if live:
        base.store.drop(live.collection)
