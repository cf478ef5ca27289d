"""Deliver: the answer as the parts to be sent. Writing them down and sending them is the workers' part."""

from __future__ import annotations

from typing import Any, Literal

from pipeline.prompts import load
from pipeline.senders.base import Sender
from pipeline.steps.clarify import button, cut, listed
from pipeline.turn import Answer, Option
from ragline.errors import PermanentError


def deliver(
    answer: Answer, *, sender: Sender, address: dict[str, Any], turn_id: str, language: str
) -> list[dict[str, Any]]:
    """Bodies of the messages to send, in order, within the channel's limits; at least one.

    What the customer may choose from are buttons under the last one, ``{"buttons": [{"title", "data"}]}``; where a
    button cannot show it whole, or there are none, it is a numbered list in the text too. Raises ``PermanentError``
    for an answer without a text to send.
    """
    options, width = answer.options, sender.button_width
    whole = all(len(option.title) <= width for option in options)
    parts = sender.split(answer.text if whole else listed(answer.text, options, language), address)
    if not parts:
        raise PermanentError("the answer holds nothing that can be sent")
    if options and width:
        parts[-1] = {**parts[-1], "buttons": _buttons(turn_id, options, 0 if whole else width)}
    return parts


def _buttons(turn_id: str, options: tuple[Option, ...], width: int) -> list[dict[str, str]]:
    """``width`` other than 0: the options are listed in the text, and each button begins with the number there."""
    titles = [cut(f"{at}. {option.title}", width) if width else option.title for at, option in enumerate(options, 1)]
    return [button(turn_id, option, title)._asdict() for option, title in zip(options, titles, strict=True)]


def notice(
    language: str, *, sender: Sender, address: dict[str, Any], name: Literal["failed", "limited"] = "failed"
) -> list[dict[str, Any]]:
    """The honest line a customer gets when their message cannot be answered now."""
    return sender.split(load(f"reply_{name}").render(language=language), address)
