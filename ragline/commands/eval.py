"""``ragline eval``: quality on labelled questions, a gate for CI, and which answers a change would alter."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.evaluation import gate as gates
from pipeline.evaluation.asking import Base, ask_all
from pipeline.evaluation.metrics import RESAMPLES
from pipeline.evaluation.questions import Burst, Question, check_gold, read_bursts, read_questions
from pipeline.evaluation.report import Outcome, burst_report, judge, report
from pipeline.run import Asked
from ragline.commands import eval_answers
from ragline.commands.output import AsJson, console, plain_errors, print_json, print_table, progress_bar
from ragline.commands.temporary import copy_present, index_base, read_items, temporary_base
from ragline.errors import ConfigurationError
from storage import knowledge
from storage.knowledge_files import ItemRow

app = typer.Typer(add_completion=False, invoke_without_command=True)
app.command("save")(eval_answers.save)
app.command("diff")(eval_answers.diff)


@app.callback()
def evaluate(
    context: typer.Context,
    kb: Annotated[
        list[Path] | None, typer.Option("--kb", help="Knowledge file, or several; default: a copy of the base in use.")
    ] = None,
    queries: Annotated[Path | None, typer.Option(help="Labelled questions (JSONL).")] = None,
    split: Annotated[str | None, typer.Option(help="Only the rows of this split, such as dev.")] = None,
    bursts: Annotated[
        Path | None, typer.Option(help="Bursts of messages (JSONL), asked joined and one by one.")
    ] = None,
    store: Annotated[str, typer.Option(help="Vector store; memory compares exactly.")] = "memory",
    gate: Annotated[
        Path | None, typer.Option(help="A saved evaluation: exit 1 where a measure is worse than it allows.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(min=0, max=1, help="What the gate allows; default: the baseline's own interval.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write the evaluation to this file, for --gate.")] = None,
    rows: Annotated[Path | None, typer.Option(help="Write what came of each question to this file (JSONL).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the intervals.")] = 0,
    resamples: Annotated[int, typer.Option(min=10, help="Resamples the intervals are made of.")] = RESAMPLES,
    as_json: AsJson = False,
) -> None:
    """Measure how well a base answers labelled questions, in a temporary copy; no language model is asked."""
    if context.invoked_subcommand:
        return
    with plain_errors():
        if queries is None:
            raise ConfigurationError("say which questions: ragline eval --kb KB.jsonl --queries QUERIES.jsonl")
        baseline = gates.read_baseline(gate) if gate else None
        questions, found_bursts = read_questions(queries, split), read_bursts(bursts) if bursts else []
        items, problems = read_items(kb or ())
        with temporary_base(store) as base:
            began = time.perf_counter()
            _fill(base, items)
            known = {item.id for item in knowledge.list_items(base.database)}
            check_gold(queries, questions, known)
            if bursts:
                check_gold(bursts, found_bursts, known)
            texts = index_base(base)
            indexed = time.perf_counter()
            asked, outcomes = _ask(base, questions)
            answered = time.perf_counter()
            result: dict[str, Any] = report(questions, outcomes, seed=seed, resamples=resamples)
            if found_bursts:
                result["bursts"] = _ask_bursts(base, found_bursts)
            result |= {
                "split": split,
                "queries_digest": _digest(questions),
                "items": len(known),
                "texts": texts,
                "bad_rows": problems,
                "store": store,
                "embedder": base.embedder.name,
                "seed": seed,
                "seconds": {"index": round(indexed - began, 1), "questions": round(answered - indexed, 1)},
            }
        if rows:
            _write_rows(rows, questions, asked, outcomes)
        if save:
            _write(save, json.dumps(result, ensure_ascii=False, indent=1) + "\n")
        compared = gates.compare(baseline, result, tolerance) if baseline else []
    passed = all(one.passed for one in compared)
    if as_json:
        verdict = {"passed": passed, "measures": [asdict(one) for one in compared]}
        print_json(result | {"gate": verdict} if gate else result)
    else:
        _show(result)
        _show_gate(compared)
    if not passed:
        raise typer.Exit(1)


def _fill(base: Base, items: Sequence[ItemRow]) -> None:
    if items:
        knowledge.put_items(base.database, items, source="evaluation")
    elif not copy_present(base):
        raise ConfigurationError("the base in use is empty; name a knowledge file with --kb")


def _ask(base: Base, questions: Sequence[Question]) -> tuple[list[Asked], list[Outcome]]:
    with progress_bar("Asking", len(questions)) as advance:
        asked = ask_all([question.text for question in questions], base, progress=advance)
    return asked, [judge(one, question.gold) for one, question in zip(asked, questions, strict=True)]


def _ask_bursts(base: Base, bursts: Sequence[Burst]) -> dict[str, Any]:
    messages = [(text, burst.gold) for burst in bursts for text in burst.messages]
    with progress_bar("Asking bursts", len(bursts) + len(messages)) as advance:
        joined = ask_all([burst.messages for burst in bursts], base, progress=advance)
        single = ask_all([text for text, _ in messages], base, progress=advance)
    return burst_report(
        bursts,
        [judge(one, burst.gold) for one, burst in zip(joined, bursts, strict=True)],
        [judge(one, gold) for one, (_, gold) in zip(single, messages, strict=True)],
    )


def _digest(questions: Sequence[Question]) -> str:
    """Tells one set of labelled questions from another, whatever their order."""
    lines = sorted(json.dumps([one.text, sorted(one.gold), one.kind], ensure_ascii=False) for one in questions)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _write_rows(path: Path, questions: Sequence[Question], asked: Sequence[Asked], outcomes: Sequence[Outcome]) -> None:
    lines = (
        json.dumps(
            {
                "row": question.row, "text": question.text, "gold": sorted(question.gold), "kind": question.kind,
                **question.labels, **asdict(outcome),
                "passages": [{"id": one.id, "score": one.score, "question": one.question} for one in made.passages],
            },
            ensure_ascii=False,
        )
        for question, made, outcome in zip(questions, asked, outcomes, strict=True)
    )  # fmt: skip
    _write(path, "".join(line + "\n" for line in lines))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written ({error.strerror})") from error


def _show(result: dict[str, Any]) -> None:
    cells: list[tuple[str, str, str]] = []
    for name, value in result["intervals"].items():
        if isinstance(value, dict):
            cells += [(f"{name}, {kind}", _number(result[name][kind]), _span(one)) for kind, one in value.items()]
        else:
            cells.append((name, _number(result[name]), _span(value)))
    console.print(f"{result['n']} questions, {result['items']} items, {result['texts']} texts, {result['seconds']} s")
    print_table(("measure", "value", "95% interval"), cells, empty="")
    for label, values in result["by"].items():
        groups = (
            (value, one["n"], _number(one["accuracy_at_1"]), _number(one["recall_at_5"]))
            for value, one in values.items()
        )
        print_table((label, "n", "accuracy_at_1", "recall_at_5"), groups, empty="")
    for name in ("joined", "message_by_message"):
        if found := result.get("bursts"):
            print_table((f"bursts, {name}", "value"), ((k, _number(v)) for k, v in found[name].items()), empty="")


def _show_gate(compared: Sequence[gates.Comparison]) -> None:
    if not compared:
        return
    cells = (
        (one.name, _number(one.baseline), _number(one.worst), _number(one.now), "ok" if one.passed else "WORSE")
        for one in compared
    )
    print_table(("gate", "baseline", "allowed", "now", ""), cells, empty="")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _span(interval: Sequence[float] | None) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
