"""The Umnico open API v1.3 over HTTP: one account's calls, paced, and what became of each."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx

from ragline.channels import UmnicoAccount
from ragline.clock import utcnow
from ragline.redaction import mask

#: Seconds for an answer, and for the connection, which is over before a byte of the request is written.
TIMEOUT, CONNECT_TIMEOUT = 10.0, 5.0
#: Umnico publishes no limit: this many calls within a second at most, an account and process.
CALLS_PER_SECOND = 5
#: No answer that matters is longer.
MAX_ANSWER = 2_000_000
#: Longest wait a Retry-After is believed, in seconds.
LONGEST_WAIT = 3600.0


class NeverConnected(Exception):
    """The request was not written: refused, unknown host, TLS, or no connection in time."""


class ConnectionLost(Exception):
    """No answer, although the request was written, or may have been."""


class Unmakeable(Exception):
    """The settings allow no request: the address or the token is malformed."""


@dataclass(frozen=True)
class Answer:
    """What came back. ``body`` is None where it is no JSON, or broke off."""

    status: int
    body: Any = None
    page: bool = False
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def said(self) -> str:
        """The reason given, short; the form of errors is not documented."""
        holder = self.body if isinstance(self.body, dict) else {}
        for name in ("message", "error", "detail"):
            if isinstance(holder.get(name), str):
                return mask(" ".join(holder[name].split())[:200])
        return ""


class UmnicoApi:
    """The calls of one account. Thread-safe; the connection is opened at the first call.

    The errors it raises name neither the address called nor the token, and have no cause that does.
    """

    def __init__(self, account: UmnicoAccount) -> None:
        self._account = account
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()
        self._recent: deque[float] = deque(maxlen=CALLS_PER_SECOND)

    def call(self, method: Literal["GET", "POST", "PUT"], path: str, body: dict[str, Any] | None = None) -> Answer:
        """Make one call, waiting for its place in the pace.

        Raises :class:`NeverConnected`, :class:`ConnectionLost` or :class:`Unmakeable`.
        """
        time.sleep(self._wait())
        response: httpx.Response | None = None
        content = bytearray()
        try:
            client = self._connect()
            deadline = time.monotonic() + TIMEOUT
            with client.stream(method, path, content=None if body is None else json.dumps(body)) as response:
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > MAX_ANSWER or time.monotonic() > deadline:
                        break
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            raise NeverConnected(type(error).__name__) from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError) as error:
            raise Unmakeable(type(error).__name__) from None
        except httpx.HTTPError as error:
            if response is None:
                raise ConnectionLost(type(error).__name__) from None
            content.clear()  # the status came, and says what was done; the rest is lost
        return _answer(response, bytes(content))

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connect(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                self._client = httpx.Client(
                    base_url=self._account.api_base.rstrip("/"),
                    headers={
                        # One integrator was refused with a lower-case "bearer", another for its client's name.
                        "Authorization": f"Bearer {self._account.token.get_secret_value()}",
                        "User-Agent": "Ragline",
                        "Content-Type": "application/json",
                        "Accept": "application/json",
                    },
                    timeout=httpx.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT),
                )
            return self._client

    def _wait(self) -> float:
        """Seconds to wait; the place in the pace is taken."""
        with self._lock:
            now = time.monotonic()
            full = len(self._recent) == CALLS_PER_SECOND
            place = max(now, self._recent[0] + 1.0) if full else now
            self._recent.append(place)
            return place - now


def _answer(response: httpx.Response, content: bytes) -> Answer:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    page = body is None and response.headers.get("content-type", "").lower().startswith("text/html")
    return Answer(response.status_code, body, page, _retry_after(response.headers.get("retry-after", ""), utcnow()))


def _retry_after(value: str, now: datetime) -> float | None:
    """Seconds of a Retry-After header, a number or a date; None for anything else."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - now).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(seconds, LONGEST_WAIT) if math.isfinite(seconds) and seconds > 0 else None
