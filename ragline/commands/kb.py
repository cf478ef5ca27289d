"""``ragline kb``: the knowledge base."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.embedders import embedder_in_use, make_embedder
from ragline.clock import utcnow
from ragline.commands.kb_import import check, check_items, import_, show_findings
from ragline.commands.kb_index import sync
from ragline.commands.kb_labels import labels
from ragline.commands.output import AsJson, console, plain_errors, print_json, print_table, progress_bar
from ragline.commands.services import services
from ragline.errors import ConfigurationError, RaglineError
from storage import index, knowledge
from storage.documents.importing import find_documents, items_of, list_documents, remove_documents
from storage.embedder.transformers import Prefixes
from storage.knowledge_files import ItemRow, as_row, read_row, write_file
from storage.session import get_database
from storage.vectors import make_store
from storage.visibility import Scope, Visibility
from storage.visibility_fields import read_channels, read_end, read_languages, read_moment, read_status

Status = Annotated[str | None, typer.Option(help="draft, active or archived: only active items are found.")]
ValidFrom = Annotated[str | None, typer.Option(help="First day or moment, such as 2026-12-01; `never` lifts it.")]
ValidUntil = Annotated[str | None, typer.Option(help="Last day, or the moment it is over; `never` lifts it.")]
Channels = Annotated[
    list[str] | None, typer.Option("--channel", help="Only on this channel; may be given several times; `all`.")
]
Languages = Annotated[
    list[str] | None, typer.Option("--language", help="Only in this language; may be given several times; `all`.")
]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The knowledge base.")
app.command()(labels)


app.command("import")(import_)
app.command()(check)


@app.command()
def add(
    questions: Annotated[list[str], typer.Argument(help="One or more phrasings of the question.")],
    answer: Annotated[str, typer.Option("--answer", "-a", help="The answer.")],
    item_id: Annotated[str | None, typer.Option("--id", help="Its id; an existing item is replaced.")] = None,
    locale: Annotated[str | None, typer.Option(help="Language of the answer, such as ru.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be given several times.")] = None,
    status: Status = None,
    valid_from: ValidFrom = None,
    valid_until: ValidUntil = None,
    channel: Channels = None,
    language: Languages = None,
    as_json: AsJson = False,
) -> None:
    """Add one item, and say what it repeats or contradicts."""
    given = {"id": item_id, "questions": questions, "answer": answer, "tags": list(tag or ()), "locale": locale}
    with plain_errors():
        row = read_row(given)
        if not row.answer or not row.questions:
            raise ConfigurationError("the question and the answer must not be blank")
        change = _visibility(status, valid_from, valid_until, channel, language)
        if change:
            row.visibility = replace(Visibility(), **change)
    with plain_errors(), services("database", "chroma") as settings:
        changes = knowledge.put_items(get_database(), [row], source="manual")
        sync(settings, get_database())
        found = check_items(settings, get_database(), changes.touched) if changes.touched else []
    done = "added" if changes.added else "updated" if changes.updated else "unchanged"
    if as_json:
        print_json({"id": row.id, "outcome": done, "conflicts": [asdict(one) for one in found]})
    else:
        console.print(f"{row.id}: {done}", markup=False)
        if found:
            show_findings(found)


@app.command("set")
def set_(
    ids: Annotated[list[str], typer.Argument(help="Ids of items, or documents by id or source.")],
    status: Status = None,
    valid_from: ValidFrom = None,
    valid_until: ValidUntil = None,
    channel: Channels = None,
    language: Languages = None,
    as_json: AsJson = False,
) -> None:
    """Say who sees items, and when. What is not named stays; the next question a second later heeds it."""
    with plain_errors():
        change = _visibility(status, valid_from, valid_until, channel, language)
        if not change:
            raise ConfigurationError("say what to set: --status, --valid-from, --valid-until, --channel or --language")
        with services("database", "chroma") as settings:
            database = get_database()
            with database.read() as session:
                named = find_documents(session, ids)
                passages = items_of(session, [key for keys in named.values() for key in keys])
            wanted = [name for name in ids if name not in named] + [i for items in passages.values() for i in items]
            changed, unknown = knowledge.set_visibility(database, wanted, change)
            found = check_items(settings, database, changed) if changed else []
        if as_json:
            print_json({"changed": changed, "unknown": unknown, "conflicts": [asdict(one) for one in found]})
        else:
            console.print(f"{len(changed)} items changed.")
            if found:
                show_findings(found)
        if unknown:
            raise RaglineError(f"there is no item {', '.join(unknown)}; `ragline kb list` has the ids")


@app.command()
def documents(as_json: AsJson = False) -> None:
    """Documents whose passages are in the base."""
    with plain_errors(), services("database"), get_database().read() as session:
        rows = list_documents(session)
        passages = items_of(session, [row.id for row in rows])
    if as_json:
        keys = ("id", "source", "title", "location", "origin", "updated_at")
        print_json([{**{key: getattr(row, key) for key in keys}, "passages": len(passages[row.id])} for row in rows])
        return
    cells = ((row.id, row.source, row.title, len(passages[row.id]), f"{row.updated_at:%Y-%m-%d %H:%M}") for row in rows)
    print_table(("id", "source", "title", "passages", "imported"), cells, empty="No documents.")


@app.command()
def remove(
    ids: Annotated[list[str], typer.Argument(help="Ids of items, or documents by id or source.")],
    as_json: AsJson = False,
) -> None:
    """Remove items and documents."""
    with plain_errors(), services("database", "chroma") as settings:
        database = get_database()
        with database.read() as session:
            named = [key for keys in find_documents(session, ids).values() for key in keys]
        removed = knowledge.remove_items(database, ids) + remove_documents(database, named)
        sync(settings, get_database())
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
        print_json([{**as_row(row), "questions": row.questions} for row in rows])
        return
    cells = (
        (
            r.id,
            _shown(r.visibility),
            r.locale,
            "\n".join(r.questions[:3]) or _place(r),
            (r.answer or "(label only)")[:100],
        )
        for r in rows
    )
    print_table(("id", "status", "locale", "questions", "answer"), cells, empty="The knowledge base is empty.")


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What a customer might ask.")],
    limit: Annotated[int, typer.Option(help="So many passages.", min=1, max=50)] = 5,
    channel: Annotated[str | None, typer.Option(help="As a customer of this channel.")] = None,
    language: Annotated[str | None, typer.Option(help="As a customer of this language.")] = None,
    as_json: AsJson = False,
) -> None:
    """The passages a question would be answered from, best first."""
    from pipeline.search import make_searcher
    from pipeline.steps.retrieve import retrieve

    with plain_errors(), services("database", "chroma") as settings:
        searcher = make_searcher(settings, get_database())
        found = retrieve(query, searcher=searcher, k=limit, scope=Scope(channel, language))
    if as_json:
        print_json([passage.model_dump() for passage in found.passages])
        return
    cells = (
        (f"{p.score:.3f}", p.id, p.question, f"{p.source or ''}{f' p. {p.page}' if p.page else ''}", p.answer[:80])
        for p in found.passages
    )
    print_table(("score", "id", "question", "source", "answer"), cells, empty="Nothing found.")
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
    store: Annotated[str | None, typer.Option(help="Vector store: chroma, faiss, pgvector or pinecone.")] = None,
    embedder: Annotated[str | None, typer.Option(help="Embedding model to build with.")] = None,
    as_json: AsJson = False,
) -> None:
    """Build a new index beside the live one and swap when it is complete. Interrupted, the same command goes on."""
    from pipeline.training import bring_up_to_date

    with plain_errors(), services("database", "chroma") as settings:
        store_name, model_name = store or settings.knowledge.store, embedder or settings.knowledge.embedder
        database = get_database()
        target = make_store(store_name, settings)
        target.ping()
        model = make_embedder(settings, model_name)
        with database.read() as session:
            total, old = index.count_texts(session), index.live_index(session)
        other = old is not None and old.embedder != model.name
        began = time.perf_counter()
        with progress_bar("Indexing", total) as advance:
            live = index.reindex(
                database, target, store_name, model, advance, setting=model_name,
                prefixes=Prefixes(settings.knowledge.query_prefix, settings.knowledge.passage_prefix),
                stores=lambda name: make_store(name, settings), grace=index.MODEL_GRACE if other else index.GRACE,
                # Another model needs a head of its own: without it the answers would be worse until the next job.
                before_swap=lambda: bring_up_to_date(database, model),
            )  # fmt: skip
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
        head = bring_up_to_date(get_database(), embedder_in_use(settings, get_database()))
    result = {"items": len(head.labels) if head else 0, "seconds": round(time.perf_counter() - began, 2)}
    if as_json:
        print_json(result)
    elif head:
        console.print(f"Learned to tell {result['items']} items apart in {result['seconds']} s.")
    else:
        console.print("Nothing to learn: the base has not changed, or too few of its items have five phrasings.")


def _shown(visibility: Visibility | None) -> str:
    """The status, whether its dates make it invisible now, and what it is limited to."""
    if visibility is None:
        return "active"
    words, now = [visibility.status], utcnow()
    if visibility.valid_from and now < visibility.valid_from:
        words.append(f"from {visibility.valid_from:%Y-%m-%d}")
    if visibility.valid_until:
        words.append("expired" if now >= visibility.valid_until else f"until {visibility.valid_until:%Y-%m-%d %H:%M}")
    return " ".join((*words, *visibility.channels, *visibility.languages))


def _place(row: ItemRow) -> str:
    """Where a passage stands."""
    return " ".join(part for part in (row.source, f"p. {row.page}" if row.page else None, row.heading) if part)


def _visibility(
    status: str | None,
    valid_from: str | None,
    valid_until: str | None,
    channel: list[str] | None,
    language: list[str] | None,
) -> dict[str, Any]:
    """The columns that were asked for; ``all`` lifts a limit, ``never`` a date. Raises :class:`ConfigurationError`."""
    change: dict[str, Any] = {}
    try:
        if status is not None:
            change["status"] = read_status(status)
        if valid_from is not None:
            change["valid_from"] = None if valid_from == "never" else read_moment(valid_from, "valid_from")
        if valid_until is not None:
            change["valid_until"] = None if valid_until == "never" else read_end(valid_until)
        if channel:
            change["channels"] = () if channel == ["all"] else read_channels(channel)
        if language:
            change["languages"] = () if language == ["all"] else read_languages(language)
    except ValueError as error:
        raise ConfigurationError(f"the item {error}") from None
    return change
