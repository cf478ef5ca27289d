"""The error classes of the whole project: an error itself says whether to try again."""

from __future__ import annotations


class RaglineError(Exception):
    """Base of every error Ragline raises on purpose.

    The text is for the person who has to act on it: what happened and what to do. It never holds
    a customer's words or a secret, because errors are logged and stored.
    """

    @property
    def code(self) -> str:
        """The class name, stored as ``error_class`` in the ledger."""
        return type(self).__name__


def safe_text(error: BaseException) -> str:
    """What may be logged and stored of an error: our own say nothing secret, a foreign one may quote its input."""
    if isinstance(error, RaglineError):
        return str(error)
    said = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
    return f"{type(error).__name__}{said}"


class ConfigurationError(RaglineError):
    """A setting is missing or wrong; nothing was started."""


class TransientError(RaglineError):
    """Worth another attempt, after ``retry_after`` seconds where the other side named a time."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.args[0], self.retry_after)


class PermanentError(RaglineError):
    """Another attempt would fail the same way."""
