"""``ragline kb`` from the command line, on a real Chroma server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chromadb.api import ServerAPI
from chromadb.api.shared_system_client import SharedSystemClient
from typer.testing import CliRunner

from ragline.commands.kb import app
from tests.pipeline.test_training import base_rows
from tests.support import documents as made

Kb = Callable[..., tuple[int, Any]]


@pytest.fixture
def kb(tmp_path: Path, chroma_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kb]:
    """Runs a command with ``--json``; its exit code and what it printed."""
    monkeypatch.setenv("CHROMA_URL", chroma_url)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/kb.sqlite3")
    monkeypatch.setenv("RAGLINE_DATA", str(tmp_path / "data"))

    def run(*arguments: str) -> tuple[int, Any]:
        done = CliRunner().invoke(app, [*arguments, "--json"])
        return done.exit_code, json.loads(done.stdout.splitlines()[-1]) if done.stdout else done.stderr

    yield run
    # A command ends with its process; here the connections of its Chroma client would outlive it.
    for system in SharedSystemClient._identifier_to_system.values():
        system.instance(ServerAPI)._session.close()
    SharedSystemClient.clear_system_cache()


def test_documents_with_ten_broken_ones_among_them(kb: Kb, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    for name, content in made.broken().items():
        (folder / name).write_bytes(content)
    (folder / "kettle.pdf").write_bytes(made.pdf([[("Safety first.", 11)], [("Descale it once a month.", 11)]]))
    (folder / "faq.md").write_text("# Parking\n\nParking is free for two hours.\n")
    code, done = kb("import", str(folder))
    assert code == 1
    assert {problem["file"] for problem in done["bad"]} == set(made.broken())
    assert all(problem["reason"] for problem in done["bad"])
    counts = {"added": 2, "updated": 0, "unchanged": 0, "removed": 0, "skipped": 10, "ignored": 0, "passages_added": 3}
    assert done["documents"] == counts
    _, [first, *_] = kb("search", "How often do I descale it?")
    assert (first["source"], first["page"], first["question"]) == ("kettle.pdf", 2, None)
    for name in made.broken():
        (folder / name).unlink()
    (folder / "faq.md").unlink()
    code, done = kb("import", str(folder))
    assert (code, done["documents"]["removed"], done["documents"]["unchanged"]) == (0, 1, 1)
    _, [document] = kb("documents")
    assert (document["source"], document["passages"]) == ("kettle.pdf", 2)
    assert kb("set", "kettle.pdf", "--status", "archived")[0] == 0
    assert kb("search", "How often do I descale it?") == (0, [])
    assert kb("remove", "kettle.pdf") == (0, {"removed": 1})
    assert kb("documents") == (0, [])


def test_an_edit_says_what_it_contradicts_and_check_finds_all(kb: Kb) -> None:
    asked = "How long does delivery to Tver take?"
    assert kb("add", asked, "-a", "Two days.", "--id", "a") == (0, {"id": "a", "outcome": "added", "conflicts": []})
    _, done = kb("add", "How long does the delivery to Tver take", "-a", "Five days.", "--id", "b")
    [conflict] = done["conflicts"]
    assert (conflict["kind"], conflict["by"], conflict["items"]) == ("contradiction", "words", ["a", "b"])
    _, done = kb("add", "What is the delivery time to Tver?", "-a", "Nine days.", "--id", "c")
    assert {tuple(one["items"]) for one in done["conflicts"] if one["by"] == "vectors"} <= {("a", "c"), ("b", "c")}
    code, found = kb("check", "--no-vectors")
    assert (code, [one["items"] for one in found]) == (0, [["a", "b"]])
    assert kb("set", "b", "--valid-until", "2026-01-01")[1]["changed"] == ["b"]
    assert {row["id"] for row in kb("list")[1] if row["valid_until"]} == {"b"}
    code, done = kb("set", "nobody", "--status", "draft")
    assert (code, done["unknown"]) == (1, ["nobody"])
    assert kb("set", "a", "--channel", "telegramm")[0] == 2
    assert kb("import", "picture.png")[0] == 2


def test_a_base_is_learned_from_once(kb: Kb, tmp_path: Path) -> None:
    rows = [
        {"id": item.id, "questions": list(item.questions), "answer": item.answer, "locale": item.locale}
        for item in base_rows()
    ]
    (tmp_path / "base.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert kb("import", str(tmp_path / "base.jsonl"))[0] == 0
    code, learned = kb("train")
    assert (code, learned["items"]) == (0, len(rows))
    assert kb("train")[1]["items"] == 0, "the base has not changed"
