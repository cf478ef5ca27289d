"""Markdown as Telegram shows it: plain text with entities, in parts of at most 4096 UTF-16 code units.

Entities rather than a parse mode: nothing has to be escaped, and a mistake in a model's Markdown costs a mark,
not the message. Answers are also texts people wrote without Markdown in mind, so of CommonMark only what
cannot be meant otherwise is read: no emphasis within a word (``2*3*4``, ``snake_case``), no HTML, no indented
code, no reference definitions, no underlined headings; numbers of lists and line breaks stay as written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Delimiter
from markdown_it.token import Token

#: Longest text of one message, in UTF-16 code units (https://core.telegram.org/bots/api#sendmessage).
LIMIT = 4096
#: Telegram drops links of other schemes; it finds addresses of e-mail and telephones by itself.
_LINKABLE = re.compile(r"(https?|tg)://", re.IGNORECASE)
_LANGUAGE = re.compile(r"[A-Za-z0-9+#._-]{1,40}")
_UNSENDABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True)
class Mark:
    """An entity over ``start`` to ``end``, in characters; ``extra`` holds its url or language."""

    type: str
    start: int
    end: int
    extra: tuple[tuple[str, str], ...] = ()


def split(markdown: str) -> list[dict[str, Any]]:
    """The messages that show ``markdown``: ``{"text": ..., "entities": [...]}`` each; none for a blank text.

    Cut between paragraphs, else lines, sentences, words, and within a word only between whole characters. An
    entity that crosses a cut goes on in the next part. White space at a cut is dropped, as Telegram does itself.
    """
    text, marks = convert(markdown)
    return [_body(text, start, end, marks) for start, end in _cuts(text)]


def convert(markdown: str) -> tuple[str, list[Mark]]:
    """The text a customer reads, without outer white space, and the marks on it."""
    source = _UNSENDABLE.sub("\ufffd", markdown)
    page = _Page()
    page.blocks(_parser().parse(source))
    text = "".join(page.parts)
    if not text.strip():  # nothing but markup: better shown as it is than not at all
        return source.strip(), []
    lead = len(text) - len(text.lstrip())
    text = text.strip()
    return text, _around_code([moved for mark in page.marks if (moved := _within(mark, lead, lead + len(text)))])


# Reading Markdown


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 200})
    parser.enable(["strikethrough", "table"])
    parser.disable(["code", "reference", "lheading", "html_block", "html_inline"])
    parser.inline.ruler.at("emphasis", _emphasis)
    return parser


def _emphasis(state: StateInline, silent: bool) -> bool:
    """markdown-it's rule, but ``*`` within a word is no more a mark than ``_`` is."""
    marker = state.src[state.pos]
    if silent or marker not in "_*":
        return False
    scanned = state.scanDelims(state.pos, False)
    for _ in range(scanned.length):
        state.push("text", "", 0).content = marker
        state.delimiters.append(
            Delimiter(
                marker=ord(marker),
                length=scanned.length,
                token=len(state.tokens) - 1,
                end=-1,
                open=scanned.can_open,
                close=scanned.can_close,
            )
        )
    state.pos += scanned.length
    return True


_STYLES = {"strong": "bold", "em": "italic", "s": "strikethrough", "blockquote": "blockquote"}


@dataclass
class _Page:
    """Writes tokens as text and collects the marks."""

    parts: list[str] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    length: int = 0
    line: int = 0  # of the source, up to where it is written
    bullets: list[str] = field(default_factory=list)  # of list items that have no text yet
    depth: int = 0  # of lists
    open: list[tuple[str, int | None, tuple[tuple[str, str], ...]]] = field(default_factory=list)

    def write(self, text: str) -> None:
        if not text:
            return
        self.open = [(kind, self.length if start is None else start, extra) for kind, start, extra in self.open]
        self._append(text)

    def _append(self, text: str) -> None:
        self.parts.append(text)
        self.length += len(text)

    def begin(self, kind: str, extra: tuple[tuple[str, str], ...] = ()) -> None:
        self.open.append((kind, None, extra))

    def end(self) -> None:
        kind, start, extra = self.open.pop()
        nested = any(outer == kind for outer, _, _ in self.open)
        if start is not None and kind and not nested:
            self.marks.append(Mark(kind, start, self.length, extra))

    def leaf(self, token: Token) -> None:
        """Begin a block: on a new line, after an empty one where the source has one."""
        first, last = token.map or (self.line, self.line)
        if self.parts:
            self._append("\n\n" if first > self.line else "\n")
        self.line = last
        if self.bullets:
            self.write("".join(self.bullets))
            self.bullets.clear()

    def blocks(self, tokens: list[Token]) -> None:
        cells = 0
        for token in tokens:
            match token.type:
                case "inline":
                    self.inline(token.children or [])
                case "paragraph_open":
                    self.leaf(token)
                case "heading_open":
                    self.leaf(token)
                    self.begin("bold")
                case "heading_close" | "blockquote_close":
                    self.end()
                case "blockquote_open":
                    self.begin("blockquote")
                case "bullet_list_open" | "ordered_list_open":
                    self.depth += 1
                case "bullet_list_close" | "ordered_list_close":
                    self.depth -= 1
                case "list_item_open":
                    bullet = f"{token.info}{token.markup}" if token.info else "•" if token.markup in "-*" else "+"
                    indent = "  " * (self.depth - 1) if not self.bullets else ""
                    self.bullets.append(f"{indent}{bullet} ")
                case "list_item_close":
                    if self.bullets:
                        self.leaf(token)
                case "fence":
                    self.leaf(token)
                    info = token.info.strip()
                    named = bool(_LANGUAGE.fullmatch(info) and token.content.strip())
                    self.begin("pre", (("language", info),) if named else ())
                    self.write("" if named or not info else f"{info}\n")
                    self.write(token.content.rstrip("\n"))
                    self.end()
                case "hr":
                    self.leaf(token)
                    self.write("———")
                case "tr_open":
                    self.leaf(token)
                    cells = 0
                case "thead_close":
                    self.line += 1  # the row of dashes
                case "th_open" | "td_open":
                    self.write(" | " if cells else "")
                    cells += 1
                    self.begin("bold" if token.type == "th_open" else "")
                case "th_close" | "td_close":
                    self.end()

    def inline(self, tokens: list[Token]) -> None:
        for token in tokens:
            name, _, side = token.type.rpartition("_")
            if token.type in ("softbreak", "hardbreak"):
                self.write("\n")
            elif token.type == "code_inline":
                self.begin("code")
                self.write(token.content)
                self.end()
            elif token.type == "image":
                self.begin(*_link(str(token.attrGet("src") or "")))
                self.inline(token.children or [])
                self.end()
            elif token.type == "link_open":
                self.begin(*_link(str(token.attrGet("href") or "")))
            elif name in _STYLES and side == "open":
                self.begin(_STYLES[name])
            elif side == "close" and (name in _STYLES or name == "link"):
                self._close_link() if name == "link" else self.end()
            else:
                self.write(token.content)

    def _close_link(self) -> None:
        kind, start, extra = self.open[-1]
        shown = "".join(self.parts)[start:] if start is not None else ""
        url = dict(extra).get("url", "")
        if kind == "" and shown and shown != url.removeprefix("mailto:"):
            self.write(f" ({url})")  # a link Telegram would drop
        self.end()


def _link(url: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return ("text_link" if _LINKABLE.match(url) else "", (("url", url),))


# Marks


def _within(mark: Mark, start: int, end: int) -> Mark | None:
    """The part of ``mark`` between ``start`` and ``end``, counted from ``start``; None if there is none."""
    first, last = max(mark.start, start) - start, min(mark.end, end) - start
    return replace(mark, start=first, end=last) if last > first else None


def _around_code(marks: list[Mark]) -> list[Mark]:
    """Telegram allows no other mark on code (but the quote around it): those are cut out there."""
    code = sorted((mark for mark in marks if mark.type in ("code", "pre")), key=lambda mark: mark.start)
    found: list[Mark] = []
    for mark in marks:
        if mark.type in ("code", "pre", "blockquote"):
            found.append(mark)
            continue
        at = mark.start
        for hole in code:
            if hole.start >= mark.end or hole.end <= at:
                continue
            if hole.start > at:
                found.append(replace(mark, start=at, end=hole.start))
            at = hole.end
        if at < mark.end:
            found.append(replace(mark, start=at))
    return sorted(found, key=lambda mark: (mark.start, -mark.end))


def _body(text: str, start: int, end: int, marks: list[Mark]) -> dict[str, Any]:
    part = text[start:end]
    entities = []
    for mark in marks:
        inside = _within(mark, start, end)
        if inside is not None:
            offset = _units(part[: inside.start])
            length = _units(part[inside.start : inside.end])
            entities.append({"type": mark.type, "offset": offset, "length": length, **dict(mark.extra)})
    return {"text": part, "entities": entities}


def _units(text: str) -> int:
    """Length in UTF-16 code units."""
    return len(text) + sum(1 for char in text if char > "\uffff")


# Cutting

#: Where to cut, the best first. A match ends where the next part begins.
_BOUNDARIES = (
    re.compile(r"\n[ \t]*\n\s*"),
    re.compile(r"\n\s*"),
    re.compile(r"[.!?…][\"'»”)\]]*\s+"),
    re.compile(r"\s+"),
)


def _cuts(text: str) -> Iterator[tuple[int, int]]:
    """Ranges of at most :data:`LIMIT` units that hold all of ``text`` but white space between them."""
    start = 0
    while start < len(text):
        end = _furthest(text, start)
        if end < len(text):
            end = _boundary(text, start, end)
        yield start, start + len(text[start:end].rstrip())
        start = end
        while start < len(text) and text[start].isspace():
            start += 1


def _furthest(text: str, start: int) -> int:
    end = min(len(text), start + LIMIT)
    excess = _units(text[start:end]) - LIMIT
    while excess > 0:
        end -= 1
        excess -= 2 if text[end] > "\uffff" else 1
    return end


def _boundary(text: str, start: int, end: int) -> int:
    """The best place to cut in the second half of the range, and never within a character."""
    middle = start + (end - start) // 2
    for boundary in _BOUNDARIES:
        # The character behind the range may be the white space: dropped, it costs nothing.
        found = [match.end() for match in boundary.finditer(text, middle, end + 1)]
        if found:
            return found[-1]
    whole = end
    while whole > middle and _continues(text, whole):
        whole -= 1
    return whole if whole > middle else end


def _continues(text: str, at: int) -> bool:
    """Whether the code point at ``at`` belongs to the character before it (an approximation of UAX 29)."""
    here, before = text[at], text[at - 1]
    if unicodedata.category(here) in ("Mn", "Me", "Mc") or here in "\u200d\ufe0f" or before == "\u200d":
        return True
    if "\U0001f3fb" <= here <= "\U0001f3ff" or "\U000e0020" <= here <= "\U000e007f" or "\u1160" <= here <= "\u11ff":
        return True
    if not _is_flag(here):
        return False
    letters = 0
    while letters < at and _is_flag(text[at - 1 - letters]):
        letters += 1
    return letters % 2 == 1


def _is_flag(char: str) -> bool:
    """Regional indicators; two of them are one flag."""
    return "\U0001f1e6" <= char <= "\U0001f1ff"
