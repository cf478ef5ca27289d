"""What every parser returns: a document's text in reading order, with its headings and pages."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from ragline.errors import RaglineError

#: Bytes of one file, and of what a packed one may unpack to.
LARGEST_FILE = 50 * 2**20
LARGEST_UNPACKED = 200 * 2**20
#: Characters and pages read of one document.
LONGEST_TEXT = 10_000_000
MOST_PAGES = 5_000

_BLANKS = re.compile(r"\s+")
#: Control characters, lone surrogates and what a font without a map leaves.
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class Unreadable(RaglineError):
    """A document that cannot be read; the text says why and what to do, and is the same for the same file."""


class Block(NamedTuple):
    """A heading (``level`` from 1) or a piece of text (``level`` 0). ``page`` from 1; None where there are none."""

    text: str
    level: int = 0
    page: int | None = None


@dataclass
class Parsed:
    """A document as its parser read it. ``title`` empty: it has none of its own."""

    title: str = ""
    blocks: list[Block] = field(default_factory=list)
    _length: int = field(default=0, repr=False)

    def add(self, text: str, *, level: int = 0, page: int | None = None) -> None:
        """Append a block; blank text is left out. Raises :class:`Unreadable` for an endless document."""
        text = clean(text)
        if not text:
            return
        self._length += len(text)
        if self._length > LONGEST_TEXT:
            raise Unreadable(f"has more than {LONGEST_TEXT:,} characters of text; split it")
        self.blocks.append(Block(text, level, page))

    def entitle(self) -> None:
        """Take a lone heading of the first level for the title, where there is no other."""
        first = [block.text for block in self.blocks if block.level == 1]
        if not self.title and len(first) == 1:
            self.title = first[0]


def clean(text: str) -> str:
    """One line, single blanks, nothing that cannot be stored."""
    return _BLANKS.sub(" ", _UNREADABLE.sub("", text.replace("\u00ad", ""))).strip()


def decode(content: bytes) -> str:
    """Text of a file that names no encoding: UTF-8, UTF-16 with a mark, or Windows-1251.

    Raises :class:`Unreadable` for what is no text.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif b"\x00" in content:
        raise Unreadable("is not text (it holds zero bytes); save it as UTF-8 text")
    else:
        encodings = ["utf-8-sig", "cp1251"]
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Unreadable("is neither UTF-8 nor Windows-1251 text; save it as UTF-8")


def table_row(cells: list[str], header: list[str] | None) -> str:
    """A row that can be understood alone: ``Size: L; Price: 500``, or the cells where there is no header."""
    cells = [clean(cell) for cell in cells]
    if header and len(header) == len(cells) and all(header):
        return "; ".join(f"{name}: {cell}" for name, cell in zip(header, cells, strict=True) if cell)
    return " | ".join(cell for cell in cells if cell)
