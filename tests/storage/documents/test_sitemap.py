"""Pages of a site map from a real server on loopback; addresses that must never be asked."""

import gzip
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from storage.documents.importing import Document, Report, Skipped, import_from
from storage.documents.sandbox import Sandbox
from storage.documents.sitemap import BadSitemap, Sitemap
from storage.documents.web import Fetcher, Unfetched, may_ask
from storage.knowledge import list_items
from storage.session import Database
from tests.support import documents as made

SPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


class Site:
    """Pages by path: the status, the headers and the body of each."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.asked.append(self.path)
                status, headers, body = site.pages.get(self.path, (404, {}, b""))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def page(self, path: str, body: str | bytes, kind: str = "text/html; charset=utf-8", status: int = 200) -> None:
        self.pages[path] = status, {"Content-Type": kind}, body if isinstance(body, bytes) else body.encode()

    def map(self, path: str, *pages: str, packed: bool = False) -> None:
        locations = "".join(f"<url><loc>{page if '://' in page else self.url + page}</loc></url>" for page in pages)
        body = f"<?xml version='1.0'?><urlset {SPACE}>{locations}</urlset>".encode()
        self.page(path, gzip.compress(body) if packed else body, "application/xml")


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def reasons(found: list[Document | Skipped]) -> dict[str, str]:
    return {one.source: one.reason for one in found if isinstance(one, Skipped)}


def test_a_site_is_brought_and_what_it_no_longer_has_is_removed(site: Site, database: Database) -> None:
    site.page("/hours", "<main><h1>Часы</h1><p>Открыто с девяти.</p></main>")
    site.page("/old", "", status=301)
    site.pages["/old"] = 301, {"Location": "/kettle.pdf"}, b""
    site.page("/kettle.pdf", made.pdf([[("One.", 11)], [("Descale it.", 11)]]), "application/pdf")
    site.page("/logo", b"\x89PNG", "image/png")
    site.page("/broken", "oops", status=500)
    site.map("/a.xml", "/hours", "/old#part", "/logo", "/hours", packed=True)
    site.map("/b.xml", "/broken", "/never")
    index = "".join(f"<sitemap><loc>{site.url}/{name}.xml</loc></sitemap>" for name in "ab")
    site.page("/sitemap.xml", f"<sitemapindex {SPACE}>{index}</sitemapindex>", "application/xml")

    def bring() -> tuple[Report, Sitemap]:
        report, sitemap = Report(), Sitemap(f"{site.url}/sitemap.xml")
        with Sandbox() as sandbox:
            import_from(database, sitemap, report, sandbox=sandbox)
        return report, sitemap

    report, sitemap = bring()
    assert (report.added, sitemap.ignored, sitemap.gone) == (2, 1, 1)
    assert [(one.source, one.reason) for one in report.skipped] == [(f"{site.url}/broken", "answers HTTP 500")]
    facts = {item.answer: item for item in list_items(database)}
    assert facts["Открыто с девяти."].source == f"{site.url}/hours"
    assert (facts["Descale it."].source, facts["Descale it."].page) == (f"{site.url}/old", 2)

    site.page("/hours", "", status=410)
    site.page("/old", "", status=503)
    report, _ = bring()
    assert (report.removed, len(report.skipped)) == (1, 2)
    assert {item.answer for item in list_items(database)} == {"One.", "Descale it."}, "an outage removes nothing"
    site.pages.pop("/b.xml")
    site.map("/a.xml", packed=True)
    report, _ = bring()
    assert (report.removed, len(report.skipped)) == (0, 1), "half an index says nothing of what is gone"


def test_other_hosts_are_not_asked_unless_allowed(site: Site, tmp_path: Path) -> None:
    other = Site()
    try:
        other.page("/there", "<p>Elsewhere.</p>")
        site.page("/here", "<p>Here.</p>")
        site.pages["/away"] = 302, {"Location": f"{other.url}/there"}, b""
        path = tmp_path / "sitemap.xml"
        site.map("/map", "/here", "/away", f"{other.url}/there", "ftp://127.0.0.1/x", "file:///etc/passwd")
        path.write_bytes(site.pages["/map"][2])
        found = list(Sitemap(str(path)).documents())
        assert [one.source for one in found if isinstance(one, Document)] == [f"{site.url}/here"]
        told = reasons(found)
        assert len(told) == 4
        assert "--allow-host" in told[f"{site.url}/away"]
        assert "not an http" in told["file:///etc/passwd"]
        assert other.asked == []
        allowed = other.url.removeprefix("http://")
        found = list(Sitemap(str(path), allowed=[allowed]).documents())
        assert len([one for one in found if isinstance(one, Document)]) == 3
    finally:
        other.close()


def test_the_network_inside_is_not_asked_for_a_site_outside(site: Site) -> None:
    site.page("/here", "<p>Inside.</p>")
    fetcher = Fetcher([site.url.removeprefix("http://")], private=False)
    with pytest.raises(Unfetched, match="inside the network"):
        fetcher.get(f"{site.url}/here")
    fetcher.close()
    assert site.asked == []


@pytest.mark.parametrize(
    ("address", "outside", "inside"),
    [
        ("8.8.8.8", True, True),
        ("2001:4860:4860::8888", True, True),
        ("127.0.0.1", False, True),
        ("10.1.2.3", False, True),
        ("fd00::1", False, True),
        ("::1", False, True),
        ("::ffff:10.0.0.1", False, True),
        ("64:ff9b::a00:1", False, True),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("fe80::1%eth0", False, False),
        ("0.0.0.0", False, False),
        ("224.0.0.1", False, False),
        ("100.64.0.1", False, False),
    ],
)
def test_which_addresses_may_be_asked(address: str, outside: bool, inside: bool) -> None:
    assert (may_ask(address, private=False), may_ask(address, private=True)) == (outside, inside)


def test_a_page_without_end_and_a_loop_are_given_up(site: Site) -> None:
    site.page("/large", b"x" * 300_000)
    site.page("/packed", gzip.compress(b"x" * 30_000_000))
    site.pages["/packed"] = 200, {"Content-Type": "text/html", "Content-Encoding": "gzip"}, site.pages["/packed"][2]
    site.pages["/loop"] = 302, {"Location": "/loop"}, b""
    fetcher = Fetcher([site.url.removeprefix("http://")], private=True, largest=200_000, total=timedelta(seconds=5))
    for path, reason in (("/large", "larger"), ("/packed", "larger"), ("/loop", "redirects")):
        with pytest.raises(Unfetched, match=reason):
            fetcher.get(site.url + path)
    fetcher.close()


def test_what_is_no_site_map_is_said_so(site: Site) -> None:
    site.page("/page", "<html><p>Not a map</p></html>")
    site.page("/bomb", b"<!DOCTYPE a [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><urlset>&b;</urlset>", "text/xml")
    for path, reason in (("/page", "no site map"), ("/none", "gone")):
        with pytest.raises(BadSitemap, match=reason):
            list(Sitemap(site.url + path).documents())
    assert list(Sitemap(f"{site.url}/bomb").documents()) == []
