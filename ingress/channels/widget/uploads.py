"""Files of visitors: taken one by one as raw bodies into the media storage, and named by the message they go with.

What no message names is deleted with the day it came. A file's key follows from its visitor: nobody else can name it.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import tempfile
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import IO

from fastapi import Request

from ingress.channels.base import MediaType
from ingress.channels.widget.normalise import WidgetFile
from pipeline.envelope import MediaRef
from ragline.errors import PermanentError
from ragline.settings import Settings
from storage.media import MediaStore, kept_ref, make_media_store, upload_key
from storage.sniff import sniff
from storage.understanding import NotUnderstood

_FILE = re.compile(r"(\d{4}-\d\d-\d\d)\.([A-Za-z0-9_-]{22})")
#: What a page offers to choose from, by content; what is dropped or pasted may be anything.
_ACCEPTED: dict[str, tuple[str, ...]] = {
    # Pictures by name: a phone then converts its own format to one of them.
    "photo": ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff"),
    "recording": ("audio/*", "video/*"),
    "document": (".pdf", ".docx", ".txt", ".md", ".html", ".htm"),
}


class Unfit(PermanentError):
    """An upload that is not taken; ``reason``: too_large, type, broken."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"a file is not taken: {reason}")
        self.reason = reason


class Gone(PermanentError):
    """A message names a file that this visitor has not uploaded, or that is no longer kept."""


class Uploads:
    """The files of all sites. Raises ``MediaUnavailable`` where the storage does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.largest = settings.media.largest * 2**20
        self.kinds = settings.media.kinds

    @cached_property
    def _store(self) -> MediaStore:
        return make_media_store(self._settings)

    @property
    def accepted(self) -> str:
        """For the ``accept`` attribute of a file input."""
        return ",".join(entry for kind in self.kinds for entry in _ACCEPTED[kind])

    async def take(self, request: Request, owner: str, now: datetime) -> str:
        """Keep the request's body, of which never more than a piece is in memory; returns what a message names it by.

        Raises :class:`Unfit`.
        """
        with tempfile.NamedTemporaryFile(prefix="ragline-") as file:
            size = 0
            async for chunk in request.stream():
                size += len(chunk)
                if size > self.largest:
                    raise Unfit("too_large")
                await asyncio.to_thread(file.write, chunk)
            day, upload = f"{now:%Y-%m-%d}", secrets.token_urlsafe(16)
            await asyncio.to_thread(self._keep, file, upload_key(owner, upload, day))
        return f"{day}.{upload}"

    def _keep(self, file: IO[bytes], key: str) -> None:
        file.flush()
        try:
            content = sniff(Path(file.name)).content
        except NotUnderstood as error:
            raise Unfit(error.problem) from None
        if content not in self.kinds:
            raise Unfit("type")
        file.seek(0)
        self._store.put(key, file)

    async def find(self, media: Sequence[WidgetFile], owner: str) -> list[MediaRef]:
        """Where the files are kept that a message of this visitor names. Raises :class:`Gone`."""
        return [await asyncio.to_thread(self._find, one.type, one.file, one.name, owner) for one in media]

    def _find(self, type_: MediaType, file: str, name: str | None, owner: str) -> MediaRef:
        named = _FILE.fullmatch(file)
        key = upload_key(owner, named[2], named[1]) if named else None
        size = self._store.size(key) if key else None
        if key is None or size is None:
            raise Gone("a file of the message is not kept")
        return MediaRef(type=type_, ref=kept_ref(key), name=name or None, size=size)
