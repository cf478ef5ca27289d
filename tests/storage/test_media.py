"""Files of customers: kept in any file system, deleted by the day, fetched with care."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from ragline.errors import ConfigurationError
from ragline.settings import load_settings
from storage.download import DownloadFailed, NotThere, TooMuch, download
from storage.media import MediaStore, MediaUnavailable, key_of, make_media_store
from tests.support.server import FakeServer

NOW = datetime(2026, 11, 28, 23, 30, tzinfo=UTC)


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> MediaStore:
    """A folder, and a store of objects that has no folders of its own."""
    return MediaStore(str(tmp_path / "media") if request.param == "folder" else f"memory://{uuid.uuid4().hex}")


def test_a_file_is_kept_until_its_day_is_over(store: MediaStore) -> None:
    keys = [key_of("m1", 0, NOW - timedelta(days=31)), key_of("m1", 1, NOW - timedelta(days=30)), key_of("m2", 0, NOW)]
    for key in keys:
        store.put(key, io.BytesIO(key.encode()))
    assert store.clean(date(2026, 10, 29)) == 1
    kept = [io.BytesIO() for _ in keys]
    assert [store.get(key, into) for key, into in zip(keys, kept, strict=True)] == [False, True, True]
    assert [into.getvalue().decode() for into in kept] == ["", *keys[1:]]
    assert store.size(keys[2]) == len(keys[2])
    store.remove(keys[2])
    store.remove(keys[2])
    assert store.size(keys[2]) is None
    assert not store.get(keys[2], io.BytesIO())


def test_what_is_not_ours_is_left_alone_and_an_empty_store_is_no_error(tmp_path: Path) -> None:
    store = MediaStore(str(tmp_path / "media"))
    assert store.clean(date(2026, 1, 1)) == 0
    (tmp_path / "media" / "holiday").mkdir(parents=True)
    (tmp_path / "media" / "2020-01-01").mkdir()
    assert store.clean(date(2026, 1, 1)) == 1
    assert [path.name for path in (tmp_path / "media").iterdir()] == ["holiday"]


def test_a_store_nobody_serves_is_a_wrong_setting_and_one_that_fails_is_tried_again(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"media\.store: nonsense"):
        MediaStore("nonsense://bucket/path")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(MediaUnavailable):
        MediaStore(str(tmp_path / "file")).put("2026-11-28/a-0", io.BytesIO(b"x"))
    settings = load_settings({"RAGLINE_DATA": str(tmp_path), "RAGLINE__MEDIA__STORE": f"memory://{uuid.uuid4().hex}"})
    make_media_store(settings).put("2026-11-28/a-0", io.BytesIO(b"x"))
    assert not (tmp_path / "media").exists()


class Files(FakeServer):
    """Serves what media are fetched from."""

    def routes(self) -> list[BaseRoute]:
        async def serve(request: Request) -> Response:
            name = request.path_params["name"]
            if name == "moved":
                return RedirectResponse("/file")
            if name == "inside":
                return RedirectResponse("http://169.254.169.254/latest/meta-data")
            if name == "loop":
                return RedirectResponse("/loop")
            answers = {"busy": Response("", 503, {"Retry-After": "7"}), "gone": Response("", 404)}
            return answers.get(name) or Response(b"x" * 5000, media_type="application/octet-stream")

        return [Route("/{name}", serve)]


@pytest.fixture
def files() -> Iterator[Files]:
    with Files() as server:
        yield server


def test_a_file_is_fetched_within_its_limits(files: Files) -> None:
    def fetched(name: str, **own: Any) -> bytes:
        into = io.BytesIO()
        download(f"{files.url}/{name}", into, **{"most": 5000, "within": timedelta(seconds=5), "private": True, **own})
        return into.getvalue()

    assert fetched("file") == fetched("moved") == b"x" * 5000
    with pytest.raises(TooMuch):
        fetched("file", most=4999)
    with pytest.raises(NotThere):
        fetched("gone")
    with pytest.raises(NotThere, match="redirects"):
        fetched("loop")
    with pytest.raises(DownloadFailed) as busy:
        fetched("busy")
    assert busy.value.retry_after == 7


def test_addresses_inside_the_network_are_not_asked(files: Files) -> None:
    for url, private in (
        (f"{files.url}/file", False),
        (f"{files.url}/inside", True),
        ("http://[::ffff:169.254.169.254]/", True),
        ("file:///etc/passwd", True),
        ("gopher://127.0.0.1/", True),
        ("http:///nothing", True),
    ):
        with pytest.raises(NotThere) as refused:
            download(url, io.BytesIO(), most=10, within=timedelta(seconds=5), private=private)
        assert "127.0.0.1" not in str(refused.value)
