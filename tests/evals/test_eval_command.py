"""`ragline eval`: a base of twenty items, measured, gated, and changed."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipeline.prompts import load
from ragline.clock import utcnow
from ragline.commands.eval import app
from ragline.settings import get_settings
from storage import knowledge, migrate
from storage.knowledge_files import read_file
from storage.models import Conversation, Message, Turn
from storage.session import Database, make_engine
from tests.support.fake_openai import FakeOpenAI

DATA = Path(__file__).parent / "data"
SET = ("--kb", str(DATA / "kb.jsonl"), "--queries", str(DATA / "queries.jsonl"), "--split", "dev", "--resamples", "100")
Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """`command(*arguments)`, started in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAGLINE_DATA", str(tmp_path / "data"))

    def run(*arguments: str) -> Result:
        get_settings.cache_clear()
        return CliRunner().invoke(app, list(arguments))

    yield run
    get_settings.cache_clear()


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Database]:
    """The base in use, with the items of the file."""
    url = f"sqlite:///{tmp_path}/data/ragline.sqlite3"
    (tmp_path / "data").mkdir()
    migrate.upgrade(url)
    database = Database(make_engine(url))
    knowledge.put_items(database, read_file(DATA / "kb.jsonl").items, source="test")
    yield database
    database.close()


def printed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def test_the_measures_the_gate_and_the_rows(command: Command, tmp_path: Path) -> None:
    saved, rows = tmp_path / "baseline.json", tmp_path / "rows.jsonl"
    found = printed(
        command(*SET, "--bursts", str(DATA / "bursts.jsonl"), "--save", str(saved), "--rows", str(rows), "--json")
    )
    assert (found["n"], found["items"], found["texts"]) == (20, 20, 39)
    assert found["accuracy_at_1"] >= 11 / 12, "one shares no word with the base"
    assert found["recall_at_5"] >= found["accuracy_at_1"]
    assert found["auroc"] > 0.9
    assert set(found["auroc_by_kind"]) == set(found["recall_at_95"]) == {"near_oos", "far_oos"}
    assert found["direct_rate"] > 0.5
    assert found["wrong_direct_rate"] == 0
    assert found["routed"] == {"smalltalk": 1, "human_request": 1, "in_misrouted": 0}
    assert found["by"]["style"]["plain"]["n"] == 8
    assert found["bursts"]["joined"]["accuracy_at_1"] == 1
    assert set(found["bursts"]["message_by_message"]) == {"accuracy_at_1", "any", "last", "wrong_direct"}
    low, high = found["intervals"]["accuracy_at_1"]
    assert low <= found["accuracy_at_1"] <= high
    outcomes = [json.loads(line) for line in rows.read_text().splitlines()]
    lamp = next(one for one in outcomes if one["gold"] == ["lamp"])
    assert (lamp["mode"], lamp["right"]) == ("direct", True), "a label-only item is answered by its id"

    again = printed(command(*SET, "--gate", str(saved), "--json"))
    assert again["gate"]["passed"]
    assert again["intervals"] == found["intervals"], "seeded"
    baseline = json.loads(saved.read_text())
    saved.write_text(json.dumps(baseline | {"mrr": 1.1}))
    worse = command(*SET, "--gate", str(saved), "--tolerance", "0.01")
    assert worse.exit_code == 1
    assert [line.split()[0] for line in worse.stdout.splitlines() if "WORSE" in line] == ["mrr"]
    assert not (tmp_path / "data").exists(), "the base is a temporary one"


def test_the_way_through_chroma_finds_the_same(command: Command) -> None:
    exact, chroma = printed(command(*SET, "--json")), printed(command(*SET, "--store", "chroma", "--json"))
    same = ("accuracy_at_1", "recall_at_5", "mrr", "auroc", "direct_rate", "routed")
    assert {name: chroma[name] for name in same} == {name: exact[name] for name in same}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "--queries"),
        (("--queries", "none.jsonl"), "none.jsonl: cannot be read"),
        ((*SET, "--split", "test"), "row 21: gold names no such item"),
        (("--kb", "none.jsonl", *SET[2:]), "none.jsonl: there is no such file"),
        ((*SET, "--store", "nowhere"), "unknown vector store"),
        (SET[2:], "the base in use is empty"),
    ],
)
def test_wrong_use_is_told_in_a_line(command: Command, arguments: tuple[str, ...], reason: str) -> None:
    result = command(*arguments)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert result.stderr.startswith("ragline: ")


def test_a_bad_row_of_the_base_is_left_out_and_told(command: Command, tmp_path: Path) -> None:
    damaged = tmp_path / "kb.jsonl"
    damaged.write_text((DATA / "kb.jsonl").read_text() + '{"id": "x", "question": "", "answer": null}\n')
    result = command("--kb", str(damaged), *SET[2:], "--json")
    (problem,) = printed(result)["bad_rows"]
    assert (problem["row"], problem["reason"]) == (21, "has neither a question nor an answer")
    assert "row 21: has neither a question nor an answer; left out" in " ".join(result.stderr.split())


def test_the_base_in_use_is_measured_where_no_file_is_named(command: Command, base: Database) -> None:
    found = printed(command(*SET[2:], "--json"))
    assert found["items"] == 20


def test_a_diff_shows_what_an_edit_alters_and_changes_nothing(command: Command, base: Database, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    saved = printed(command("save", str(kept), "--questions", str(DATA / "queries.jsonl"), "--json"))
    assert saved["answers"] == 21
    assert kept.stat().st_mode & 0o077 == 0, "it holds what customers wrote"
    assert printed(command("diff", str(kept), "--json"))["changes"] == []

    edited = tmp_path / "edit.jsonl"
    edited.write_text('{"id": "photos", "questions": ["Can I take photographs?"], "answer": "No longer."}\n')
    changes = printed(command("diff", str(kept), "--kb", str(edited), "--remove", "lamp", "--json"))["changes"]
    assert {(one["before"]["question"][0], *one["changed"]) for one in changes} == {
        ("Can I take photographs?", "text"),
        ("who lights the lamp at night?", "mode", "items", "text"),
        # unknown before; with the lamp gone what is left is likelier, and is offered
        ("is the keeper of the lighthouse married?", "mode", "text"),
    }
    assert {one["after"]["text"] for one in changes if one["changed"] == ["text"]} == {"No longer."}
    shown = command("diff", str(kept), "--kb", str(edited), "--fail")
    assert (shown.exit_code, "1 of 21 answers change." in shown.stdout) == (1, True)
    assert printed(command("diff", str(kept), "--json"))["changed"] == 0, "the base in use was not touched"


def test_a_diff_shows_what_a_prompt_alters_without_asking_a_model(
    command: Command, base: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGLINE__ANSWER__MODES", "[grounded]")
    monkeypatch.setenv("RAGLINE__ANSWER__GROUNDED_THRESHOLD", "0.4")
    kept, folder, questions = tmp_path / "kept.json", tmp_path / "new", tmp_path / "q.txt"
    questions.write_text("may i bring my dog with me\nwhat is the capital of Australia?\n")
    folder.mkdir()
    with FakeOpenAI("sk-test") as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_API_BASE", server.api_base)
        printed(command("save", str(kept), "--questions", str(questions), "--json"))
        assert [one["mode"] for one in json.loads(kept.read_text())["answers"]] == ["grounded", "unknown"]
        (folder / "text_answer_template.md").write_text(_source("text_answer_template") + "\nBe brief.\n")
        (change,) = printed(command("diff", str(kept), "--prompts", str(folder), "--json"))["changes"]
        assert (change["changed"], change["after"]["items"][0]) == (["prompt"], "dogs")
        assert server.requests == []
    (folder / "misspelt.md").write_text("---\nversion: 1\n---\nx")
    refused = command("diff", str(kept), "--prompts", str(folder))
    assert (refused.exit_code, "nothing uses misspelt.md" in refused.stderr) == (2, True)


def _source(name: str) -> str:
    head = f"---\nversion: 99\nvariables: [{', '.join(sorted(load(name).variables))}]\n---\n"
    return head + load(name).source


def test_the_last_answered_questions_of_customers_are_kept(command: Command, base: Database, tmp_path: Path) -> None:
    asked = [["is there", "a cafe?"], ["may i bring my dog"], ["may i bring my dog"], ["not answered"]]
    with base.write() as session:
        talk = Conversation(channel="api", account="default", key="c")
        session.add(talk)
        session.flush()
        seq = 0
        for number, texts in enumerate(asked):
            status = "failed" if texts == ["not answered"] else "answered"
            when = utcnow() + timedelta(seconds=number)
            turn = Turn(conversation_id=talk.id, status=status, mode="direct", created_at=when)
            session.add(turn)
            session.flush()
            for text in texts:
                seq += 1
                session.add(
                    Message(
                        conversation_id=talk.id, channel="api", account="default", external_id=str(seq), seq=seq,
                        kind="text", text=text, fingerprint="f", turn_id=turn.id,
                    )
                )  # fmt: skip
    kept = tmp_path / "kept.json"
    printed(command("save", str(kept), "--json"))
    answers = {tuple(one["question"]): one["items"] for one in json.loads(kept.read_text())["answers"]}
    assert answers == {("may i bring my dog",): ["dogs"], ("is there", "a cafe?"): ["cafe"]}
    printed(command("save", str(kept), "--last", "1", "--json"))
    assert [one["question"] for one in json.loads(kept.read_text())["answers"]] == [["may i bring my dog"]]
