"""``ragline kb import`` and ``ragline kb check``: what goes into the base, and whether it agrees with itself."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.embedders import open_embedder
from ragline.commands.kb_index import bare_rate, sync
from ragline.commands.output import AsJson, console, errors, plain_errors, print_json, print_table, progress_bar
from ragline.commands.services import services
from ragline.errors import ConfigurationError
from ragline.settings import Settings
from storage import conflicts, index, knowledge
from storage.conflicts import Finding
from storage.documents.folder import Folder, read_document
from storage.documents.importing import Origin, Report, Skipped, import_documents, import_from
from storage.documents.sandbox import TYPES, Sandbox
from storage.documents.sitemap import BadSitemap, Sitemap, is_address
from storage.knowledge_files import FORMATS, FileContent, read_file
from storage.neighbours import IndexNeighbours
from storage.session import Database, get_database
from storage.vectors import make_store

#: Findings of one kind shown to a person; ``--json`` has them all.
SHOWN = 20


@dataclass
class _Named:
    """What was named on the command line, by kind."""

    rows: list[tuple[Path, FileContent]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)


def import_(
    paths: Annotated[
        list[str],
        typer.Argument(
            help="Tables (.jsonl, .csv, .xlsx), documents (.md, .html, .pdf, .docx, .txt), folders of documents, "
            "site maps (an .xml file or an address)."
        ),
    ],
    compare: Annotated[
        bool, typer.Option("--compare", help="Measure the bare encoder on the same texts too, for comparison.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Another host the pages of a site map may be on; may be given several times."),
    ] = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Remove all that a folder or site map brought when it is empty now.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Compare what is new with what is there, as `kb check` does.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Add and replace items from tables and documents. What is unchanged is left alone; of a folder or a site map
    what is gone is removed. Bad rows and files that cannot be read are reported and left out."""
    with plain_errors():
        named = _sort(paths, allow_host or ())
        with services("database", "chroma") as settings:
            began = time.perf_counter()
            database = get_database()
            changes = [knowledge.put_items(database, found.items, source=path.name) for path, found in named.rows]
            report = Report()
            _documents(database, named, report, allow_empty=allow_empty)
            texts = sync(settings, database)
            seconds = time.perf_counter() - began
            asked = [text for _, found in named.rows for item in found.items for text in item.questions]
            bare = bare_rate(settings, database, asked) if compare else None
            touched = [item for change in (*changes, report.items) for item in change.touched]
            found = check_items(settings, database, touched) if check and touched else []
    bad: list[dict[str, Any]] = [
        {"file": str(path), "row": problem.row, "reason": problem.reason}
        for path, content in named.rows
        for problem in content.problems
    ]
    bad += [{"file": skipped.source, "row": None, "reason": skipped.reason} for skipped in report.skipped]
    summary: dict[str, Any] = {
        "rows": sum(content.rows for _, content in named.rows),
        **{name: sum(getattr(change, name) for change in changes) for name in ("added", "updated", "unchanged")},
        "bad": bad,
        "documents": {
            **{name: getattr(report, name) for name in ("added", "updated", "unchanged", "removed")},
            "skipped": len(report.skipped),
            "ignored": sum(origin.ignored for origin in named.origins),
            "passages_added": report.items.added,
        },
        "conflicts": [asdict(one) for one in found],
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
        _show(summary, named, found)
        if compare:
            console.print(f"The bare encoder: {bare or 0:.0f} texts a second; ratio {summary['ratio']}.")
    if bad:
        raise typer.Exit(1)


def _sort(paths: Sequence[str], allowed: Collection[str]) -> _Named:
    """Raises :class:`ConfigurationError` for a path that is missing or of a type nobody reads."""
    named = _Named()
    for name in paths:
        path = Path(name)
        suffix = path.suffix.lower()
        if is_address(name):
            named.origins.append(Sitemap(name, allowed))
        elif path.is_dir():
            named.origins.append(Folder(path))
        elif suffix in TYPES or suffix == ".xml" or path.name.lower().endswith(".xml.gz"):
            if not path.exists():
                raise ConfigurationError(f"{path}: there is no such file")
            if suffix in TYPES:
                named.files.append(path)
            else:
                named.origins.append(Sitemap(name, allowed))
        elif suffix in FORMATS or not path.exists():
            named.rows.append((path, read_file(path)))
        else:
            known = ", ".join((*FORMATS, *TYPES, ".xml"))
            raise ConfigurationError(f"{path}: is none of {known}, no folder and no address of a site map")
    return named


def _documents(database: Database, named: _Named, report: Report, *, allow_empty: bool) -> None:
    """Read all documents. A folder or a site map that cannot be read is noted as one document that cannot."""
    if not named.files and not named.origins:
        return
    with Sandbox() as sandbox, progress_bar("Reading", None) as advance:
        for path in named.files:
            document = read_document(path, path.name)
            import_documents(database, [document], report, origin=document.location, sandbox=sandbox, progress=advance)
        for origin in named.origins:
            try:
                import_from(database, origin, report, sandbox=sandbox, allow_empty=allow_empty, progress=advance)
            except (ConfigurationError, BadSitemap) as error:
                report.skipped.append(Skipped(origin.origin, origin.origin, str(error)))


def check_items(
    settings: Settings, database: Database, only: Collection[str] | None, *, vectors: bool = True
) -> list[Finding]:
    """Duplicates and contradictions of the base, or of some of its items.

    The index is asked where it is up to date and of the configured model, and for at most as many texts as an edit
    may wait for.
    """
    with database.read() as session:
        texts, live = conflicts.read_texts(session), index.live_index(session)
    chosen = sum(text.item.id in set(only) for text in texts) if only is not None else 0
    if not vectors or live is None or chosen > conflicts.ASKED_AT_ONCE:
        return conflicts.find(texts, only=only)
    embedder = open_embedder(settings, live)
    if index.weights_of(live.embedder) != index.weights_of(embedder.name):
        return conflicts.find(texts, only=only)
    store = make_store(live.store, settings)
    with progress_bar("Comparing", 0 if only is not None else sum(not text.passage for text in texts)) as advance:
        near = IndexNeighbours(texts, store, live, embedder, advance)
        return conflicts.find(texts, only=only, neighbours=near)


def check(
    vectors: Annotated[
        bool, typer.Option("--vectors/--no-vectors", help="Compare by meaning too: some minutes for a large base.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Near duplicates, and items that answer the same question in different ways."""
    with plain_errors(), services("database", "chroma") as settings:
        found = check_items(settings, get_database(), None, vectors=vectors)
    if as_json:
        print_json([asdict(one) for one in found])
    elif found:
        show_findings(found, all_of_them=True)
    else:
        console.print("No duplicates and no contradictions found.")


def show_findings(found: Sequence[Finding], *, all_of_them: bool = False) -> None:
    """A table for people, contradictions first."""
    shown = found if all_of_them else found[:SHOWN]
    rows = ((one.kind, f"{one.by} {one.score:.2f}", *one.items, one.texts[0][:80], one.texts[1][:80]) for one in shown)
    print_table(("finding", "by", "item", "and item", "text", "and text"), rows, empty="")
    if len(shown) < len(found):
        console.print(f"and {len(found) - len(shown)} more: `ragline kb check` lists them all.", markup=False)


def _show(summary: dict[str, Any], named: _Named, found: Sequence[Finding]) -> None:
    for problem in summary["bad"]:
        row = f", row {problem['row']}" if problem["row"] else ""
        errors.print(f"{problem['file']}{row}: {problem['reason']}", markup=False, highlight=False)
    texts, seconds = summary["texts_indexed"], summary["seconds"]
    if named.rows:
        left_out = sum(problem["row"] is not None for problem in summary["bad"])
        console.print(
            f"{summary['rows']} rows: {summary['added']} items added, {summary['updated']} updated, "
            f"{summary['unchanged']} unchanged, {left_out} bad rows left out."
        )
    if named.files or named.origins:
        counts = summary["documents"]
        console.print(
            f"Documents: {counts['added']} added, {counts['updated']} updated, {counts['unchanged']} unchanged, "
            f"{counts['removed']} removed, {counts['skipped']} skipped; {counts['ignored']} files of other types."
        )
    console.print(f"{texts} texts indexed in {seconds:.1f} s ({texts / (seconds or 1):.0f} a second).")
    if found:
        show_findings(found)
