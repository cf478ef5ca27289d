"""A file at an address that somebody else chose: fetched with care, never from inside the network.

The host is resolved here, its addresses are judged, and the connection goes to the one that was judged, after every
redirect anew (see :mod:`storage.documents.web`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import IO
from urllib.parse import urljoin

import httpx

from ragline.errors import RaglineError, TransientError
from storage.documents.web import Unfetched, judged_address

#: Seconds for a connection, and of silence.
SILENCE = 15.0
REDIRECTS = 5


class NotThere(RaglineError):
    """There is no such file, or it may not be fetched: another attempt would end the same way."""


class TooMuch(RaglineError):
    """The file is larger than it may be."""


class DownloadFailed(TransientError):
    """The file was not fetched; another attempt may."""


def download(url: str, into: IO[bytes], *, most: int, within: timedelta, private: bool = False) -> None:
    """Write what an http or https address holds into ``into``, ``most`` bytes at most.

    ``private``: addresses inside the network are allowed. Raises :class:`NotThere`, :class:`TooMuch` or
    :class:`DownloadFailed`; none of them repeats the address, which may hold a key.
    """
    until = time.monotonic() + within.total_seconds()
    with httpx.Client(timeout=SILENCE, follow_redirects=False, trust_env=False) as client:
        for _ in range(REDIRECTS + 1):
            target = _parsed(url)
            try:
                address = judged_address(target, private=private)
            except Unfetched as error:
                if "not known" in str(error):  # a name server that is away says the same
                    raise DownloadFailed("the host of a file is not known") from None
                raise NotThere("a file is inside the network; media.private_addresses allows it") from None
            headers = {"Host": target.netloc.decode(), "User-Agent": "ragline"}
            extensions = {"sni_hostname": target.raw_host.decode("ascii")}
            try:
                with client.stream(
                    "GET", target.copy_with(host=address), headers=headers, extensions=extensions
                ) as response:
                    if response.is_redirect:
                        url = urljoin(url, response.headers.get("location", ""))
                        continue
                    copy(response, into, most=most, until=until)
                    return
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                raise DownloadFailed(f"a file was not fetched ({type(error).__name__})") from None
    raise NotThere(f"the address of a file redirects more than {REDIRECTS} times")


def copy(response: httpx.Response, into: IO[bytes], *, most: int, until: float) -> None:
    """Write an answer's body into ``into``. ``until``: as ``time.monotonic()`` tells it. Raises as :func:`download`."""
    status = response.status_code
    if status in (408, 425, 429) or status >= 500:
        wait = response.headers.get("retry-after", "")
        raise DownloadFailed(f"the server of a file answers HTTP {status}", float(wait) if wait.isdigit() else None)
    if status != 200:
        raise NotThere(f"the server of a file answers HTTP {status}")
    declared = response.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most:
        raise TooMuch(f"a file has {int(declared)} bytes, {most} are allowed")
    for part in _bounded(response, most):
        into.write(part)
        if time.monotonic() > until:
            raise DownloadFailed("a file took too long to fetch; media.timeout")


def _bounded(response: httpx.Response, most: int) -> Iterator[bytes]:
    size = 0
    for part in response.iter_bytes(2**16):
        size += len(part)
        if size > most:
            raise TooMuch(f"a file has more than {most} bytes")
        yield part


def _parsed(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise NotThere("the address of a file is no address") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise NotThere("the address of a file is neither http nor https")
    return parsed
