"""The interface of a way out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import IO, Any, Protocol

from pydantic import BaseModel, ConfigDict

from pipeline.envelope import MediaRef
from pipeline.errors import NotUnderstood
from ragline.channels import Account
from ragline.logs import get_logger
from ragline.settings import Settings
from storage.download import NotThere, TooMuch, download

log = get_logger(__name__)

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

    def download(self, media: MediaRef, into: IO[bytes]) -> None:
        """Write a file that a customer sent into ``into``, within ``media.largest`` and ``media.timeout``.

        Raises ``NotUnderstood`` (too_large, gone) or a ``TransientError``.
        """
        ...

    def close(self) -> None:
        """Close connections."""
        ...


class Downloads:
    """Files by the address that came with the message, for channels whose files have one."""

    def __init__(self, settings: Settings) -> None:
        own = settings.media
        self.most, self.within, self._private = own.largest * 2**20, own.timeout, own.private_addresses

    def fetch(self, url: str | None, into: IO[bytes]) -> None:
        """See :meth:`Sender.download`."""
        if not url:
            raise NotUnderstood("gone")
        try:
            download(url, into, most=self.most, within=self.within, private=self._private)
        except TooMuch:
            raise NotUnderstood("too_large") from None
        except NotThere as error:
            log.warning("media_not_fetched", reason=str(error))
            raise NotUnderstood("gone") from None


class PullSender:
    """A channel whose customers read their answers from Ragline: there is nothing to send."""

    pull = True
    button_width = 0

    def __init__(self, name: str, account: Account, settings: Settings) -> None:
        self.name = name
        self._downloads = Downloads(settings)

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

    def download(self, media: MediaRef, into: IO[bytes]) -> None:
        self._downloads.fetch(media.url, into)

    def close(self) -> None:
        return None
