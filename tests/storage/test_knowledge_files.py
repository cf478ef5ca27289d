"""Knowledge files in all their forms: what is read, what is refused and why, and that an export comes back."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from ragline.errors import ConfigurationError
from storage.knowledge_files import ItemRow, read_file, write_file
from storage.visibility import Visibility

LIMITED = Visibility(
    "archived", datetime(2026, 1, 2, 3, tzinfo=UTC), datetime(2026, 12, 31, 21, tzinfo=UTC), ("api", "widget"), ("ru",)
)


def jsonl(path: Path, *rows: Any) -> Path:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def test_items_with_several_phrasings(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "kb.jsonl",
        {"id": 7, "questions": ["How?", "How so?", "How?"], "answer": "So.", "tags": ["a"], "locale": "en"},
        {"answer_id": "x", "id": 1, "question": "One", "answer": None},
        {"answer_id": "x", "id": 2, "question": "Two", "answer": None},
        {"id": "p", "question": None, "answer": "A passage of a document."},
    )
    assert read_file(path).items == [
        ItemRow("7", "So.", ["How?", "How so?"], ["a"], "en"),
        ItemRow("x", None, ["One", "Two"]),
        ItemRow("p", "A passage of a document.", []),
    ]


def test_a_bad_row_is_named_and_the_good_ones_are_kept(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "kb.jsonl",
        {"id": "a", "question": "Q", "answer": "A"},
        "{broken",
        {"id": "b", "question": "Q"},
        {"id": "a", "question": "Q2", "answer": "another"},
        {"id": "c", "answer": "A"},
        {"id": ["x"], "question": "Q", "answer": "A"},
        {"id": "d", "question": "Q", "answer": "A"},
    )
    found = read_file(path)
    assert [item.id for item in found.items] == ["a", "d"]
    assert {problem.row for problem in found.problems} == {2, 3, 4, 5, 6}
    assert "another answer" in next(p.reason for p in found.problems if p.row == 4)


@pytest.mark.parametrize(
    ("encoding", "delimiter"), [("utf-8", ","), ("utf-8-sig", ";"), ("cp1251", ";"), ("utf-8", "\t")]
)
def test_csv_as_spreadsheets_write_it(tmp_path: Path, encoding: str, delimiter: str) -> None:
    path = tmp_path / "kb.csv"
    lines = [["question", "answer", "tags"], ['"Как вернуть?\nВозврат?"', "За 14 дней", '"возврат, деньги"']]
    lines[0][0] = "questions"
    path.write_bytes("\n".join(delimiter.join(line) for line in lines).encode(encoding))
    [item] = read_file(path).items
    assert item.questions == ["Как вернуть?", "Возврат?"]
    assert (item.answer, item.tags) == ("За 14 дней", ["возврат", "деньги"])
    assert read_file(path).items[0].id == item.id, "an item without an id has the same one each time"


def test_xlsx_numbers_become_text(tmp_path: Path) -> None:
    book = Workbook()
    book.active.append(["id", "question", "answer", "locale"])
    book.active.append([12, "How many?", 365, "en"])
    book.active.append([None, None, None, None])
    book.active.append([13, None, None, None])
    book.save(tmp_path / "kb.xlsx")
    found = read_file(tmp_path / "kb.xlsx")
    assert found.items == [ItemRow("12", "365", ["How many?"], [], "en")]
    assert [problem.row for problem in found.problems] == [4]


def test_who_sees_an_item_and_when(tmp_path: Path) -> None:
    item = {"id": "a", "question": "Q", "answer": "A"}
    path = jsonl(
        tmp_path / "kb.jsonl",
        item | {"id": "plain"},
        item | {"id": "days", "valid_from": "2026-12-01", "valid_until": "2026-12-31"},
        item | {"id": "times", "valid_until": "2026-12-31T18:00+03:00", "channels": ["API"], "languages": "ru, pt_BR"},
        item | {"status": "gone"},
        item | {"valid_from": "tomorrow"},
        item | {"valid_from": "2026-12-02", "valid_until": "2026-12-01"},
        item | {"channels": "telegramm"},
        item | {"languages": ["russian!"]},
    )
    found = read_file(path)
    seen = {row.id: row.visibility for row in found.items}
    assert seen == {
        "plain": None,
        "days": Visibility("active", datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        "times": Visibility("active", None, datetime(2026, 12, 31, 15, tzinfo=UTC), ("api",), ("ru", "pt-BR")),
    }, "the last day counts as a whole"
    reasons = [problem.reason for problem in found.problems]
    assert [
        next(word for word in ("status", "valid_from that", "until", "channel", "language") if word in reason).split()[
            0
        ]
        for reason in reasons
    ] == ["status", "valid_from", "until", "channel", "language"]
    assert "known: api" in reasons[3]
    book = Workbook()
    book.active.append(["question", "answer", "valid_until", "channels", "status"])
    book.active.append(["Q", "A", date(2026, 12, 31), "api; widget", "draft"])
    book.save(tmp_path / "kb.xlsx")
    [row] = read_file(tmp_path / "kb.xlsx").items
    assert row.visibility == Visibility("draft", None, datetime(2027, 1, 1, tzinfo=UTC), ("api", "widget"))


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "xlsx"])
def test_an_export_comes_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    items = [
        ItemRow("1", "Ответ, с запятой;\nи строкой", ["Вопрос?", 'С "кавычками"'], ["t"], "ru"),
        ItemRow("label", None, ["Only a label"], [], None),
        ItemRow("doc", "A passage.", [], [], "en", source="guide.pdf", heading="Guide › Care", page=12),
        ItemRow("old", "No.", ["Old?"], visibility=LIMITED),
        ItemRow("all", "Yes.", ["All?"], visibility=Visibility()),
    ]
    path = tmp_path / f"out.{suffix}"
    assert write_file(path, items) == 5
    found = read_file(path)
    assert found.problems == []
    assert found.items == items


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("kb.txt", b"x", "none of"),
        ("kb.csv", b"a,b\n1,2\n", "first row must name the columns"),
        ("kb.xlsx", b"not a zip", "cannot be read as XLSX"),
        ("gone.csv", None, "no such file"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=says):
        read_file(tmp_path / name)
