"""All recognisers together."""

from __future__ import annotations

from pipeline.masking.contacts import contacts
from pipeline.masking.numbers import numbers
from pipeline.masking.people import people
from pipeline.masking.reading import read
from pipeline.masking.spans import Found, merged

#: Characters looked at in one go, and how many of them again with the next: no identifier is longer.
_WINDOW, _OVERLAP = 2_000, 200


def recognise(text: str) -> list[Found]:
    """The identifiers in a text, in order, none within another. Time grows with the length, whatever is in it."""
    found = []
    for start in range(0, max(len(text) - _OVERLAP, 1), _WINDOW - _OVERLAP):
        reading = read(text[start : start + _WINDOW])
        for one in (*contacts(reading.text), *numbers(reading.text), *people(reading.text)):
            begin, end = (start + at for at in reading.origin(one.start, one.end))
            value = text[begin:end]
            found.append(Found(end - len(value.lstrip()), begin + len(value.rstrip()), one.kind))
    return merged(found)


def hide(text: str) -> str:
    """The text with the kind of each identifier in its place, for good."""
    parts, at = [], 0
    for one in recognise(text):
        parts += [text[at : one.start], f"[{one.kind}]"]
        at = one.end
    return "".join([*parts, text[at:]])
