"""Text form of the kinds that carry their meaning in the message itself."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.turn import TurnMessage


def as_question(messages: Sequence[TurnMessage]) -> str:
    """The customer's words of a burst, one message a line; empty when there are none.

    A caption counts as words. A leading bot command is dropped when words follow it (``/ask how ...``).
    """
    lines = []
    for message in messages:
        text = message.text.strip()
        if message.kind == "command":
            _, _, text = text.partition(" ")
        if message.kind == "sticker":
            continue
        if text.strip():
            lines.append(text.strip())
    return "\n".join(lines)
