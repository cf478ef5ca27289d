"""``ragline kb``: the knowledge base."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ragline.commands.output import AsJson, console, errors, plain_errors, print_json, print_table
from ragline.commands.services import services
from ragline.errors import ConfigurationError
from ragline.settings import Settings
from storage import index, knowledge
from storage.embedder import make_embedder
from storage.embedder.base import Embedder
from storage.knowledge_files import read_file, read_row, write_file
from storage.session import Database, get_database
from storage.vectors import make_store

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The knowledge base.")


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(help="Files: .jsonl, .csv or .xlsx.")],
    compare: Annotated[
        bool, typer.Option("--compare", help="Measure the bare encoder on the same texts too, for comparison.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add and replace items from files. Bad rows are reported and left out; the same file again changes nothing."""
    with plain_errors():
        contents = [(path, read_file(path)) for path in paths]
        with services("database", "chroma") as settings:
            began = time.perf_counter()
            database = get_database()
            changes = [knowledge.put_items(database, found.items, source=path.name) for path, found in contents]
            texts = _sync(settings, database)
            seconds = time.perf_counter() - began
            asked = [text for _, found in contents for item in found.items for text in item.questions]
            bare = _bare_rate(settings, asked) if compare else None
    problems = [
        {"file": str(path), "row": problem.row, "reason": problem.reason}
        for path, found in contents
        for problem in found.problems
    ]
    summary: dict[str, Any] = {
        "rows": sum(found.rows for _, found in contents),
        "added": sum(change.added for change in changes),
        "updated": sum(change.updated for change in changes),
        "unchanged": sum(change.unchanged for change in changes),
        "bad": problems,
        "texts_indexed": texts,
        "seconds": round(seconds, 2),
    }
    if compare:
        rate = texts / seconds
        summary |= {"texts_per_second": round(rate, 1), "bare_encoder_texts_per_second": round(bare or 0, 1)}
        summary["ratio"] = round(rate / bare, 3) if bare else None
    if as_json:
        print_json(summary)
    else:
        for problem in problems:
            errors.print(f"{problem['file']}, row {problem['row']}: {problem['reason']}", markup=False, highlight=False)
        console.print(
            f"{summary['rows']} rows: {summary['added']} items added, {summary['updated']} updated, "
            f"{summary['unchanged']} unchanged, {len(problems)} bad rows left out; "
            f"{texts} texts indexed in {seconds:.1f} s ({texts / seconds:.0f} a second)."
        )
        if compare:
            console.print(f"The bare encoder: {bare or 0:.0f} texts a second; ratio {summary['ratio']}.")
    if problems:
        raise typer.Exit(1)


@app.command()
def add(
    questions: Annotated[list[str], typer.Argument(help="One or more phrasings of the question.")],
    answer: Annotated[str, typer.Option("--answer", "-a", help="The answer.")],
    item_id: Annotated[str | None, typer.Option("--id", help="Its id; an existing item is replaced.")] = None,
    locale: Annotated[str | None, typer.Option(help="Language of the answer, such as ru.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be given several times.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add one item."""
    given = {"id": item_id, "questions": questions, "answer": answer, "tags": list(tag or ()), "locale": locale}
    with plain_errors():
        row = read_row(given)
        if not row.answer or not row.questions:
            raise ConfigurationError("the question and the answer must not be blank")
    with plain_errors(), services("database", "chroma") as settings:
        changes = knowledge.put_items(get_database(), [row], source="manual")
        _sync(settings, get_database())
    done = "added" if changes.added else "updated" if changes.updated else "unchanged"
    if as_json:
        print_json({"id": row.id, "outcome": done})
    else:
        console.print(f"{row.id}: {done}", markup=False)


@app.command()
def remove(ids: Annotated[list[str], typer.Argument(help="Ids of items.")], as_json: AsJson = False) -> None:
    """Remove items."""
    with plain_errors(), services("database", "chroma") as settings:
        removed = knowledge.remove_items(get_database(), ids)
        _sync(settings, get_database())
    if as_json:
        print_json({"removed": removed})
    else:
        console.print(f"{removed} items removed.")


@app.command("list")
def list_(limit: Annotated[int, typer.Option(help="So many; 0: all.", min=0)] = 100, as_json: AsJson = False) -> None:
    """Items with their phrasings."""
    with plain_errors(), services("database"):
        rows = list(knowledge.list_items(get_database(), limit=limit))
    if as_json:
        print_json([vars(row) for row in rows])
        return
    cells = ((r.id, r.locale, "\n".join(r.questions[:3]), (r.answer or "(label only)")[:100]) for r in rows)
    print_table(("id", "locale", "questions", "answer"), cells, empty="The knowledge base is empty.")


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What a customer might ask.")],
    limit: Annotated[int, typer.Option(help="So many passages.", min=1, max=50)] = 5,
    as_json: AsJson = False,
) -> None:
    """The passages a question would be answered from, best first."""
    from pipeline.search import make_searcher
    from pipeline.steps.retrieve import retrieve

    with plain_errors(), services("database", "chroma") as settings:
        found = retrieve(query, searcher=make_searcher(settings, get_database()), k=limit)
    if as_json:
        print_json([passage.model_dump() for passage in found.passages])
        return
    cells = ((f"{p.score:.3f}", p.id, p.question, p.answer[:80]) for p in found.passages)
    print_table(("score", "id", "question", "answer"), cells, empty="Nothing found.")
    console.print(f"Confidence that the first one answers: {found.confidence:.2f}")


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="File to write: .jsonl, .csv or .xlsx.")], as_json: AsJson = False
) -> None:
    """Write the whole base to a file that import takes."""
    with plain_errors(), services("database"):
        try:
            written = write_file(path, knowledge.list_items(get_database()))
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be written ({error.strerror})") from error
    if as_json:
        print_json({"items": written, "path": str(path)})
    else:
        console.print(f"{written} items written to {path}.", markup=False)


@app.command()
def reindex(
    store: Annotated[str | None, typer.Option(help="Vector store to build in.")] = None,
    embedder: Annotated[str | None, typer.Option(help="Embedding model to build with.")] = None,
    as_json: AsJson = False,
) -> None:
    """Build a new index beside the live one and swap when it is complete."""
    with plain_errors(), services("database", "chroma") as settings:
        store_name, model_name = store or settings.knowledge.store, embedder or settings.knowledge.embedder
        database = get_database()
        model = make_embedder(model_name)
        with database.read() as session:
            total = index.count_texts(session)
        began = time.perf_counter()
        with _progress("Indexing", total) as advance:
            live = index.reindex(database, make_store(store_name, settings), store_name, model, advance)
        seconds = time.perf_counter() - began
    result = {
        "index": live.id,
        "store": store_name,
        "embedder": model.name,
        "texts": total,
        "seconds": round(seconds, 2),
    }
    if as_json:
        print_json(result)
        return
    console.print(f"{total} texts indexed in {store_name} by {model.name} in {seconds:.1f} s.", markup=False)
    if (store_name, model_name) != (settings.knowledge.store, settings.knowledge.embedder):
        console.print(f"Now set knowledge.store: {store_name} and knowledge.embedder: {model_name} in ragline.yaml.")


@app.command()
def train(as_json: AsJson = False) -> None:
    """Learn from the phrasings of the base now; a running stack does so by itself within a minute of a change."""
    from pipeline.training import bring_up_to_date

    with plain_errors(), services("database") as settings:
        began = time.perf_counter()
        head = bring_up_to_date(get_database(), make_embedder(settings.knowledge.embedder))
    result = {"items": len(head.labels) if head else 0, "seconds": round(time.perf_counter() - began, 2)}
    if as_json:
        print_json(result)
    elif head:
        console.print(f"Learned to tell {result['items']} items apart in {result['seconds']} s.")
    else:
        console.print("Nothing to learn: the base has not changed, or too few of its items have five phrasings.")


def _sync(settings: Settings, database: Database) -> int:
    """Bring the index up to date, showing how far it is."""
    embedder = make_embedder(settings.knowledge.embedder)
    with database.read() as session:
        missing = index.pending(session)
    store = make_store(settings.knowledge.store, settings)
    with _progress("Indexing", missing) as advance:
        return index.sync(database, store, settings.knowledge.store, embedder, settings.knowledge.embedder, advance)


def _bare_rate(settings: Settings, texts: list[str]) -> float | None:
    """Texts a second of the encoder alone."""
    if not texts:
        return None
    embedder: Embedder = make_embedder(settings.knowledge.embedder)
    embedder.encode_passages(texts[:64])
    began = time.perf_counter()
    for start in range(0, len(texts), index.BATCH):
        embedder.encode_passages(texts[start : start + index.BATCH])
    return len(texts) / (time.perf_counter() - began)


@contextmanager
def _progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, disable=not errors.is_terminal or not total) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done: progress.advance(task, done)
