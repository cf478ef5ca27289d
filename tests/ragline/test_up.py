"""`ragline up`: what it decides to run, and what it hands its parts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import select

from ragline.commands.up import _plan
from ragline.settings import FIXED_ENVIRONMENT, get_settings
from ragline.stack import folder
from storage import knowledge
from storage.knowledge_files import ItemRow
from storage.migrate import upgrade
from storage.models import KnowledgePhrase, VectorIndex
from storage.session import Database, make_engine


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A prepared data folder; the environment that `up` changes is put back afterwards."""
    before = dict(os.environ)
    for name in (*FIXED_ENVIRONMENT, "RAGLINE_CONFIG"):
        os.environ.pop(name, None)
    os.environ |= {"PORT": "0", "FLOWER_PORT": "0"}
    monkeypatch.chdir(tmp_path)
    yield folder.prepare(tmp_path / "data")
    os.environ.clear()
    os.environ.update(before)
    get_settings.cache_clear()


def parts(data: Path) -> set[str]:
    os.environ["RAGLINE_DATA"] = str(data)
    get_settings.cache_clear()
    return {part.name for part in _plan(get_settings(), data).parts}


def fill(data: Path, *, indexed: bool) -> None:
    url = f"sqlite:///{data}/ragline.sqlite3"
    upgrade(url)
    database = Database(make_engine(url))
    knowledge.put_items(database, [ItemRow("a", "An answer.", ["A question?"])], source="demo")
    if indexed:
        with database.write() as session:
            session.add(VectorIndex(id="i", store="chroma", collection="c", embedder="e", dimensions=1, status="live"))
            session.flush()
            for phrase in session.exec(select(KnowledgePhrase)):
                phrase.index_id = "i"
    database.close()


def test_an_empty_base_gets_the_demo(data: Path) -> None:
    assert "indexing" in parts(data)


def test_an_empty_base_without_the_demo_has_nothing_to_index(data: Path) -> None:
    os.environ["RAGLINE__KNOWLEDGE__DEMO"] = "off"
    assert "indexing" not in parts(data)


@pytest.mark.parametrize("indexed", [False, True])
def test_what_an_earlier_start_left_unindexed_is_indexed(data: Path, indexed: bool) -> None:
    fill(data, indexed=indexed)
    assert ("indexing" in parts(data)) is not indexed


def test_parts_are_handed_the_files_of_the_working_folder(data: Path, tmp_path: Path) -> None:
    (tmp_path / "ragline.yaml").write_text("database_url: sqlite:///shop.sqlite3\nknowledge: {reranker: model}\n")
    (tmp_path / "model").mkdir()
    (tmp_path / ".env").write_text("RAGLINE_QUIET_WINDOW=3\n")
    parts(data)
    assert os.environ["RAGLINE_CONFIG"] == str(tmp_path / "ragline.yaml")
    assert os.environ["DATABASE_URL"] == f"sqlite:///{tmp_path}/shop.sqlite3"
    assert os.environ["RAGLINE__KNOWLEDGE__RERANKER"] == str(tmp_path / "model")
    assert os.environ["RAGLINE_QUIET_WINDOW"] == "3"
    assert (tmp_path / "shop.sqlite3").exists()


def test_a_folder_without_a_file_hands_on_none(data: Path) -> None:
    parts(data)
    assert os.environ["RAGLINE_CONFIG"] == os.devnull
