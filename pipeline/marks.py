"""What a model writes that is not for the customer: marks of the passages used, and markers of a prompt's blocks."""

from __future__ import annotations

import re

#: Names of the blocks in which a prompt holds data.
BLOCKS = ("passages", "passage", "customer", "history", "summary", "answer")
#: The word with which a model declines.
DECLINED = "NO_ANSWER"
#: ``[1]``, ``[2, 3]``, with the blanks before it; group 1: the numbers.
MARK = re.compile(r"\s{0,8}\[(\d{1,2}(?:\s*[,;]\s*\d{1,2})*)\]")
_BLOCK = re.compile(rf"</?(?:{'|'.join(BLOCKS)})\b[^>]{{0,80}}>", re.IGNORECASE)


def unmarked(text: str) -> str:
    """A text without marks and without markers of blocks."""
    return _BLOCK.sub("", MARK.sub("", text))
