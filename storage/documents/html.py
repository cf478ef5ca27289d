"""HTML: the main content of a page, without menus, scripts and what is hidden."""

from __future__ import annotations

import re
from typing import Any

from lxml import etree
from lxml import html as lxml_html

from storage.documents.blocks import Parsed, Unreadable, clean, decode, table_row

_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)
_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
_LEFT_OUT = {
    "script", "style", "noscript", "template", "nav", "aside", "form", "button", "select", "iframe", "svg", "object",
    "head", "dialog", "canvas", "audio", "video",
}  # fmt: skip
#: Around the content of a page, not in it: left out unless they are inside an article.
_FRAME = {"header", "footer"}
_BLOCKS = {
    "p", "li", "dt", "dd", "div", "section", "article", "main", "blockquote", "pre", "figure", "figcaption", "ul", "ol",
    "dl", "table", "tr", "td", "th", "thead", "tbody", "tfoot", "caption", "address", "details", "summary", "body",
    "header", "footer", "hr", "fieldset",
}  # fmt: skip
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
#: What a table of data does not hold; one that does is there to place things.
_LAYOUT = ".//h1 | .//h2 | .//h3 | .//h4 | .//ul | .//p[2]"
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)


def parse(content: bytes, charset: str | None = None) -> Parsed:
    """The page's text; ``charset`` is what the server said. Raises :class:`Unreadable` for what is no HTML."""
    text = _DECLARATION.sub("", _decode(content, charset))
    if not text.strip():
        return Parsed()
    try:
        root = lxml_html.document_fromstring(text, parser=lxml_html.HTMLParser(remove_comments=True, remove_pis=True))
    except (etree.LxmlError, ValueError) as error:
        if "memory" in str(error).lower():
            raise MemoryError from error
        raise Unreadable("cannot be read as HTML; open it in a browser and save it again") from error
    body = root.find("body")
    parsed = Parsed(title=clean(root.findtext(".//head/title") or ""))
    if body is not None:
        main = body.xpath(".//main") or body.xpath(".//*[@role='main']")
        _Reader(parsed).read(main[0] if len(main) == 1 else body)
    parsed.entitle()
    return parsed


def _decode(content: bytes, charset: str | None) -> str:
    found = _CHARSET.search(content[:4096])
    for name in (charset, found[1].decode() if found else None):
        if name and not content.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
            try:
                return content.decode(name, "replace").replace("\x00", "")
            except LookupError:
                continue
    return decode(content)


class _Reader:
    """Text between the edges of block elements, in order."""

    def __init__(self, parsed: Parsed) -> None:
        self._parsed = parsed
        self._text: list[str] = []

    def read(self, root: Any) -> None:
        self._walk(root, in_article=False)
        self._flush()

    def _flush(self, level: int = 0) -> None:
        self._parsed.add("".join(self._text), level=level)
        self._text.clear()

    def _walk(self, element: Any, *, in_article: bool) -> None:
        """Depth is bounded: the parser refuses to nest beyond 256."""
        tag = element.tag if isinstance(element.tag, str) else ""
        if tag in _LEFT_OUT or (tag in _FRAME and not in_article) or _is_hidden(element):
            return
        if tag in _HEADINGS:
            self._flush()
            self._text.append(element.text_content())
            self._flush(_HEADINGS[tag])
            return
        if tag == "table" and element.find(".//table") is None and not element.xpath(_LAYOUT):
            self._flush()
            self._table(element)
            return
        edge = tag in _BLOCKS
        if edge:
            self._flush()
        self._text.append(element.text or "")
        for child in element:
            self._walk(child, in_article=in_article or tag in ("article", "main"))
            self._text.append(child.tail or "")
        if edge:
            self._flush()
        elif tag == "br":
            self._text.append(" ")

    def _table(self, table: Any) -> None:
        header: list[str] | None = None
        for row in table.iter("tr"):
            cells = [cell for cell in row if cell.tag in ("td", "th")]
            texts = [clean(cell.text_content()) for cell in cells]
            if header is None and cells and all(cell.tag == "th" for cell in cells):
                header = texts
            elif cells:
                self._parsed.add(table_row(texts, header))


def _is_hidden(element: Any) -> bool:
    return (
        element.get("hidden") is not None
        or element.get("aria-hidden") == "true"
        or bool(_HIDDEN.search(element.get("style") or ""))
    )
