"""The interface of a way out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from ragline.channels import Account
from ragline.settings import Settings

#: Is called with all of an answer that is written so far.
Show = Callable[[str], None]


class Outgoing(BaseModel):
    """One part of a reply. ``key`` is the outbox row's id: the idempotency key where a channel has one.

    ``address`` is the conversation's (chat, thread, lead, source); ``reply_to`` is the external id of the
    customer's message; ``body`` is what :meth:`Sender.split` made.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    conversation: str
    address: dict[str, Any]
    body: dict[str, Any]
    part: int = 0
    reply_to: str | None = None


class Sender(Protocol):
    """Sends to one account of one channel. Thread-safe; connections are opened at the first use."""

    #: True where the customer's side fetches from Ragline itself, so that a send cannot fail (widget, API).
    pull: bool
    #: Longest title that a button under a message shows whole, in characters; 0: the channel has no buttons.
    button_width: int

    def __init__(self, name: str, account: Any, settings: Settings) -> None: ...

    def warm_up(self) -> None:
        """Load what the first send would load, before there is anything to send. Never raises."""
        ...

    def split(self, text: str, address: dict[str, Any]) -> list[dict[str, Any]]:
        """``text`` (Markdown) as the bodies of one or more messages within the limits of the channel, and of whatever
        messenger ``address`` leads to behind it.

        A body holds at least ``text``: what the customer will read, plain. Where the channel has buttons, the body
        that comes to :meth:`send` may have ``buttons`` besides: ``[{"title", "data"}]``.
        """
        ...

    def send(self, outgoing: Outgoing) -> str | None:
        """Send one part; return the channel's id of it.

        Raises ``NotSent``, ``FloodWait``, ``AmbiguousSend`` (transient), ``Undeliverable`` or ``SendRefused``
        (permanent) of :mod:`pipeline.errors`, and nothing else.
        """
        ...

    def already_sent(self, outgoing: Outgoing) -> bool | None:
        """Whether the customer has this part, asked before an ambiguous send is repeated; None: nobody can tell.

        Never raises.
        """
        ...

    def acknowledge(self, press: str, note: str = "") -> None:
        """Tell the customer that the press of a button (its external id) has arrived. At once, and never raises.

        ``note`` is shown for a moment, where the channel can do that.
        """
        ...

    def working(self, address: dict[str, Any]) -> AbstractContextManager[Show | None]:
        """Show the customer that an answer is being written, for as long as the block runs. Never raises.

        Gives what takes the text (Markdown) as it grows, where the channel itself can show that; it neither waits nor
        raises. Pull channels are shown it by Ragline.
        """
        ...

    def close(self) -> None:
        """Close connections."""
        ...


class PullSender:
    """A channel whose customers read their answers from Ragline: there is nothing to send."""

    pull = True
    button_width = 0

    def __init__(self, name: str, account: Account, settings: Settings) -> None:
        self.name = name

    def warm_up(self) -> None:
        pass

    def split(self, text: str, address: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"text": text}]

    def send(self, outgoing: Outgoing) -> str | None:
        return outgoing.key

    def already_sent(self, outgoing: Outgoing) -> bool | None:
        return None

    def acknowledge(self, press: str, note: str = "") -> None:
        pass

    def working(self, address: dict[str, Any]) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        return None
