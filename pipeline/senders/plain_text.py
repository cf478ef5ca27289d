"""Markdown as plain text, for channels without markup of their own, and cut to their limits.

Answers are also texts people wrote without Markdown in mind, so of CommonMark only what cannot be meant
otherwise is read: no emphasis within a word (``2*3*4``, ``snake_case``), no HTML, no indented code, no
reference definitions, no underlined headings; numbers of lists and line breaks stay as written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Delimiter
from markdown_it.tree import SyntaxTreeNode

_UNSENDABLE = re.compile("[\x00\ud800-\udfff]")
_LANGUAGE = re.compile(r"[A-Za-z0-9+#._-]{1,40}")


def split(markdown: str, limit: int) -> list[str]:
    """The messages that show ``markdown``, each of at most ``limit`` UTF-16 code units; none for a blank text.

    Cut between paragraphs, else lines, sentences, words, and within a word only between whole characters.
    White space at a cut is dropped.
    """
    return list(_cut(plain(markdown), limit))


def plain(markdown: str) -> str:
    """What a customer reads, without outer white space. A link is its text and, in brackets, its address."""
    source = _UNSENDABLE.sub("\ufffd", markdown)
    # Nothing but markup is better shown as it is than not at all.
    return _stack(SyntaxTreeNode(_parser().parse(source)).children).strip() or source.strip()


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 100})
    parser.enable("table")
    parser.disable(["code", "reference", "lheading", "html_block", "html_inline"])
    parser.inline.ruler.at("emphasis", _emphasis)
    return parser


def _emphasis(state: StateInline, silent: bool) -> bool:
    """markdown-it's rule, but ``*`` within a word is no more a mark than ``_`` is."""
    marker = state.src[state.pos]
    if silent or marker not in "_*":
        return False
    run = state.scanDelims(state.pos, False)
    for _ in range(run.length):
        state.push("text", "", 0).content = marker
        last = len(state.tokens) - 1
        state.delimiters.append(Delimiter(ord(marker), run.length, last, -1, run.can_open, run.can_close))
    state.pos += run.length
    return True


# Reading


def _stack(blocks: Sequence[SyntaxTreeNode]) -> str:
    """Blocks under each other, with an empty line where the source has one."""
    text, line = "", 0
    for block in blocks:
        begin = block.map[0] if block.map else line
        shown = _block(block)
        text += ("\n\n" if begin > line else "\n") + shown if text else shown
        line = _end(block, line)
    return text


def _end(block: SyntaxTreeNode, line: int) -> int:
    """The source line behind a block: that of its last leaf, as a list is said to end behind empty lines."""
    if block.type in ("bullet_list", "ordered_list", "list_item", "blockquote") and block.children:
        return _end(block.children[-1], line)
    return block.map[1] if block.map else line


def _block(node: SyntaxTreeNode) -> str:
    match node.type:
        case "fence":
            info, code = node.info.strip(), node.content.rstrip("\n")
            return code if not info or (_LANGUAGE.fullmatch(info) and code.strip()) else f"{info}\n{code}".rstrip()
        case "hr":
            return "———"
        case "list_item":
            bullet = f"{node.info}{node.markup}" if node.info else "•" if node.markup in "-*" else "+"
            return f"{bullet} {_stack(node.children)}".rstrip().replace("\n", "\n  ")
        case "blockquote":
            return "\n".join(f"> {line}".rstrip() for line in _stack(node.children).split("\n"))
        case "tr":
            return " | ".join("".join(map(_inline, cell.children)) for cell in node.children)
        case "table" | "thead" | "tbody":
            return "\n".join(map(_block, node.children))
        case "paragraph" | "heading":
            return "".join(map(_inline, node.children))
        case _:
            return _stack(node.children)


def _inline(node: SyntaxTreeNode) -> str:
    match node.type:
        case "softbreak" | "hardbreak":
            return "\n"
        case "link" | "image":
            url = str(node.attrGet("href" if node.type == "link" else "src") or "")
            shown = "".join(map(_inline, node.children))
            if not shown or node.info == "auto" or shown == url.removeprefix("mailto:"):
                return shown or url
            return f"{shown} ({url})" if url else shown
        case _:
            return "".join(map(_inline, node.children)) if node.children else node.content


# Cutting

#: Where to cut, the best first. A match ends where the next part begins.
_BOUNDARIES = (
    re.compile(r"\n[ \t]*\n\s*"),
    re.compile(r"\n\s*"),
    re.compile(r"[.!?…][\"'»”)\]]*\s+"),
    re.compile(r"\s+"),
)


def _cut(text: str, limit: int) -> Iterator[str]:
    while text:
        end = _fitting(text, limit)
        if end < len(text):
            end = _boundary(text, end)
        yield text[:end].rstrip()
        text = text[end:].lstrip()


def _fitting(text: str, limit: int) -> int:
    """How many characters from the beginning have at most ``limit`` UTF-16 code units."""
    units = 0
    for position, char in enumerate(text):
        units += 2 if char > "\uffff" else 1
        if units > limit:
            return position
    return len(text)


def _boundary(text: str, end: int) -> int:
    """The best place to cut in the second half of ``text[:end]``."""
    for boundary in _BOUNDARIES:
        # The character behind the range may be the white space: dropped, it costs nothing.
        found = [match.end() for match in boundary.finditer(text, end // 2, end + 1)]
        if found:
            return found[-1]
    whole = end
    while whole > end // 2 and _continues(text, whole):
        whole -= 1
    return whole if whole > end // 2 else end


def _continues(text: str, at: int) -> bool:
    """Whether the code point at ``at`` belongs to the character before it (an approximation of UAX 29)."""
    here, before = text[at], text[at - 1]
    joined = here in "\u200d\ufe0f" or before == "\u200d" or "\U0001f3fb" <= here <= "\U0001f3ff"
    return joined or unicodedata.category(here).startswith("M")
