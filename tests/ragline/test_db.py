"""`ragline db`: on which database it works, and what it refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from ragline.commands.db import app
from ragline.settings import FIXED_ENVIRONMENT, get_settings
from ragline.stack import folder
from ragline.stack.folder import StackFile
from storage import migrate

Command = Callable[..., Result]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return folder.prepare(tmp_path / "data")


@pytest.fixture
def command(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """`command(*arguments, **environ)`, started in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in (*FIXED_ENVIRONMENT, "RAGLINE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAGLINE_DATA", str(data))

    def run(*arguments: str, **environ: str) -> Result:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()
        return CliRunner().invoke(app, list(arguments))

    yield run
    get_settings.cache_clear()


def publish(data: Path, database_url: str) -> None:
    folder.publish(data, StackFile(os.getpid(), 1, "r", database_url, "c", 2))


def test_every_command_prints_json(command: Command) -> None:
    head = migrate.revision_of("head")
    assert json.loads(command("current", "--json").stdout) == {"current": None, "head": head}
    assert json.loads(command("upgrade", "--json").stdout) == {"current": head}
    assert json.loads(command("check", "--json").stdout) == {"differences": 0}
    assert json.loads(command("downgrade", "base", "--json").stdout) == {"current": None}


def test_the_database_is_that_of_the_running_stack(command: Command, data: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/elsewhere.sqlite3"
    migrate.upgrade(url)
    (tmp_path / "ragline.yaml").write_text("database_url: sqlite:///changed-since.sqlite3\n")
    with folder.locked(data):
        publish(data, url)
        assert json.loads(command("current", "--json").stdout)["current"] == migrate.revision_of("head")
        own = command("current", "--json", DATABASE_URL=f"sqlite:///{tmp_path}/own.sqlite3")
    assert json.loads(own.stdout)["current"] is None


def test_downgrade_refuses_while_a_stack_runs_or_starts(command: Command, data: Path) -> None:
    command("upgrade")
    with folder.locked(data):
        starting = command("downgrade", "base")
        publish(data, get_settings().database)
        running = command("downgrade", "base")
    assert (starting.exit_code, running.exit_code) == (1, 1)
    assert f"in use by process {os.getpid()}" in starting.stderr
    assert "a stack runs on" in running.stderr
    assert json.loads(command("current", "--json").stdout)["current"] == migrate.revision_of("head")


def test_a_folder_it_makes_is_the_owners_alone(command: Command, tmp_path: Path) -> None:
    assert command("upgrade", RAGLINE_DATA=str(tmp_path / "fresh")).exit_code == 0
    assert (tmp_path / "fresh").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("foo", "DATABASE_URL is no address"),
        ("postgresql+psycopg2://u:s3cret@127.0.0.1:1/d", "driver psycopg2, which is not installed"),
        ("postgresql+psycopg_async://u:s3cret@127.0.0.1:1/d", "DATABASE_URL is no address"),
        ("sqlite:////proc/none/x.sqlite3", "the folder /proc/none cannot be made"),
        ("sqlite://", "DATABASE_URL names no file"),
        ("sqlite:///text.txt", "does not answer (DatabaseError)"),
        ("sqlite:////proc/x.sqlite3", "cannot be written"),
        ("postgresql://u:s3cret@127.0.0.1:1/d", "does not answer (OperationalError)"),
        ("postgresql://u:s3cret@127.0.0.1:1/d?no=1", "does not answer (ProgrammingError)"),
    ],
)
def test_a_database_that_cannot_be_is_one_line(command: Command, tmp_path: Path, url: str, says: str) -> None:
    (tmp_path / "text.txt").write_text("no database " * 100)
    result = command("current", DATABASE_URL=url)
    assert isinstance(result.exception, SystemExit)
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert "s3cret" not in result.output


@pytest.mark.parametrize("name", ["upgrade", "downgrade"])
def test_an_unknown_revision_is_one_line(command: Command, name: str) -> None:
    result = command(name, "nosuch")
    assert result.exit_code == 1
    assert "nosuch" in result.stderr
    assert result.stderr.count("\n") == 1
