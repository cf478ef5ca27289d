"""The ways out, one file a channel. :func:`make_sender` finds the class the registry names."""

from __future__ import annotations

from importlib import import_module

from pipeline.senders.base import Sender
from ragline.channels import channel_specs
from ragline.errors import PermanentError
from ragline.settings import Settings


def make_sender(channel: str, account: str, settings: Settings) -> Sender:
    """The sender of one account.

    Raises :class:`PermanentError` when the account is not (or no longer) configured.
    """
    found = settings.channels.get(channel, {}).get(account)
    if found is None:
        raise PermanentError(f"channel account {channel}.{account} is not configured; add it or replay after adding it")
    module, _, name = channel_specs()[channel].sender.partition(":")
    sender: Sender = getattr(import_module(module), name)(account, found, settings)
    return sender
