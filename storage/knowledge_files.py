"""Reading and writing knowledge files: JSONL, CSV and XLSX in one row form.

An item a row: ``id``, ``questions`` (a list; in a cell one phrasing a line or `` | `` between them), ``answer``,
``tags``, ``locale``. Or a phrasing a row: ``question``, ``answer``, ``answer_id``; rows of one ``answer_id`` are one
item.
``answer`` null: a label-only item. ``question`` null: the answer is a document passage, which may have ``heading``,
``page`` and ``source``. Who sees an item and when: ``status``, ``valid_from``, ``valid_until``, ``channels``,
``languages``; an item whose rows name none of these keeps what it has.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ragline.errors import ConfigurationError, RaglineError
from storage.visibility import Visibility
from storage.visibility_fields import FIELDS, read_visibility, write_visibility

FORMATS = (".jsonl", ".csv", ".xlsx")
_COLUMNS = ("id", "questions", "answer", "tags", "locale", *FIELDS, "source", "heading", "page")
_KNOWN = {*_COLUMNS, "question", "answer_id"}
#: Written even where there is nothing to say.
_ALWAYS = ("id", "question", "questions", "answer", "tags", "locale")


class BadRow(RaglineError):
    """A row that cannot be imported; the text says why."""


@dataclass
class ItemRow:
    """One item of a file, gathered from one or more rows. ``answer`` None: label-only.

    ``visibility`` None: nothing is said of it. The last three are of a passage.
    """

    id: str
    answer: str | None
    questions: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    locale: str | None = None
    visibility: Visibility | None = None
    source: str | None = None
    heading: str | None = None
    page: int | None = None


@dataclass(frozen=True)
class Problem:
    """A row that was left out: its number in the file (the first line of data is 1; in a table with a header, 2)."""

    row: int
    reason: str


@dataclass
class FileContent:
    """What a file holds."""

    items: list[ItemRow]
    rows: int
    problems: list[Problem]


def read_file(path: Path) -> FileContent:
    """All items of a file; a bad row is a :class:`Problem`, the good ones are kept.

    Raises :class:`ConfigurationError` for a file that is missing, of another type, or not readable as its type.
    """
    if not path.is_file():
        raise ConfigurationError(f"{path}: there is no such file")
    suffix = path.suffix.lower()
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".xlsx": _read_xlsx}
    if suffix not in readers:
        raise ConfigurationError(f"{path}: is none of {', '.join(FORMATS)}")
    items: dict[str, ItemRow] = {}
    problems: list[Problem] = []
    rows = 0
    for number, row in readers[suffix](path):
        rows += 1
        try:
            if isinstance(row, BadRow):
                raise row
            _gather(items, row)
        except BadRow as error:
            problems.append(Problem(number, str(error)))
    return FileContent(list(items.values()), rows, problems)


def read_row(row: dict[str, Any]) -> ItemRow:
    """One row as an item. Raises :class:`BadRow`."""
    items: dict[str, ItemRow] = {}
    _gather(items, row)
    return next(iter(items.values()))


def write_file(path: Path, items: Iterable[ItemRow]) -> int:
    """Write items in the form :func:`read_file` takes; returns how many."""
    rows = [as_row(item) for item in items]
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        lines = (
            json.dumps({key: value for key, value in row.items() if key in _ALWAYS or value}, ensure_ascii=False)
            for row in rows
        )
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    elif suffix == ".csv":
        with path.open("w", encoding="utf-8-sig", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(_COLUMNS)
            writer.writerows(_cells(row) for row in rows)
    elif suffix == ".xlsx":
        from openpyxl import Workbook

        book = Workbook(write_only=True)
        sheet = book.create_sheet("knowledge")
        sheet.append(list(_COLUMNS))
        for row in rows:
            sheet.append(_cells(row))
        book.save(path)
    else:
        raise ConfigurationError(f"{path}: is none of {', '.join(FORMATS)}")
    return len(rows)


def as_row(item: ItemRow) -> dict[str, Any]:
    """An item by the names of the columns, as JSON takes it; a passage has ``question`` null."""
    return {
        "id": item.id,
        **({"questions": item.questions} if item.questions else {"question": None}),
        "answer": item.answer,
        "tags": item.tags,
        "locale": item.locale,
        **write_visibility(item.visibility),
        "source": item.source,
        "heading": item.heading,
        "page": item.page,
    }


def _cells(row: dict[str, Any]) -> list[str | int | None]:
    cells: list[str | int | None] = []
    for name in _COLUMNS:
        value = row.get(name)
        if isinstance(value, list):
            value = ("\n" if name == "questions" else ", ").join(value)
        cells.append(value or None)
    return cells


def _gather(items: dict[str, ItemRow], row: dict[str, Any]) -> None:
    """Add one row to the items. Raises :class:`BadRow`."""
    unknown = sorted(str(key) for key in set(row) - _KNOWN)
    if not {"question", "questions"} & set(row):
        raise BadRow(f"has neither question nor questions{'; unknown: ' + ', '.join(unknown) if unknown else ''}")
    if "answer" not in row:
        raise BadRow("has no answer (null makes a label-only item)")
    answer = _text(row["answer"], "answer")
    questions = _texts(row.get("questions"), "questions", "\n", " | ")
    single = _text(row.get("question"), "question")
    if single:
        questions.insert(0, single)
    passage = not questions
    if passage and not answer:
        raise BadRow("has neither a question nor an answer")
    one_a_row = row.get("answer_id") not in (None, "")
    item_id = _identifier(row.get("answer_id") if one_a_row else row.get("id"), answer, questions)
    tags = _texts(row.get("tags"), "tags", ",", ";")
    locale = _text(row.get("locale"), "locale")
    try:
        visibility = read_visibility(row)
    except ValueError as error:
        raise BadRow(str(error)) from None
    known = items.get(item_id)
    if known is None:
        items[item_id] = ItemRow(item_id, answer, list(dict.fromkeys(questions)), tags, locale, visibility)
        if passage:
            items[item_id].source = (_text(row.get("source"), "source") or "")[:200] or None
            items[item_id].heading, items[item_id].page = _text(row.get("heading"), "heading"), _page(row.get("page"))
        return
    if known.answer != answer:
        raise BadRow(f"repeats the id '{item_id}' with another answer")
    if visibility and known.visibility not in (None, visibility):
        raise BadRow(f"repeats the id '{item_id}' with another status, validity, channels or languages")
    known.visibility = visibility or known.visibility
    known.questions = list(dict.fromkeys([*known.questions, *questions]))
    known.tags = list(dict.fromkeys([*known.tags, *tags]))


def _identifier(value: Any, answer: str | None, questions: list[str]) -> str:
    if value is None or value == "":
        if answer is None:
            raise BadRow("has neither an id nor an answer")
        # Without an id the answer is the identity, so that a second import finds the item again.
        return "a-" + hashlib.sha256(answer.encode()).hexdigest()[:16]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRow("has an id that is neither text nor a number")
    found = str(value).strip()
    if not 1 <= len(found) <= 200:
        raise BadRow("has an id that is empty or longer than 200 characters")
    return found


def _text(value: Any, name: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool | list | dict):
        raise BadRow(f"has a {name} that is not text")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).replace("\x00", "").encode("utf-8", "replace").decode().strip()
    return text or None


def _page(value: Any) -> int | None:
    text = _text(value, "page")
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1 or len(text) > 6:
        raise BadRow("has a page that is no number from 1")
    return int(text)


def _texts(value: Any, name: str, *separators: str) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list):
        parts = [_text(part, name) for part in value]
    else:
        text = _text(value, name) or ""
        for separator in separators[1:]:
            text = text.replace(separator, separators[0])
        parts = [part.strip() for part in text.split(separators[0])]
    return list(dict.fromkeys(part for part in parts if part))


_Rows = Iterator[tuple[int, "dict[str, Any] | BadRow"]]


def _read_jsonl(path: Path) -> _Rows:
    for number, line in enumerate(_decoded(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            yield number, BadRow(f"is not JSON ({error})")
            continue
        yield number, row if isinstance(row, dict) else BadRow("is not a JSON object")


def _read_csv(path: Path) -> _Rows:
    text = _decoded(path)
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    yield from _table(path, enumerate(reader, 1))


def _read_xlsx(path: Path) -> _Rows:
    from openpyxl import load_workbook

    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # openpyxl raises the errors of zipfile, XML and its own
        raise ConfigurationError(
            f"{path}: cannot be read as XLSX ({type(error).__name__}); save it again as XLSX"
        ) from error
    try:
        yield from _table(path, enumerate(book.worksheets[0].iter_rows(values_only=True), 1), ragged=True)
    finally:
        book.close()


def _table(path: Path, lines: Iterator[tuple[int, Any]], *, ragged: bool = False) -> _Rows:
    """Rows by the header's names. ``ragged``: trailing empty cells are left out, as in XLSX."""
    _, header = next(lines, (0, None))
    names = [str(name or "").strip().lower() for name in header or ()]
    if not set(names) & {"question", "questions"} or "answer" not in names:
        raise ConfigurationError(f"{path}: the first row must name the columns, among them question(s) and answer")
    for number, cells in lines:
        if ragged:
            cells = (*cells, *(None,) * (len(names) - len(cells)))
        row = {name: (None if cell == "" else cell) for name, cell in zip(names, cells, strict=False) if name in _KNOWN}
        if any(cell is not None for cell in row.values()):
            if len(cells) < len(names):
                yield number, BadRow(f"has {len(cells)} cells, the header {len(names)}")
            else:
                yield number, row


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    for encoding in ("utf-8-sig", "cp1251"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ConfigurationError(f"{path}: is neither UTF-8 nor Windows-1251 text; save it as UTF-8")
