"""What may be shown of an answer while a model still writes it."""

from __future__ import annotations

import re

#: What the finished answer does not keep (see :func:`pipeline.grounding.read_reply`): marks of the passages used, and
#: markers of a prompt's blocks. The word that declines.
_MARK = re.compile(r"\s*\[\d{1,2}(?:\s*[,;]\s*\d{1,2})*\]")
_BLOCKS = ("passages", "passage", "customer", "history", "summary", "answer")
_BLOCK = re.compile(rf"</?(?:{'|'.join(_BLOCKS)})\b[^>]{{0,80}}>", re.IGNORECASE)
_DECLINED = "NO_ANSWER"
#: Their halves, at the end of what has come.
_HALF_MARK = re.compile(r"\[[\d,;\s]*")
_HALF_BLOCK = re.compile(r"</?(\w*)([^>]{0,80})")
_HALVES = tuple(_DECLINED[:length] for length in range(len(_DECLINED) - 1, 0, -1))


def shown(text: str) -> str:
    """As much of ``text``, the beginning of what a model writes, as is certain to begin the answer made of it.

    Empty as soon as the model declines: what it wrote before is then no answer either.
    """
    text = _MARK.sub("", _without_half_mark(text))
    text = _without_half_block(_BLOCK.sub("", text))
    if _DECLINED in text:
        return ""
    half = next((half for half in _HALVES if text.endswith(half)), "")
    return text.removesuffix(half).strip()


def _without_half_mark(text: str) -> str:
    """Also without the white space before it, which would go with the mark."""
    at = text.rfind("[")
    return text[:at].rstrip() if at >= 0 and _HALF_MARK.fullmatch(text, at) else text


def _without_half_block(text: str) -> str:
    for bracket in re.finditer("<", text):
        half = _HALF_BLOCK.fullmatch(text, bracket.start())
        if half is not None:
            name, rest = half[1].lower(), half[2].strip()
            if name in _BLOCKS if rest else any(block.startswith(name) for block in _BLOCKS):
                return text[: bracket.start()]
    return text
