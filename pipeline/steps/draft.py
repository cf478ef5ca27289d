"""What may be shown of an answer while a model still writes it."""

from __future__ import annotations

import re

from pipeline.marks import BLOCKS, DECLINED, unmarked

#: Halves of what the finished answer does not keep (:mod:`pipeline.marks`), at the end of what has come.
_HALF_MARK = re.compile(r"\[[\d,;\s]*")
_HALF_BLOCK = re.compile(r"</?(\w*)([^>]{0,80})")
_HALVES = tuple(DECLINED[:length] for length in range(len(DECLINED) - 1, 0, -1))


def shown(text: str) -> str:
    """As much of ``text``, the beginning of what a model writes, as is certain to begin the answer made of it.

    Empty as soon as the model declines: what it wrote before is then no answer either.
    """
    text = _without_half_block(unmarked(_without_half_mark(text)))
    if DECLINED in text:
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
            if name in BLOCKS if rest else any(block.startswith(name) for block in BLOCKS):
                return text[: bracket.start()]
    return text
