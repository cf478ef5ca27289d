"""Pages of a site map, fetched with care: only from the site itself, and never from inside the network.

A site map can name any address, so a server that fetches them could be made to ask its own network (server-side
request forgery). Names are resolved here, the addresses are judged, and the connection goes to the address that was
judged: https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import urljoin

import httpx

from ragline.errors import RaglineError
from storage.documents.blocks import LARGEST_FILE
from storage.documents.sandbox import TYPES

#: Time for one page, and for the server to say anything.
TOTAL, SILENCE = timedelta(seconds=30), timedelta(seconds=10)
REDIRECTS = 5
_KINDS = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "text/plain": "plain",
    "text/markdown": "markdown",
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/xml": "sitemap",
    "text/xml": "sitemap",
    "application/gzip": "sitemap",
    "application/x-gzip": "sitemap",
}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_PORTS = {"http": 80, "https": 443}


class Unfetched(RaglineError):
    """A page that was not fetched; the text says why. ``gone``: the server says that there is no such page."""

    def __init__(self, reason: str, gone: bool = False) -> None:
        super().__init__(reason)
        self.gone = gone


class Page(NamedTuple):
    """What an address holds. ``kind`` is a parser's name, ``sitemap``, or the content type nobody reads."""

    content: bytes
    kind: str
    charset: str | None


def site(url: str) -> str:
    """The host of an address, with its port where it is not the usual one: what "the same host" is judged by."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        return ""
    port = parsed.port if parsed.port not in (None, 80, 443) else None
    return f"{parsed.host.lower()}:{port}" if port else parsed.host.lower()


@dataclass
class Fetcher:
    """Fetches from these sites only (see :func:`site`). ``private``: addresses inside the network are allowed."""

    sites: Collection[str]
    private: bool
    total: timedelta = TOTAL
    largest: int = LARGEST_FILE
    _clients: dict[str, httpx.Client] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # One a site: connections are kept by address, and one host's must not serve another at the same address.
        self._clients = {name: self._client() for name in self.sites}

    def _client(self) -> httpx.Client:
        return httpx.Client(
            timeout=httpx.Timeout(min(SILENCE, self.total).total_seconds()),
            follow_redirects=False,
            trust_env=False,  # through a proxy the address that was judged would not be the one that is asked
            headers={"User-Agent": "ragline", "Accept": "text/html, application/pdf, text/plain, */*;q=0.1"},
        )

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    def get(self, url: str) -> Page:
        """The page at an address, redirects followed. Raises :class:`Unfetched`. Thread-safe."""
        deadline = time.monotonic() + self.total.total_seconds()
        for _ in range(REDIRECTS + 1):
            address = self._judged(url)
            try:
                with self._clients[site(url)].stream(
                    "GET",
                    httpx.URL(url).copy_with(host=address),
                    headers={"Host": httpx.URL(url).netloc.decode()},
                    extensions={"sni_hostname": httpx.URL(url).raw_host.decode("ascii")},
                ) as response:
                    if response.is_redirect:
                        url = urljoin(url, response.headers.get("location", ""))
                        continue
                    return self._read(response, url, deadline)
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                raise Unfetched(f"cannot be fetched ({type(error).__name__})") from error
        raise Unfetched(f"redirects more than {REDIRECTS} times")

    def _judged(self, url: str) -> str:
        """The address to connect to. Raises :class:`Unfetched` for one that may not be asked."""
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            raise Unfetched("is no address") from None
        if parsed.scheme not in _PORTS or not parsed.host:
            raise Unfetched("is not an http or https address")
        if site(url) not in self.sites:
            raise Unfetched(f"is on another host; --allow-host {site(url)} allows it")
        return judged_address(parsed, private=self.private)

    def _read(self, response: httpx.Response, url: str, deadline: float) -> Page:
        if response.status_code in (404, 410):
            raise Unfetched(f"is gone (HTTP {response.status_code})", gone=True)
        if response.status_code != 200:
            raise Unfetched(f"answers HTTP {response.status_code}")
        content = bytearray()
        for part in response.iter_bytes():
            content += part
            if len(content) > self.largest:
                raise Unfetched(f"is larger than {self.largest // 2**20} MB")
            if time.monotonic() > deadline:
                raise Unfetched(f"took more than {self.total.total_seconds():.0f} s")
        said = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return Page(bytes(content), _kind(said, url), response.charset_encoding)


def judged_address(url: httpx.URL, *, private: bool) -> str:
    """The IP address to connect to for a host. Raises :class:`Unfetched` where one of its may not be asked."""
    addresses = _resolved(url)
    for address in addresses:
        if not may_ask(address, private=private):
            raise Unfetched("its host is inside the network; import a site map from there, or a file")
    return addresses[0]


def _resolved(url: httpx.URL) -> list[str]:
    """The IP addresses of a host. Raises :class:`Unfetched`."""
    try:
        found = socket.getaddrinfo(
            url.raw_host.decode("ascii"), url.port or _PORTS.get(url.scheme), type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError):
        raise Unfetched("cannot be fetched (its host is not known)") from None
    return [str(entry[4][0]) for entry in found]


def inside(url: str) -> bool:
    """Whether an address a person named is on this machine or inside the network. Raises :class:`Unfetched`."""
    try:
        return all(is_private(address) for address in _resolved(httpx.URL(url)))
    except (httpx.InvalidURL, ValueError):
        raise Unfetched("is no address") from None


def _kind(said: str, url: str) -> str:
    if said in ("", "application/octet-stream", "binary/octet-stream"):
        suffix = "." + httpx.URL(url).path.rpartition(".")[2].lower()
        return TYPES.get(suffix, "sitemap" if suffix in (".xml", ".gz") else said or "no content type")
    return _KINDS.get(said, said)


def may_ask(address: str, *, private: bool) -> bool:
    """Whether an IP address may be connected to: a public one, or one inside the network where that is allowed.

    Never link-local ones, where clouds keep their credentials, nor what is no single host.
    """
    ip = _plain(address)
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return False
    return True if private and is_private(address) else ip.is_global


def is_private(address: str) -> bool:
    """Whether an address is this machine or inside the network."""
    ip = _plain(address)
    return (ip.is_private or ip.is_loopback) and not ip.is_link_local


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address itself: IPv6 has ways to write an IPv4 one, which lead to the same host."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else ip)
    return ip
