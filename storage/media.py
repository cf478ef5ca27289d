"""Files that customers sent, in a folder or in whatever fsspec reaches (S3 and its like).

A file's key follows from its message and the day it came, or is the reference its message has: nothing about it is
stored elsewhere, and what is past its time goes a day's folder at a time, whether a message came for it or not.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.core import url_to_fs

from ragline.errors import ConfigurationError, TransientError
from ragline.logs import get_logger
from ragline.settings import Settings

log = get_logger(__name__)


class MediaUnavailable(TransientError):
    """The media storage does not answer."""


def key_of(message_id: str, position: int, received_at: datetime) -> str:
    """Where the file ``position`` (from 0) of a message is kept: ``2026-11-28/<message id>-0``."""
    return f"{received_at:%Y-%m-%d}/{message_id}-{position}"


#: How the reference of a file begins that is kept already when its message comes.
_KEPT = "kept:"


def upload_key(owner: str, upload: str, day: str) -> str:
    """Where a file is kept that comes before its message, on ``day`` (2026-11-28). ``owner`` is who may use it."""
    return f"{day}/{sha256(f'{owner}:{upload}'.encode()).hexdigest()}"


def kept_ref(key: str) -> str:
    """The reference, in an envelope, of a file that is kept under ``key``."""
    return f"{_KEPT}{key}"


def kept_key(ref: str) -> str | None:
    """The key of a file that was kept before its message came; None for one the channel still has."""
    return ref.removeprefix(_KEPT) if ref.startswith(_KEPT) else None


class MediaStore:
    """The files, by key. Raises :class:`MediaUnavailable` when they cannot be reached. Thread-safe."""

    def __init__(self, url: str, options: dict[str, Any] | None = None) -> None:
        """Raises :class:`ConfigurationError` for an address that no installed file system serves."""
        try:
            found: tuple[fsspec.AbstractFileSystem, str] = url_to_fs(url, **(options or {}))
        except (ImportError, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"media.store: {url.partition('://')[0]} cannot be used ({type(error).__name__}); give a folder, or an "
                "address such as s3://bucket/path with the extra installed: pip install 'ragline[s3]'"
            ) from error
        self._fs, self._root = found

    def put(self, key: str, file: IO[bytes]) -> None:
        """Keep what ``file`` holds from its current position on."""
        with _converted():
            self._fs.makedirs(self._path(key.rpartition("/")[0]), exist_ok=True)
            # Under its name only when it is whole; object stores have no half-written files.
            end = "" if self._remote else ".part"
            with self._fs.open(self._path(key + end), "wb") as out:
                shutil.copyfileobj(file, out)
            if end:
                self._fs.mv(self._path(key + end), self._path(key))

    def get(self, key: str, into: IO[bytes]) -> bool:
        """Copy a file into ``into``; False when it is not kept (any more)."""
        try:
            with _converted(), self._fs.open(self._path(key), "rb") as source:
                shutil.copyfileobj(source, into)
        except FileNotFoundError:
            return False
        return True

    def size(self, key: str) -> int | None:
        """The bytes of a file; None when it is not kept (any more)."""
        try:
            with _converted():
                return int(self._fs.size(self._path(key)))
        except FileNotFoundError:
            return None

    def remove(self, key: str) -> None:
        """Delete a file, if it is there."""
        with _converted():
            if self._fs.exists(self._path(key)):
                self._fs.rm(self._path(key))

    def clean(self, before: date) -> int:
        """Delete the files that came before the day ``before``; returns how many days' worth."""
        removed = 0
        with _converted():
            if not self._fs.exists(self._root):
                return 0
            for found in self._fs.ls(self._root, detail=False):
                name = str(found).rstrip("/").rpartition("/")[2]
                try:
                    day = date.fromisoformat(name)
                except ValueError:  # nothing of ours
                    continue
                if day < before:
                    self._fs.rm(found, recursive=True)
                    removed += 1
        return removed

    @property
    def _remote(self) -> bool:
        return "file" not in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"


@contextmanager
def _converted() -> Iterator[None]:
    """File systems raise errors of their own libraries; all but a missing file are worth another attempt."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        raise MediaUnavailable(f"media.store cannot be reached ({type(error).__name__})") from error


def make_media_store(settings: Settings) -> MediaStore:
    """The storage of the settings: ``media.store``, or the folder ``media`` in the data folder."""
    own = settings.media
    return MediaStore(own.store or str(Path(settings.data).resolve() / "media"), own.store_options)
