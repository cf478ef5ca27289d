"""What a file holds, by its first bytes. What it is called, and what the channel says of it, is not trusted."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Literal, NamedTuple

import puremagic

from storage.understanding import NotUnderstood

#: Bytes looked at.
HEAD = 16_384
#: Pictures that can be decoded here.
_PICTURES = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff", "image/avif"})
_RECORDINGS = frozenset({"application/ogg", "application/x-matroska", "application/mp4"})
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_MARKUP = re.compile(r"\s*(?:<!--.*?-->\s*)?<(?:!doctype html|html\b)", re.IGNORECASE | re.DOTALL)
#: Beginnings of media files that may be all printable: no text begins so, whatever follows.
_MEDIA: dict[bytes, Literal["photo", "recording"]] = {
    b"\xff\xd8\xff": "photo",
    b"GIF87a": "photo",
    b"GIF89a": "photo",
    b"OggS": "recording",
}
#: Pictures and formatted texts that are written as text and are none to read.
_WRITTEN = re.compile(
    r"(?:<\?xml[^>]{0,200}\?>|<!--(?:(?!-->).)*-->|<!DOCTYPE svg[^>]*>|\s)*<svg\b|\s*\{\\rtf\d|%!PS", re.DOTALL
)
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06")
#: Old Word files, and Word files that are locked, which the parser tells apart.
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


class Content(NamedTuple):
    """``parser``: which one of :mod:`storage.documents` reads a document."""

    content: Literal["photo", "recording", "document"]
    parser: str = ""


def sniff(path: Path, name: str | None = None) -> Content:
    """What a file holds. Raises ``NotUnderstood`` (type, broken). ``name`` only tells kinds of text apart."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        raise NotUnderstood("broken")
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"%PDF-"):
        return Content("document", "pdf")
    if head.startswith((*_ARCHIVES, _OLE)):
        return _office(path, head)
    for begins, content in _MEDIA.items():
        if head.startswith(begins):
            return Content(content)
    if (text := _text(head)) is not None:
        if _WRITTEN.match(text):
            raise NotUnderstood("type")
        return Content("document", _kind_of_text(text, name))
    try:
        found = puremagic.magic_string(head)
    except puremagic.PureError:
        raise NotUnderstood("type") from None
    for match in found:
        mime = match.mime_type
        if mime in _PICTURES:
            return Content("photo")
        if mime in _RECORDINGS or mime.startswith(("audio/", "video/")):
            return Content("recording")
    raise NotUnderstood("type")


def _office(path: Path, head: bytes) -> Content:
    if head.startswith(_OLE):
        return Content("document", "docx")
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):  # the last one: a version to come
        raise NotUnderstood("broken") from None
    if "word/document.xml" not in names:
        raise NotUnderstood("type")
    return Content("document", "docx")


def _text(head: bytes) -> str | None:
    """The beginning as text; None for what is none."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return head[: len(head) // 2 * 2].decode("utf-16")
        except UnicodeDecodeError:
            return None
    if _CONTROL.search(head):
        return None
    for encoding in ("utf-8", "cp1251"):
        try:
            return head.decode(encoding)
        except UnicodeDecodeError as error:
            if encoding == "utf-8" and error.start >= len(head) - 4 and len(head) == HEAD:
                return head[: error.start].decode("utf-8")  # a letter is cut in two
    return None


def _kind_of_text(text: str, name: str | None) -> str:
    if _MARKUP.match(text):
        return "html"
    return "markdown" if (name or "").lower().endswith((".md", ".markdown")) else "plain"
