"""Folders and files into the base and again: what changed, what is gone, what is kept."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import select

from ragline.errors import ConfigurationError
from storage import knowledge
from storage.documents.folder import Folder, read_document
from storage.documents.importing import Report, import_documents, import_from, list_documents
from storage.documents.sandbox import Sandbox
from storage.knowledge_files import ItemRow
from storage.models import KnowledgePhrase
from storage.session import Database
from tests.support import documents as made


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "handbook"
    (folder / "shop").mkdir(parents=True)
    (folder / "shop" / "hours.md").write_text("# Hours\n\nOpen from nine.\n\n# Parking\n\nParking is free.\n")
    (folder / "kettle.pdf").write_bytes(made.pdf([[("First page.", 11)], [("Descale it monthly.", 11)]]))
    (folder / "logo.png").write_bytes(b"\x89PNG")
    (folder / ".hidden.md").write_text("Not for anybody.")
    return folder


def counts(report: Report) -> tuple[int, int, int, int, int]:
    return report.added, report.updated, report.unchanged, report.removed, len(report.skipped)


def bring(database: Database, folder: Path, sandbox: Sandbox, *, allow_empty: bool = False) -> Report:
    report = Report()
    import_from(database, Folder(folder), report, sandbox=sandbox, allow_empty=allow_empty)
    return report


def items(database: Database) -> dict[str, ItemRow]:
    return {item.answer or "": item for item in knowledge.list_items(database)}


def phrases(database: Database) -> dict[str, str]:
    with database.read() as session:
        return {text: key for key, text in session.exec(select(KnowledgePhrase.id, KnowledgePhrase.text))}


def test_a_folder_again_and_again(database: Database, folder: Path, sandbox: Sandbox) -> None:
    assert counts(bring(database, folder, sandbox)) == (2, 0, 0, 0, 0)
    found = items(database)
    assert set(found) == {"Open from nine.", "Parking is free.", "First page.", "Descale it monthly."}
    fact = found["Descale it monthly."]
    assert (fact.source, fact.page, fact.questions) == ("kettle.pdf", 2, [])
    assert (found["Parking is free."].source, found["Parking is free."].heading) == ("shop/hours.md", "Parking")
    before = phrases(database)
    assert "Parking\nParking is free." in before, "headings are searched too"
    assert counts(bring(database, folder, sandbox)) == (0, 0, 2, 0, 0)

    hours = folder / "shop" / "hours.md"
    hours.write_text("# Hours\n\nOpen from ten.\n\n# Parking\n\nParking is free.\n")
    assert counts(bring(database, folder, sandbox)) == (0, 1, 1, 0, 0)
    assert "Open from ten." in items(database)
    assert "Open from nine." not in items(database)
    after = phrases(database)
    assert {text for text in before if before[text] == after.get(text)} == {
        text for text in before if "nine" not in text
    }, "what did not change keeps its vector"

    (folder / "kettle.pdf").write_bytes(made.locked_pdf())
    report = bring(database, folder, sandbox)
    assert counts(report) == (0, 0, 1, 0, 1)
    assert report.skipped[0].source == "kettle.pdf"
    assert "Descale it monthly." in items(database), "a file that broke keeps what it said"

    hours.unlink()
    assert counts(bring(database, folder, sandbox)) == (0, 0, 0, 1, 1)
    assert set(items(database)) == {"First page.", "Descale it monthly."}
    (folder / "kettle.pdf").unlink()
    with pytest.raises(ConfigurationError, match="--allow-empty"):
        bring(database, folder, sandbox)
    assert counts(bring(database, folder, sandbox, allow_empty=True)) == (0, 0, 0, 1, 0)
    assert items(database) == {}


def test_a_file_imported_alone_is_the_same_document(database: Database, folder: Path, sandbox: Sandbox) -> None:
    hours = folder / "shop" / "hours.md"
    import_documents(database, [read_document(hours, hours.name)], Report(), origin=str(hours), sandbox=sandbox)
    assert items(database)["Open from nine."].source == "hours.md"
    assert counts(bring(database, folder, sandbox)) == (1, 1, 0, 0, 0)
    assert items(database)["Open from nine."].source == "shop/hours.md"
    with database.read() as session:
        assert [row.source for row in list_documents(session)] == ["kettle.pdf", "shop/hours.md"]


def test_new_words_of_an_archived_document_are_archived_too(database: Database, folder: Path, sandbox: Sandbox) -> None:
    bring(database, folder, sandbox)
    knowledge.set_visibility(database, [item.id for item in items(database).values()], {"status": "archived"})
    (folder / "shop" / "hours.md").write_text("# Hours\n\nOpen at noon.\n")
    bring(database, folder, sandbox)
    fact = items(database)["Open at noon."]
    assert fact.visibility is not None
    assert fact.visibility.status == "archived"


def test_a_link_out_of_the_folder_is_not_followed(database: Database, folder: Path, sandbox: Sandbox) -> None:
    secret = folder.parent / "secret.txt"
    secret.write_text("Not for customers.")
    (folder / "link.txt").symlink_to(secret)
    bring(database, folder, sandbox)
    assert "Not for customers." not in items(database)
