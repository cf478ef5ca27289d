"""Markdown (CommonMark with tables), front matter left out but for its title."""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from storage.documents import html
from storage.documents.blocks import Parsed, clean, decode, table_row

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?\n)---[ \t]*\n", re.DOTALL)


def parse(content: bytes) -> Parsed:
    """Raises :class:`Unreadable` for what is no text."""
    text = decode(content).replace("\r\n", "\n")
    parsed = Parsed()
    if front := _FRONT_MATTER.match(text):
        parsed.title, text = _title(front[1]), text[front.end() :]
    _walk(MarkdownIt("commonmark").enable("table").parse(text), parsed)
    parsed.entitle()
    return parsed


def _title(front: str) -> str:
    try:
        values = yaml.safe_load(front)
    except yaml.YAMLError:
        return ""
    return clean(str(values["title"])) if isinstance(values, dict) and values.get("title") else ""


def _walk(tokens: Sequence[Token], parsed: Parsed) -> None:
    level, in_head = 0, False
    cells: list[str] | None = None
    header: list[str] = []
    for token in tokens:
        match token.type:
            case "heading_open":
                level = int(token.tag[1])
            case "heading_close":
                level = 0
            case "table_open":
                header = []
            case "thead_open" | "thead_close":
                in_head = token.nesting == 1
            case "tr_open":
                cells = []
            case "tr_close":
                if in_head:
                    header = [clean(cell) for cell in cells or ()]
                else:
                    parsed.add(table_row(cells or [], header))
                cells = None
            case "inline" if cells is not None:
                cells.append(_inline(token))
            case "inline":
                parsed.add(_inline(token), level=level)
            case "fence" | "code_block":
                parsed.add(token.content)
            case "html_block":
                for block in html.parse(token.content.encode()).blocks:
                    parsed.add(block.text, level=block.level)


def _inline(token: Token) -> str:
    parts = []
    for child in token.children or ():
        if child.type in ("text", "code_inline"):
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif child.type == "image":
            parts.append(child.content)
    return "".join(parts)
