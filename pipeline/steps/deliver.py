"""Deliver: the answer as the parts to be sent. Writing them down and sending them is the workers' part."""

from __future__ import annotations

from typing import Any, Literal

from pipeline.prompts import load
from pipeline.senders.base import Sender
from pipeline.turn import Answer
from ragline.errors import PermanentError


def deliver(answer: Answer, *, sender: Sender, address: dict[str, Any]) -> list[dict[str, Any]]:
    """Bodies of the messages to send, in order, within the channel's limits; at least one.

    Raises ``PermanentError`` for an answer without a text to send.
    """
    parts = sender.split(answer.text, address)
    if not parts:
        raise PermanentError("the answer holds nothing that can be sent")
    return parts


def notice(
    language: str, *, sender: Sender, address: dict[str, Any], name: Literal["failed", "limited"] = "failed"
) -> list[dict[str, Any]]:
    """The honest line a customer gets when their message cannot be answered now."""
    return sender.split(load(f"reply_{name}").render(language=language), address)
