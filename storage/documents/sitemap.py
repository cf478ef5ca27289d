"""Documents of a site map (https://www.sitemaps.org/protocol.html), from an address or a file."""

from __future__ import annotations

import io
import zlib
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from lxml import etree

from ragline.errors import RaglineError
from storage.documents.importing import Document, Skipped
from storage.documents.sandbox import TYPES
from storage.documents.web import Fetcher, Page, Unfetched, inside, site

#: Bytes of a site map (the protocol's own limit), pages of one import, site maps below an index.
LARGEST, MOST_PAGES, MOST_MAPS = 50 * 2**20, 10_000, 200
#: Pages fetched at once.
AT_ONCE = 4


class BadSitemap(RaglineError):
    """A site map that cannot be fetched or read."""


class _Map(NamedTuple):
    pages: list[str]
    maps: list[str]


@dataclass
class Sitemap:
    """The pages of a site map, of its own host and those in ``allowed`` (``host`` or ``host:port``).

    ``name`` is an address or the path of a file; pages inside the network are fetched where the site map is there
    too. ``ignored`` counts pages of types nobody reads, ``gone`` those the server says it no longer has; ``whole`` is
    False where a part of an index could not be read. All are known once the documents have been gone through.
    """

    name: str
    allowed: Collection[str] = ()
    ignored: int = 0
    gone: int = 0
    whole: bool = True
    _skipped: list[Skipped] = field(default_factory=list, repr=False)

    @property
    def origin(self) -> str:
        """What tells this site map apart."""
        return self.name if is_address(self.name) else str(Path(self.name).resolve())

    @property
    def below(self) -> None:
        """Another site map may list pages of the same site."""
        return None

    def documents(self) -> Iterator[Document | Skipped]:
        """In the order of the map. Raises :class:`BadSitemap`."""
        fetcher, first = self._open()
        try:
            pages = self._pages(fetcher, first or self._fetched(fetcher))
            yield from self._skipped
            with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sitemap") as threads:
                while batch := list(islice(pages, 2 * AT_ONCE)):
                    for found in threads.map(lambda url: self._fetch(fetcher, url), batch):
                        if found:
                            yield found
        finally:
            fetcher.close()

    def _open(self) -> tuple[Fetcher, _Map | None]:
        """What fetches, and the site map where it is a file."""
        allowed = {name.lower() for name in self.allowed}
        if is_address(self.name):
            try:
                return Fetcher({site(self.name), *allowed}, private=inside(self.name)), None
            except Unfetched as error:
                raise BadSitemap(str(error)) from error
        try:
            first = _read(Path(self.name).read_bytes())
        except OSError as error:
            raise BadSitemap(f"cannot be read ({error.strerror})") from error
        own = {site(url) for url in (first.pages + first.maps)[:1]}
        return Fetcher(own | allowed, private=True), first

    def _fetched(self, fetcher: Fetcher) -> _Map:
        try:
            return _read(fetcher.get(self.name).content)
        except Unfetched as error:
            raise BadSitemap(str(error)) from error

    def _pages(self, fetcher: Fetcher, first: _Map) -> Iterator[str]:
        """Addresses of pages, each once; site maps below an index are read first."""
        pages, maps, read = list(first.pages), list(first.maps), 0
        while maps:
            url, read = maps.pop(0), read + 1
            try:
                if read > MOST_MAPS:
                    raise BadSitemap(f"is one of more than {MOST_MAPS} site maps; import them one by one")
                below = _read(fetcher.get(url).content)
                pages += below.pages  # an index below an index is against the protocol
            except (Unfetched, BadSitemap) as error:
                self.whole = False
                self._skipped.append(Skipped(url, url, f"{error}; none of its pages is removed"))
        pages = list(dict.fromkeys(url.partition("#")[0] for url in pages))
        if len(pages) > MOST_PAGES:
            self.whole = False
            reason = f"holds {len(pages):,} pages, of which the first {MOST_PAGES:,} are read; divide it"
            self._skipped.append(Skipped(self.origin, self.name, reason))
        return iter(pages[:MOST_PAGES])

    def _fetch(self, fetcher: Fetcher, url: str) -> Document | Skipped | None:
        try:
            page: Page = fetcher.get(url)
        except Unfetched as error:
            if error.gone:
                self.gone += 1
                return None
            return Skipped(url, url, str(error))
        if page.kind not in TYPES.values():
            self.ignored += 1
            return None
        return Document(url, url, page.kind, page.content, page.charset)


def is_address(name: str) -> bool:
    """Whether a name given by a person is an address, not a path."""
    return name.lower().startswith(("http://", "https://"))


def _read(content: bytes) -> _Map:
    """Addresses in a site map or an index of them, packed or not. Raises :class:`BadSitemap`."""
    if content.startswith(b"\x1f\x8b"):
        try:
            unpacker = zlib.decompressobj(wbits=31)
            content = unpacker.decompress(content, LARGEST + 1)
        except zlib.error as error:
            raise BadSitemap("is no site map (its packing is broken)") from error
    if len(content) > LARGEST:
        raise BadSitemap(f"is larger than {LARGEST // 2**20} MB")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    try:
        root = etree.parse(io.BytesIO(content), parser).getroot()
    except etree.LxmlError as error:
        raise BadSitemap("is no site map (it is not XML)") from error
    if etree.QName(root).localname not in ("urlset", "sitemapindex"):
        raise BadSitemap("is no site map (it holds neither urlset nor sitemapindex)")
    return _Map(*([(loc.text or "").strip() for loc in root.iterfind(path)] for path in _PATHS))


_PATHS = ("{*}url/{*}loc", "{*}sitemap/{*}loc")
