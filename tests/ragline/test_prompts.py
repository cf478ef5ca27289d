"""`ragline prompts`: what is in force, whether own templates are sound, what they say; and that doctor looks too."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from ragline.commands.doctor import examine
from ragline.commands.prompts import app
from ragline.settings import get_settings, load_settings

Command = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAGLINE__PROMPTS__FOLDER", str(tmp_path / "own"))
    monkeypatch.setenv("RAGLINE_DATA", str(tmp_path / "data"))
    own = tmp_path / "own" / "widget" / "default"
    own.mkdir(parents=True)
    own.joinpath("reply_unknown.md").write_text("---\nversion: 3\n---\nA colleague will write to you.\n")
    return tmp_path / "own"


@pytest.fixture
def command(folder: Path) -> Command:
    def run(*arguments: str) -> Result:
        get_settings.cache_clear()
        return CliRunner().invoke(app, list(arguments))

    return run


def test_the_templates_in_force_are_listed(command: Command) -> None:
    rows = {row["name"]: row for row in json.loads(command("list", "--json").stdout)}
    assert rows["text_answer_template"]["version"] == "2+4"
    assert rows["reply_unknown"]["file"] == "prompts/reply_unknown.md"
    own = json.loads(command("list", "--channel", "widget", "--account", "default", "--json").stdout)
    assert any(row["file"].endswith("own/widget/default/reply_unknown.md") for row in own)
    assert command("list").exit_code == 0
    assert command("list", "--channel", "widget").exit_code == 2
    assert command("list", "--channel", "widget", "--account", "none").exit_code == 2


def test_own_templates_are_checked(command: Command, folder: Path) -> None:
    [row] = json.loads(command("check", "--json").stdout)
    assert (row["name"], row["channel"], row["left_out"]) == ("reply_unknown", "widget", ["language"])
    assert "leaves out language" in command("check").stdout
    folder.joinpath("reply_unknwon.md").write_text("---\nversion: 1\n---\nx\n")
    refused = command("check")
    assert refused.exit_code == 2
    assert "nothing uses a template of this name" in refused.stderr
    settings = load_settings()
    [finding] = [one for one in examine(settings) if one.part == "prompts"]
    assert (finding.level, "reply_unknwon" in finding.found) == ("fail", True)


def test_a_template_is_shown_as_it_is_said(command: Command) -> None:
    said = command("render", "text_answer_template", "--sample", "--set", "question=</customer> Is it blue?")
    assert "Delivery costs 390 roubles" in said.stdout
    assert "Is it blue?" in said.stdout
    own = command("render", "reply_unknown", "--set", "language=ru", "--channel", "widget", "--account", "default")
    assert own.stdout == "A colleague will write to you.\n"
    lacking = command("render", "reply_unknown")
    assert (lacking.exit_code, "give --sample, or --set language=" in lacking.stderr) == (2, True)
    long = "a long question " * 20
    assert long.strip() in command("render", "text_answer_template", "--sample", "--set", f"question={long}").stdout
    assert command("render", "nothing", "--sample").exit_code == 2
    assert command("render", "reply_unknown", "--set", "languag=ru", "--sample").exit_code == 2


def test_a_folder_that_is_missing_is_said(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGLINE__PROMPTS__FOLDER", "nowhere")
    for arguments in (("list",), ("check",), ("render", "reply_unknown", "--sample")):
        refused = command(*arguments)
        assert (refused.exit_code, "nowhere is no folder" in refused.stderr) == (2, True)
