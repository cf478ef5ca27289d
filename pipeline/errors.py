"""What can go wrong on the way to an answer and out to the customer. Vendor errors end here."""

from __future__ import annotations

from typing import Literal

from ragline.errors import PermanentError, TransientError
from storage.understanding import NotUnderstood as NotUnderstood  # raised where a file is looked at, too


class ProviderUnavailable(TransientError):
    """The model provider did not answer: time-out, 5xx, 429. Another attempt may."""


class ProviderRefused(PermanentError):
    """The model provider refuses this request: key, permission, model name, request."""


class NoModel(ProviderRefused):
    """No model is set for what is to be done: there is nobody to ask."""


class BudgetSpent(PermanentError):
    """A budget does not hold the call. The engine answers without a model then; nothing is tried again."""


class NotSent(TransientError):
    """The channel certainly did not take the message: refused connection, failed look-up, 5xx."""


class FloodWait(TransientError):
    """The channel asks to wait ``retry_after`` seconds, for this chat or for the whole account."""

    def __init__(self, message: str, retry_after: float, scope: Literal["chat", "account"] = "chat") -> None:
        super().__init__(message, retry_after)
        self.scope = scope

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.args[0], self.retry_after, self.scope)


class AmbiguousSend(TransientError):
    """The request was written and the connection broke: the customer may or may not have the message."""


class Undeliverable(PermanentError):
    """This customer cannot be reached: blocked the bot, chat deleted, lead closed."""


class SendRefused(PermanentError):
    """The channel refuses this message or this account: malformed content, revoked token."""
