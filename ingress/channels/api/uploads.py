"""Files that come in the body of a message: into the media storage before the message is accepted."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cached_property

from ingress.channels.api.normalise import ApiMessage
from pipeline.envelope import Envelope
from ragline.settings import Settings
from storage.media import MediaStore, key_of, make_media_store


class Uploads:
    """The files of messages. Raises ``MediaUnavailable``, as the database being away does: nothing is accepted then."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _store(self) -> MediaStore:
        return make_media_store(self._settings)

    def keep(self, envelope: Envelope, body: ApiMessage) -> None:
        """Store the files of a message that is about to be accepted."""
        for key, content in _files(envelope, body):
            self._store.put(key, io.BytesIO(content))

    def drop(self, envelope: Envelope, body: ApiMessage) -> None:
        """Delete them again: the message was here before."""
        for key, _ in _files(envelope, body):
            self._store.remove(key)


def _files(envelope: Envelope, body: ApiMessage) -> Iterator[tuple[str, bytes]]:
    for position, media in enumerate(body.media):
        if (content := media.content) is not None:
            yield key_of(envelope.id, position, envelope.received_at), content
