"""PDF by PDFium: text in reading order, headings by the size of their type, pages as they are."""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from typing import Any, NamedTuple

import pypdfium2
import pypdfium2.raw as pdfium

from storage.documents.blocks import MOST_PAGES, Parsed, Unreadable, clean

#: Type so much larger than that of the text is a heading's, up to so many characters.
_LARGER, _LONGEST_HEADING = 1.15, 150
#: A gap between two lines of more than so many line heights ends a paragraph.
_GAP = 1.6
_SENTENCE_END = re.compile(r"[.!?…:;][\"'»”)\]]*$")
_FIRST_SENTENCE = re.compile(r"^.*?[.!?…][\"'»”)\]]*(?=\s|$)", re.DOTALL)
#: A line of a table of contents.
_CONTENTS = re.compile(r"(?:\.\s?){5,}\s*\d+\s*$")
#: A word divided at the end of a page, where PDFium does not see that it goes on.
_DIVIDED = re.compile(r"(?<=[^\W\d_])-$")
_PAGE_NUMBER = re.compile(r"^[\W_]*(?:page|стр(?:аница)?\.?|с\.)?\s*\d{1,4}(?:\s*(?:/|of|из)\s*\d{1,4})?[\W_]*$", re.I)


class _Line(NamedTuple):
    """A line of a page. ``size``: height of its type; ``top`` and ``bottom`` grow upwards; all in points."""

    text: str
    size: float
    top: float
    bottom: float


def parse(content: bytes) -> Parsed:
    """Raises :class:`Unreadable` for a file that is locked, broken, or holds no text."""
    try:
        document = pypdfium2.PdfDocument(content)
        count = len(document)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise Unreadable("is locked with a password; save it without one") from error
        raise Unreadable("cannot be read as PDF; open it in a viewer and save it again") from error
    if count == 0:
        raise Unreadable("cannot be read as PDF (it has no pages); open it in a viewer and save it again")
    if count > MOST_PAGES:
        raise Unreadable(f"has {count:,} pages; split it into files of at most {MOST_PAGES:,}")
    pages = [_lines(document, number) for number in range(count)]
    if not any(line.text for page in pages for line in page):
        raise Unreadable("has no text, only pictures of it; run it through text recognition (OCR) first")
    parsed = Parsed(title=_title(document))
    _write(_without_frame(pages), parsed)
    parsed.entitle()
    return parsed


def _title(document: Any) -> str:
    """The title the author gave; programs put the name of a file there, which says less than the one it has now."""
    title = clean(document.get_metadata_value("Title") or "").removeprefix("Microsoft Word - ")
    return "" if re.search(r"\.\w{2,4}$|^untitled|^document\d*$", title, re.I) else title


def _lines(document: Any, number: int) -> list[_Line]:
    """The lines of a page; a page that is broken has none."""
    try:
        page = document[number]
        text = page.get_textpage()
    except pypdfium2.PdfiumError:
        return []
    lines: list[_Line] = []
    letters: list[str] = []
    sizes: Counter[float] = Counter()
    top, bottom = float("-inf"), float("inf")
    box = pdfium.FS_RECTF()
    for index in range(text.count_chars()):
        code = pdfium.FPDFText_GetUnicode(text, index)
        if code in (10, 13):
            if letters:
                lines.append(_Line("".join(letters), _height(sizes), top, bottom))
            letters, sizes, top, bottom = [], Counter(), float("-inf"), float("inf")
            continue
        letters.append("\u00ad" if pdfium.FPDFText_IsHyphen(text, index) == 1 else chr(code))
        if code > 32 and pdfium.FPDFText_GetLooseCharBox(text, index, ctypes.byref(box)):
            sizes[round(box.top - box.bottom, 1)] += 1
            top, bottom = max(top, box.top), min(bottom, box.bottom)
    if letters:
        lines.append(_Line("".join(letters), _height(sizes), top, bottom))
    text.close()
    page.close()
    return [line for line in lines if clean(line.text) and not _CONTENTS.search(line.text)]


def _height(sizes: Counter[float]) -> float:
    return sizes.most_common(1)[0][0] if sizes else 0.0


def _without_frame(pages: list[list[_Line]]) -> list[list[_Line]]:
    """Pages without the running titles and page numbers at their edges."""

    def mark(line: _Line, number: int) -> str:
        """The line with a number at its edge as the distance from the page's own, the same on every page."""
        text = clean(line.text).lower()
        text = re.sub(r"^\d{1,5}\b|\b\d{1,5}$", lambda found: f"#{int(found[0]) - number}", text)
        return re.sub(rf"(?<![#-])\b{number}\b", "#", text)

    seen: Counter[str] = Counter()
    for number, page in enumerate(pages, 1):
        seen.update({mark(line, number) for line in (*page[:1], *page[-1:])})
    # Odd and even pages may have titles of their own; a number that grows with the pages is enough to know one by.
    running = {text for text, count in seen.items() if count >= 3 and ("#" in text or 3 * count > len(pages))}
    kept = []
    for number, page in enumerate(pages, 1):
        for edge in (0, -1):
            if page and (mark(page[edge], number) in running or _PAGE_NUMBER.match(clean(page[edge].text))):
                page = page[1:] if edge == 0 else page[:-1]
        kept.append(page)
    return kept


def _write(pages: list[list[_Line]], parsed: Parsed) -> None:
    """Lines joined to paragraphs; a sentence that runs over a page's end belongs to the page it begins on."""
    weights: Counter[float] = Counter()
    for page in pages:
        for line in page:
            weights[line.size] += len(line.text)
    body = _height(weights)
    larger = {line.size for page in pages for line in page if line.size > body * _LARGER}
    levels = {size: min(level, 6) for level, size in enumerate(sorted(larger, reverse=True), 1)}
    carried = ""
    for number, page in enumerate(pages, 1):
        paragraphs = _paragraphs(page, levels)
        if carried and paragraphs:
            text, level = paragraphs[0]
            goes_on = level == 0 and (text[:1].islower() or text[:1].isdigit()) and not _bullet(text)
            end = _FIRST_SENTENCE.match(text) if goes_on else None
            if end or goes_on:
                rest = text[end.end() :] if end else ""
                carried = _joined(_DIVIDED.sub("\u00ad", carried), end[0] if end else text)
                paragraphs[0] = (rest, 0)
            parsed.add(carried, page=number - 1)
            carried = ""
        for position, (text, level) in enumerate(paragraphs):
            last = position == len(paragraphs) - 1 and number < len(pages)
            if last and level == 0 and not _SENTENCE_END.search(clean(text)):
                carried = text
            else:
                parsed.add(text, level=level, page=number)
        if carried and number < len(pages) and not pages[number]:
            parsed.add(carried, page=number)
            carried = ""


def _paragraphs(lines: list[_Line], levels: dict[float, int]) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    before: _Line | None = None
    for line in lines:
        text = line.text.strip()
        level = levels.get(line.size, 0) if len(text) <= _LONGEST_HEADING else 0
        gap = (before.bottom - line.top) if before else 0.0
        near = before is not None and abs(gap) < _GAP * max(line.size, 1.0) - line.size
        if found and found[-1][1] == level and near and not _bullet(text):
            found[-1] = (_joined(found[-1][0], text), level)
        else:
            found.append((text, level))
        before = line
    return found


def _joined(text: str, more: str) -> str:
    """Two lines as one; a word divided at the end of a line is whole again."""
    if text.endswith("\u00ad"):
        return text[:-1] + more
    return f"{text} {more}"


def _bullet(text: str) -> bool:
    return bool(re.match(r"(?:[•◦▪‣·*–—-]|\(?\d{1,2}[.)])\s", text))
