"""Visitors: their tokens, which pages may talk to the widget, and how often.

A token is a random secret that only the visitor's browser keeps. The conversation's key is its hash: SQL, logs
and metrics never hold what opens a conversation. Nothing is stored until the visitor writes.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from fastapi import Request

from ragline.channels import WidgetAccount
from ragline.logs import get_logger

#: 256 random bits, base64url.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
log = get_logger(__name__)


def new_token() -> str:
    """A fresh token."""
    return secrets.token_urlsafe(32)


def conversation_key(token: str | None) -> str | None:
    """The key of the conversation ``token`` opens; None for what is no token."""
    if token is None or not _TOKEN.fullmatch(token):
        return None
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True)
class Limits:
    """How much one visitor, and one address, may ask for in ``window`` seconds, and what may run at once.

    Opening a stream counts as a read. Streams and uploads are per process, and so are ``readers``: the threads that
    look in SQL for them. ``megabytes_per_address`` is what one address may upload in an hour.
    """

    messages_per_session: int = 20
    messages_per_address: int = 120
    sessions_per_address: int = 30
    reads_per_address: int = 600
    window: float = 60
    streams_per_address: int = 20
    streams: int = 2000
    readers: int = 4
    files_per_session: int = 40
    files_per_address: int = 240
    megabytes_per_address: int = 1000
    uploads_per_address: int = 10
    uploads: int = 100
    upload_seconds: float = 300


class RateLimit:
    """At most ``count`` in any ``window`` seconds for each key, evenly refilled, in bounded memory.

    The generic cell rate algorithm: one number a key, the time at which its allowance is whole again
    (https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm).
    """

    KEYS = 20_000

    def __init__(self, count: int, window: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._step = window / count
        self._window = window
        self._clock = clock
        self._whole_at: OrderedDict[str, float] = OrderedDict()

    def wait(self, key: str, weight: float = 1) -> float:
        """Count ``weight`` more for ``key``. 0: admitted; else the seconds after which to try again."""
        now = self._clock()
        whole_at = max(self._whole_at.get(key, now), now) + self._step * weight
        if whole_at - now > self._window + 1e-6:
            return whole_at - now - self._window
        self._whole_at[key] = whole_at
        self._whole_at.move_to_end(key)
        if len(self._whole_at) > self.KEYS:
            self._whole_at.popitem(last=False)
        return 0


class OpenStreams:
    """How many streams (or uploads) are open: at most ``per_address`` for one address, and ``total`` in all."""

    def __init__(self, per_address: int, total: int) -> None:
        self._per_address = per_address
        self._total = total
        self._open: Counter[str] = Counter()

    def open(self, address: str) -> Literal["crowded", "full"] | None:
        """Count one more for ``address``, to be closed later. Else why it may open no further one."""
        if self._open[address] >= self._per_address:
            return "crowded"
        if self._open.total() >= self._total:
            return "full"
        self._open[address] += 1
        return None

    def close(self, address: str) -> None:
        """Count one less for ``address``."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]


def address_of(request: Request) -> str:
    """The client's address for counting: an IPv6 customer owns a whole /64."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return host if address.version == 4 else str(ipaddress.ip_network((int(address), 64), strict=False))


def _origin(value: str) -> str:
    return value.strip().rstrip("/").lower()


class Origins:
    """The pages that may talk to a site's widget: those the account names, and our own."""

    def __init__(self, site: str, account: WidgetAccount, public_url: str | None) -> None:
        self._allowed = {_origin(value) for value in account.origins}
        for value in sorted(self._allowed - {"*"}):
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path:
                log.warning("widget_origin_malformed", site=site, origin=value, expected="https://shop.example")
        if public_url:
            parts = urlsplit(public_url)
            self._allowed.add(_origin(f"{parts.scheme}://{parts.netloc}"))

    def admits(self, request: Request) -> bool:
        """Whether the request's page may talk to the widget; one without an Origin is no browser's cross-origin one."""
        origin = request.headers.get("origin")
        if origin is None or "*" in self._allowed or _origin(origin) in self._allowed:
            return True
        # Only the host is compared: behind a proxy that ends TLS the scheme here is not the browser's.
        return urlsplit(_origin(origin)).netloc == request.headers.get("host", "").lower()
