"""What a channel's folder is given, and what it gives back."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BeforeValidator, SecretStr
from starlette.routing import compile_path

from ingress.accept import Acceptor
from ingress.live import Live
from ingress.wakeups import Wakeups
from ragline.errors import RaglineError
from ragline.settings import Settings
from storage.session import Database

#: Larger deliveries are refused unread. Telegram's and Umnico's are a few kilobytes.
MAX_BODY = 1_000_000
#: Files of one message at most, and what each can be sent as; what it holds is found out.
MOST_FILES = 10
MediaType = Literal["photo", "voice", "audio", "video", "document"]


@dataclass(frozen=True)
class Inlet:
    """The collaborators of every channel."""

    settings: Settings
    acceptor: Acceptor
    database: Database
    wakeups: Wakeups
    live: Live = field(default_factory=lambda: Live(None))


@dataclass(frozen=True)
class Webhook:
    """``POST`` to ``path`` (a template) is for ``take``: it returns, and the answer is an empty 200, or it raises.

    What is in the path's braces is in the request's ``path_params``.
    """

    path: str
    take: Callable[[Request], Awaitable[None]]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return compile_path(self.path)[0]


@dataclass(frozen=True)
class Mounted:
    """A channel's part of the HTTP application.

    ``background`` holds coroutines that run as long as the process does (a poller, a watchdog); one that
    ends with an exception is started again with backoff.
    """

    router: APIRouter = field(default_factory=APIRouter)
    webhooks: Sequence[Webhook] = ()
    background: Sequence[Callable[[], Awaitable[None]]] = ()


class Unreadable(RaglineError):
    """An authentic delivery in a form ``normalise`` does not know; kept in quarantine."""


class TooLarge(RaglineError):
    """A body beyond :data:`MAX_BODY`."""


_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(value: object) -> object:
    """Text as every database takes it: a NUL or half a surrogate pair becomes U+FFFD. Other types unchanged."""
    return _UNSTORABLE.sub("\ufffd", value) if isinstance(value, str) else value


#: For annotations of texts from outside; stands after the constraints, which see the cleaned text.
Storable = BeforeValidator(storable)
#: A text from outside of any length.
CleanText = Annotated[str, Storable]


def bearer(request: Request) -> str | None:
    """The credential of ``Authorization: Bearer``; None without one."""
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    return credential.strip() or None if scheme.lower() == "bearer" else None


async def read_body(request: Request, limit: int = MAX_BODY) -> bytes:
    """The raw body. Raises :class:`TooLarge` before more than ``limit`` bytes are in memory."""
    chunks = bytearray()
    async for chunk in request.stream():
        chunks += chunk
        if len(chunks) > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")
    return bytes(chunks)


def secret_matches(given: str | None, expected: SecretStr | None) -> bool:
    """Constant-time comparison. False when either is missing: an unset secret admits nobody."""
    if not given or expected is None or not expected.get_secret_value():
        return False
    return hmac.compare_digest(
        hashlib.sha256(given.encode()).digest(), hashlib.sha256(expected.get_secret_value().encode()).digest()
    )
