"""Documents made for tests: PDF by hand, DOCX by python-docx, and ten that are broken, each in its own way."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence

from docx import Document
from docx.enum.text import WD_BREAK

#: Lines of a page: the text and the size of its type.
Line = tuple[str, int]
_CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюяАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ"
#: Names of these letters in the Adobe glyph list, which a reader maps back.
_GLYPHS = [f"uni{ord(letter):04X}" for letter in _CYRILLIC]


def pdf(pages: Sequence[Sequence[Line]], *, title: str = "") -> bytes:
    """A PDF with these lines on these pages, Latin and Russian letters."""
    numbers = range(4, 4 + 2 * len(pages), 2)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {len(pages)} /Kids [{' '.join(f'{n} 0 R' for n in numbers)}] >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding << /Type /Encoding"
        b" /BaseEncoding /WinAnsiEncoding /Differences [128 "
        + " ".join(f"/{name}" for name in _GLYPHS).encode()
        + b"] >> >>",
    ]
    for number, lines in zip(numbers, pages, strict=True):
        content = _content(lines)
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {number + 1} 0 R"
            f" /Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    info = f"<< /Title ({title}) >>".encode()
    objects.append(info)
    out = io.BytesIO(b"")
    out.write(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.writelines(b"%010d 00000 n \n" % offset for offset in offsets)
    out.write(
        b"trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (len(objects) + 1, len(objects), start)
    )
    return out.getvalue()


def _content(lines: Sequence[Line]) -> bytes:
    parts, y = [], 780
    for text, size in lines:
        y -= round(size * 1.3)
        code = bytes(128 + _CYRILLIC.index(c) if c in _CYRILLIC else ord(c.encode("cp1252")) for c in text)
        for special in (b"\\", b"(", b")"):
            code = code.replace(special, b"\\" + special)
        parts.append(b"BT /F1 %d Tf 60 %d Td (%s) Tj ET" % (size, y, code))
    return b"\n".join(parts)


def docx(pages: Sequence[Sequence[str | list[list[str]]]], *, title: str = "") -> bytes:
    """A Word document. ``# text`` is a heading, a list of rows a table; each page ends with a break."""
    document = Document()
    document.core_properties.title = title
    for number, page in enumerate(pages):
        for part in page:
            if isinstance(part, list):
                table = document.add_table(rows=0, cols=len(part[0]))
                for row in part:
                    for cell, text in zip(table.add_row().cells, row, strict=True):
                        cell.text = text
            elif part.startswith("# "):
                document.add_heading(part[2:], 1)
            else:
                document.add_paragraph(part)
        if number < len(pages) - 1:
            document.add_paragraph().add_run().add_break(WD_BREAK.PAGE)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def _packed(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def bomb() -> bytes:
    """A DOCX of some 200 kB whose text is 201 MB of nothing."""
    return _packed({"[Content_Types].xml": b"<Types/>", "word/document.xml": bytes(201 * 2**20)})


def endless_pdf() -> bytes:
    """A PDF whose pages are their own parents' parents, without end."""
    return (
        b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"
        b"2 0 obj\n<< /Type /Pages /Count 2147483647 /Kids [2 0 R 2 0 R] /Parent 2 0 R >>\nendobj\n"
        b"trailer\n<< /Root 1 0 R /Size 3 >>\n%%EOF\n"
    )


def docx_of(body: str, *, before: str = "") -> bytes:
    """A Word document whose body is this XML, with ``before`` in front of its root."""
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    with zipfile.ZipFile(io.BytesIO(docx([["x"]]))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["word/document.xml"] = (
        f"<?xml version='1.0'?>{before}<w:document {space}><w:body>{body}</w:body></w:document>"
    ).encode()
    return _packed(members)


def entities_docx() -> bytes:
    """A DOCX whose XML unfolds a billion times."""
    names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]
    declared = "".join(
        f'<!ENTITY {name} "{f"&{names[i - 1]};" * 10 if i else "ha" * 10}">' for i, name in enumerate(names)
    )
    return docx_of("<w:p><w:r><w:t>&j;</w:t></w:r></w:p>", before=f"<!DOCTYPE d [{declared}]>")


def locked_pdf() -> bytes:
    """A PDF behind a password: its encryption dictionary is of one nobody was given."""
    whole = pdf([[("secret", 12)]])
    lock = b"<< /Filter /Standard /V 1 /R 2 /Length 40 /P -4 /O <" + b"41" * 32 + b"> /U <" + b"42" * 32 + b"> >>"
    return whole.replace(b"trailer\n<< ", b"trailer\n<< /ID [<00><00>] /Encrypt " + lock + b" ")


def locked_docx() -> bytes:
    """What Word saves with a password: another kind of file, with the package encrypted inside."""
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + "EncryptedPackage".encode("utf-16-le") + bytes(512)


def heavy_pdf(pages: int) -> bytes:
    """A small PDF of many pages that all show the same long text: minutes of work."""
    whole = pdf([[("The same words over and over again, as if there were no end to them.", 11)] * 200])
    return whole.replace(b"/Count 1 /Kids [4 0 R]", b"/Count %d /Kids [%s]" % (pages, b"4 0 R " * pages))


def broken() -> dict[str, bytes]:
    """Ten files that cannot be read, by name."""
    good = pdf([[("A page.", 12)]])
    return {
        "cut.pdf": zlib.compress(good)[: len(good) // 3],
        "locked.pdf": locked_pdf(),
        "scan.pdf": pdf([[("", 12)]]),
        "endless.pdf": endless_pdf(),
        "cut.docx": docx([["A page."]])[:5000],
        "locked.docx": locked_docx(),
        "bomb.docx": bomb(),
        "entities.docx": entities_docx(),
        "picture.html": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "empty.md": b" \n",
    }
