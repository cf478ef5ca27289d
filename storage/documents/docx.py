"""Word documents. A page is known where Word has written down its breaks, or the author has set them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

from docx import Document
from docx.oxml.ns import qn
from docx.table import Table
from docx.text.paragraph import Paragraph

from storage.documents.blocks import LARGEST_UNPACKED, Parsed, Unreadable, clean, table_row

#: Characters between two breaks beyond which a break must be missing: a full page of small type.
_FULL_PAGE = 3500
#: Levels of what is no heading and no text: the document's title and its table of contents.
_TITLE, _CONTENTS = -1, -2
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_COPY = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_BREAK, _RENDERED = qn("w:br"), qn("w:lastRenderedPageBreak")


def parse(content: bytes) -> Parsed:
    """Raises :class:`Unreadable` for a file that is locked, broken, or unpacks to too much."""
    document = _open(content)
    pages = _Pages(document)
    parsed = Parsed(title=clean(document.core_properties.title or ""))
    for part in _body(document):
        if isinstance(part, Paragraph):
            level = _level(part)
            pages.before(part)
            for page, text in pages.pieces(part):
                if level == _TITLE:
                    parsed.title = clean(text) or parsed.title
                elif level != _CONTENTS:
                    parsed.add(text, level=level, page=page)
            pages.after(part)
        else:
            _table(part, parsed, pages)
    parsed.entitle()
    return parsed


def _open(content: bytes) -> Any:
    if content.startswith(_OLE):
        if "EncryptedPackage".encode("utf-16-le") in content:
            raise Unreadable("is locked with a password; save it without one")
        raise Unreadable("is an old Word file (.doc) by another name; save it as DOCX")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            # What a member unpacks to is at most what it declares here: zipfile stops there.
            if sum(member.file_size for member in members) > LARGEST_UNPACKED or len(members) > 10_000:
                raise Unreadable(f"unpacks to more than {LARGEST_UNPACKED // 2**20} MB; split it")
        return Document(io.BytesIO(content))
    except Unreadable:
        raise
    except Exception as error:  # zipfile, lxml and python-docx each raise their own
        raise Unreadable(f"cannot be read as DOCX ({type(error).__name__}); save it again from Word") from error


def _body(document: Any) -> Iterator[Paragraph | Table]:
    """Paragraphs and tables in order, those inside content controls too."""
    waiting = list(document.element.body)[::-1]
    while waiting:
        element = waiting.pop()
        if element.tag == qn("w:p"):
            yield Paragraph(element, document)
        elif element.tag == qn("w:tbl"):
            yield Table(element, document)
        elif element.tag in (qn("w:sdt"), qn("w:sdtContent")):
            waiting += list(element)[::-1]


def _level(paragraph: Paragraph) -> int:
    """The outline level of a paragraph or of its style; 0 for text, or :data:`_TITLE` or :data:`_CONTENTS`."""
    for found in paragraph._p.xpath("./w:pPr/w:outlineLvl/@w:val"):
        return int(found) + 1 if str(found).isdigit() and int(found) < 9 else 0
    style: Any = paragraph.style
    for _ in range(10):
        if style is None:
            return 0
        name = (style.name or "").lower()
        if name.startswith("toc "):
            return _CONTENTS
        if name == "title":
            return _TITLE
        if name.startswith("heading ") and name[8:].isdigit():
            return min(int(name[8:]), 9)
        for found in style.element.xpath("./w:pPr/w:outlineLvl/@w:val"):
            return int(found) + 1 if str(found).isdigit() and int(found) < 9 else 0
        style = getattr(style, "base_style", None)
    return 0


def _table(table: Table, parsed: Parsed, pages: _Pages) -> None:
    header: list[str] | None = None
    for number, row in enumerate(table._tbl.tr_lst):
        cells: list[str] = []
        page = pages.now
        for cell in row.tc_lst:
            texts: list[str] = []
            for element in cell.iter(qn("w:p")):
                pages.before(Paragraph(element, table))
                for where, text in pages.pieces(Paragraph(element, table)):
                    if text.strip():
                        page = where if not texts and not cells else page
                        texts.append(text)
            cells.append(clean(" ".join(texts)))
        if number == 0 and len(table._tbl.tr_lst) > 1 and len(cells) > 1 and all(cells):
            header = cells
        else:
            parsed.add(table_row(cells, header), page=page)


class _Pages:
    """Counts pages by the breaks in the text. ``now`` is None where nobody can say."""

    def __init__(self, document: Any) -> None:
        body = document.element.body
        self._rendered = next(body.iter(_RENDERED), None) is not None
        by_author = body.xpath(".//w:br[@w:type='page'] | .//w:pageBreakBefore | .//w:p/w:pPr/w:sectPr")
        self.now: int | None = 1 if self._rendered or by_author else None
        self._since = 0
        #: The author's break is counted; Word may have noted the same one once more before what follows it.
        self._counted = False

    def before(self, paragraph: Paragraph) -> None:
        """A paragraph that begins a page."""
        if paragraph._p.xpath("./w:pPr/w:pageBreakBefore[not(@w:val='0') and not(@w:val='false')]"):
            self._turn()

    def after(self, paragraph: Paragraph) -> None:
        """A paragraph that ends a section, and with it usually the page."""
        for section in paragraph._p.xpath("./w:pPr/w:sectPr"):
            if not section.xpath("./w:type[@w:val='continuous']"):
                self._turn()

    def pieces(self, paragraph: Paragraph) -> list[tuple[int | None, str]]:
        """The text of a paragraph by page."""
        pieces: list[tuple[int | None, list[str]]] = [(self.now, [])]
        for element in _content(paragraph._p):
            if element.tag == _RENDERED or (element.tag == _BREAK and element.get(qn("w:type")) == "page"):
                self._turn(noted=element.tag == _RENDERED)
                pieces.append((self.now, []))
            elif element.tag == qn("w:t"):
                self._wrote(element.text or "")
                pieces[-1][1].append(element.text or "")
            elif element.tag in (qn("w:tab"), _BREAK, qn("w:cr")):
                pieces[-1][1].append(" ")
            elif element.tag in (qn("w:drawing"), qn("w:pict")):
                self._counted = False
        return [(page, "".join(texts)) for page, texts in pieces]

    def _turn(self, *, noted: bool = False) -> None:
        if self.now is not None and not (noted and self._counted):
            self.now += 1
        self._counted, self._since = not noted, 0

    def _wrote(self, text: str) -> None:
        if text.strip():
            self._counted = False
        self._since += len(text)
        if not self._rendered and self._since > _FULL_PAGE:
            self.now = None  # from here on pages were turned that only a layout engine could tell


def _content(element: Any) -> Iterator[Any]:
    """What is inside an element, in order, without the copies kept for old versions of Word."""
    for child in element:
        if child.tag not in (_COPY, qn("w:pPr")):
            yield child
            yield from _content(child)
