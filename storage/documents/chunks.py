"""Passages of a document: pieces of about one idea, under their headings, each on one page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from storage.documents.blocks import Block, Parsed

#: Characters a passage aims at, and never exceeds. The packaged embedding model reads about 1,000.
AIM, MOST = 700, 1000
_SENTENCE = re.compile(r"(?:(?<=[.!?…])|(?<=[.!?…][\"'»”)\]]))\s+(?=[\"'«“(\[]?[A-ZА-ЯЁ0-9])")


class Passage(NamedTuple):
    """A piece of a document. ``heading``: the headings above it, outermost first, `` › `` between; may be empty."""

    text: str
    heading: str
    page: int | None


def passages(parsed: Parsed) -> list[Passage]:
    """The document cut into passages, in order. A passage stays under one heading and on one page."""
    found: list[Passage] = []
    path: list[tuple[int, str]] = []
    if parsed.title:
        path.append((0, parsed.title[:200]))
    waiting: list[Block] = []

    def flush() -> None:
        heading = " › ".join(text for _, text in path)
        found.extend(Passage(text, heading, waiting[0].page) for text in _cut(waiting))
        waiting.clear()

    for block in parsed.blocks:
        if block.level:
            flush()
            path[:] = [(level, text) for level, text in path if level < block.level]
            if block.text not in (text for _, text in path):
                path.append((block.level, block.text[:200]))
        else:
            if waiting and waiting[0].page != block.page:
                flush()
            waiting.append(block)
    flush()
    return found


def _cut(blocks: list[Block]) -> Iterator[str]:
    """Texts of at most :data:`MOST` characters; whole blocks where they fit, whole sentences where those do."""
    held: list[str] = []
    size = 0
    for block in blocks:
        for piece in [block.text] if len(block.text) <= MOST else _pieces(block.text):
            if held and size + len(piece) > (AIM if size >= AIM // 2 else MOST):
                yield "\n".join(held)
                held, size = [], 0
            held.append(piece)
            size += len(piece) + 1
    if held:
        yield "\n".join(held)


def _pieces(text: str) -> Iterator[str]:
    held = ""
    for sentence in _SENTENCE.split(text):
        while len(sentence) > MOST:
            if held:
                yield held
                held = ""
            cut = sentence.rfind(" ", 0, MOST)
            cut = cut if cut > MOST // 2 else MOST
            yield sentence[:cut].strip()
            sentence = sentence[cut:].strip()
        if held and len(held) + len(sentence) + 1 > AIM:
            yield held
            held = sentence
        else:
            held = f"{held} {sentence}".strip()
    if held:
        yield held
