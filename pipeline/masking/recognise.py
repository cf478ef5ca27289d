"""All recognisers together."""

from __future__ import annotations

from pipeline.masking.contacts import contacts
from pipeline.masking.numbers import numbers
from pipeline.masking.people import people
from pipeline.masking.spans import Found, merged


def recognise(text: str) -> list[Found]:
    """The identifiers in a text, in order, none within another."""
    return merged([*contacts(text), *numbers(text), *people(text)])


def hide(text: str) -> str:
    """The text with the kind of each identifier in its place, for good."""
    parts, at = [], 0
    for one in recognise(text):
        parts += [text[at : one.start], f"[{one.kind}]"]
        at = one.end
    return "".join([*parts, text[at:]])
