"""What may be shown of an answer while a model still writes it."""

from __future__ import annotations

import re

#: Marks of the passages used, which the answer does not keep, and what may become one; the word that declines.
_MARK = re.compile(r"\s*\[\d{1,2}(?:\s*,\s*\d{1,2})*\]")
_HALF_MARK = re.compile(r"\[[\d,\s]*")
_DECLINED = "NO_ANSWER"
_HALVES = tuple(_DECLINED[:length] for length in range(len(_DECLINED) - 1, 0, -1))


def shown(text: str) -> str:
    """As much of ``text``, the beginning of what a model writes, as is certain to begin the answer made of it.

    Empty as soon as the model declines: what it wrote before is then no answer either.
    """
    if _DECLINED in text:
        return ""
    half = next((half for half in _HALVES if text.endswith(half)), "")
    return _MARK.sub("", _certain(text.removesuffix(half))).lstrip()


def _certain(text: str) -> str:
    """``text`` without a mark that is not whole yet and the white space before it, which would go with the mark."""
    at = text.rfind("[")
    if at >= 0 and _HALF_MARK.fullmatch(text, at):
        text = text[:at]
    return text.rstrip()
