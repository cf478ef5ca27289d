"""``ragline replay``."""

from __future__ import annotations

import sys
import time
from collections import Counter
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ragline.commands.output import AsJson, console, errors, plain_errors, print_json, print_table
from ragline.commands.services import services
from ragline.commands.spans import since_time
from ragline.errors import ConfigurationError
from ragline.stack import folder
from storage import replay as replays
from storage.replay import Verdict, Wish
from storage.session import Database, get_database

#: More turns than this are asked about first.
MANY = 20
#: Seconds without any turn ending after which the command no longer waits; the workers go on.
PATIENCE = 60
#: What a turn is after its replay.
ENDS = ("answered", "failed", "undeliverable", "suggested")
app = typer.Typer(add_completion=False)


class Step(StrEnum):
    """Steps a replay can begin at."""

    classify = "classify"
    retrieve = "retrieve"
    generate = "generate"
    deliver = "deliver"


@app.command()
def replay(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of turns or messages.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All that failed.")] = False,
    since: Annotated[str | None, typer.Option(help="Not older than this: 30m, 2h, 7d, or a date and time.")] = None,
    channel: Annotated[str | None, typer.Option(help="Only of this channel.")] = None,
    from_step: Annotated[Step | None, typer.Option(help="Begin here; default: the step that failed.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also what was delivered: a new answer goes out.")] = False,
    ambiguous: Annotated[
        bool, typer.Option("--ambiguous", help="Also what the customer may have received: it is sent again.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help=f"Do not ask before more than {MANY}.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Ask for it and do not wait for the answers.")] = False,
    as_json: AsJson = False,
) -> None:
    """Answer failed messages again, from the step that failed; what earlier steps found is kept."""
    with plain_errors(), services("database") as settings:
        if not ids and not failed and since is None and channel is None:
            raise ConfigurationError("say which: ids, --failed, --since or --channel")
        database = get_database()
        with database.read() as session:
            # Filters alone mean failed ones: what was answered is named by its id.
            found = replays.find(
                session,
                ids=ids or (),
                failed=failed or not ids,
                since=since_time(since) if since else None,
                channel=channel,
            )
        if len(found) > MANY and not (yes or dry_run or as_json) and sys.stdin.isatty():
            typer.confirm(f"Answer {len(found)} turns again?", abort=True)
        wish = Wish(from_step.value if from_step else None, force, ambiguous, dry_run)
        verdicts = _request(database, found, wish)
        asked = [verdict.turn_id for verdict in verdicts if verdict.from_step]
        outcomes: dict[str, str] = {}
        works = folder.find_running(folder.prepare(settings.data)) is not None or settings.redis_url is not None
        if not dry_run and not no_wait and works:
            outcomes = _wait(database, asked)
    report = _report(verdicts, outcomes, dry_run=dry_run)
    if as_json:
        print_json(report)
    else:
        _print(report, works=works, dry_run=dry_run)
    unknown = set(ids or ()) and not found
    if unknown or report["failed"]:
        raise typer.Exit(1)


def _request(database: Database, turn_ids: list[str], wish: Wish) -> list[Verdict]:
    verdicts = []
    with _progress("Asking") as progress:
        for turn_id in progress.track(turn_ids, description="Asking"):
            with database.write() as session:
                verdicts.append(replays.request(session, turn_id, wish))
    return verdicts


def _wait(database: Database, turn_ids: list[str]) -> dict[str, str]:
    """Until each turn has ended, or none has for a while."""
    ended: dict[str, str] = {}
    with _progress("Answering") as progress:
        task = progress.add_task("Answering", total=len(turn_ids))
        moved = time.monotonic()
        while len(ended) < len(turn_ids) and time.monotonic() - moved < PATIENCE:
            time.sleep(0.3)
            with database.read() as session:
                now = replays.statuses(session, [turn_id for turn_id in turn_ids if turn_id not in ended])
            fresh = {turn_id: status for turn_id, status in now.items() if status in ENDS}
            if fresh:
                moved = time.monotonic()
            ended |= fresh
            progress.update(task, completed=len(ended))
    return ended


def _progress(_: str) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=errors, transient=True)


def _report(verdicts: list[Verdict], outcomes: dict[str, str], *, dry_run: bool) -> dict[str, Any]:
    items = []
    for verdict in verdicts:
        item = verdict.shown
        if verdict.from_step:
            item["outcome"] = "would be replayed" if dry_run else outcomes.get(verdict.turn_id, "asked")
        items.append(item)
    ends = Counter(outcomes.values())
    replayed = sum(verdict.from_step is not None for verdict in verdicts)
    return {
        "matched": len(verdicts),
        "replayed": 0 if dry_run else replayed,
        "answered": ends["answered"],
        "skipped": len(verdicts) - replayed,
        "failed": ends["failed"] + ends["undeliverable"],
        "items": items,
    }


def _print(report: dict[str, Any], *, works: bool, dry_run: bool) -> None:
    rows = [(item["turn_id"], item["from_step"], item["outcome"]) for item in report["items"]]
    print_table(("turn", "from", "outcome"), rows, empty="Nothing matches.")
    if not rows or dry_run:
        return
    console.print(
        f"{report['matched']} found: {report['replayed']} replayed, of which {report['answered']} are answered and "
        f"{report['failed']} failed again; {report['skipped']} left alone."
    )
    if report["replayed"] and not works:
        console.print("Nothing is running here: it will be done when `ragline up` is.")
