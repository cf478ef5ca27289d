"""``ragline eval save`` and ``ragline eval diff``: which answers a change of the knowledge or of the prompts alters."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipeline.evaluation.asking import Base
from pipeline.evaluation.questions import read_texts
from pipeline.evaluation.regression import (
    AnswerSet,
    Change,
    Kept,
    answer_set,
    differences,
    read_answers,
    write_answers,
)
from pipeline.llm import make_language_model
from pipeline.metering import metered
from pipeline.prompts import proposed_prompts
from ragline.commands.output import AsJson, console, plain_errors, print_json, progress_bar
from ragline.commands.services import services
from ragline.commands.temporary import copy_present, index_base, read_items, temporary_base
from ragline.errors import ConfigurationError
from storage import knowledge, views
from storage.session import get_database


def save(
    path: Annotated[Path, typer.Argument(help="File to keep the answers in.")],
    questions: Annotated[
        Path | None, typer.Option(help="Questions: JSONL rows with a text, or a text file with one a line.")
    ] = None,
    last: Annotated[
        int,
        typer.Option(min=1, help="Without --questions: the last so many distinct questions customers got answers to."),
    ] = 200,
    with_model: Annotated[
        bool, typer.Option("--with-model", help="Ask the language model too, and pay for it, here and in each diff.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Keep the answers the base in use gives, to compare with after a change."""
    with plain_errors():
        asked = [(text,) for text in read_texts(questions)] if questions else _answered(last)
        with temporary_base("memory") as base:
            copy_present(base)
            answers = _ask(base, asked, model_asked=with_model)
        write_answers(path, answers)
    if as_json:
        print_json({"path": str(path), "answers": len(answers.answers), "model_asked": answers.model_asked})
    else:
        console.print(f"{len(answers.answers)} answers kept in {path}.", markup=False)


def diff(
    path: Annotated[Path, typer.Argument(help="Answers kept by `ragline eval save`.")],
    kb: Annotated[list[Path] | None, typer.Option("--kb", help="A knowledge file as it would be imported.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Id of an item as it would be removed.")] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Folder of templates to use instead of those in prompts/.")
    ] = None,
    fail: Annotated[bool, typer.Option("--fail", help="Exit 1 when an answer changes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show which kept answers change: with the base as it is now, or with what is proposed, tried on a copy."""
    with plain_errors():
        before = read_answers(path)
        items, _ = read_items(kb or ())
        with proposed_prompts(prompts) if prompts else nullcontext(), temporary_base("memory") as base:
            copy_present(base)
            if items:
                knowledge.put_items(base.database, items, source="proposed")
            if remove and knowledge.remove_items(base.database, remove) < len(set(remove)):
                raise ConfigurationError(f"--remove names an item the base does not hold: {', '.join(remove)}")
            asked = [answer.question for answer in before.answers]
            after = _ask(base, asked, model_asked=before.model_asked)
        changes = differences(before.answers, after.answers)
    if as_json:
        print_json({"answers": len(asked), "changed": len(changes), "changes": [asdict(one) for one in changes]})
    else:
        for change in changes:
            _show(change)
        console.print(f"{len(changes)} of {len(asked)} answers change.")
    if fail and changes:
        raise typer.Exit(1)


def _answered(last: int) -> list[tuple[str, ...]]:
    with services("database"), get_database().read() as session:
        found = views.answered_questions(session, last)
    if not found:
        raise ConfigurationError("no question of a customer has been answered yet; name a file with --questions")
    return found


def _ask(base: Base, questions: Sequence[tuple[str, ...]], *, model_asked: bool) -> AnswerSet:
    index_base(base)
    configured = make_language_model(base.settings)
    model = metered(configured, base.paid) if configured else None
    with progress_bar("Asking", len(questions)) as advance:
        return answer_set(questions, base, model=model, model_asked=model_asked, progress=advance)


def _show(change: Change) -> None:
    console.print(" / ".join(change.before.question), style="bold", markup=False, highlight=False)
    console.print(f"  changed: {', '.join(change.changed)}", markup=False, highlight=False)
    for sign, kept in (("-", change.before), ("+", change.after)):
        console.print(f"  {sign} {_line(kept)}", markup=False, highlight=False)


def _line(kept: Kept) -> str:
    said = f"prompt {kept.prompt[:12]}" if kept.prompt else " ".join(kept.text.split())
    return f"{kept.mode} {kept.confidence:.2f} [{', '.join(kept.items)}] {said}"
