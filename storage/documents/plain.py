"""Plain text: paragraphs between empty lines, pages between form feeds."""

from __future__ import annotations

import re

from storage.documents.blocks import Parsed, decode


def parse(content: bytes) -> Parsed:
    """Raises :class:`Unreadable` for what is no text."""
    parsed = Parsed()
    pages = decode(content).replace("\r\n", "\n").replace("\r", "\n").split("\f")
    for number, page in enumerate(pages, 1):
        for paragraph in re.split(r"\n\s*\n", page):
            parsed.add(paragraph, page=number if len(pages) > 1 else None)
    return parsed
