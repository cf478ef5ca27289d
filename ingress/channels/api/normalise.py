"""A body of ``POST /api/v1/messages`` -> an envelope. Pure."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from ingress.channels.base import MOST_FILES, MediaType, Storable
from pipeline.envelope import Envelope, MediaRef, Sender

_Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), Storable]


class ApiSender(BaseModel):
    """Who wrote, in the caller's own terms."""

    model_config = ConfigDict(extra="forbid")

    id: _Name
    name: Annotated[str, StringConstraints(max_length=200), Storable] | None = None
    locale: Annotated[str, StringConstraints(max_length=35), Storable] | None = Field(
        None, description="BCP 47, such as ru or en-GB."
    )


class ApiMedia(BaseModel):
    """A file of a message: at an address, or in the body itself."""

    model_config = ConfigDict(extra="forbid")

    type: MediaType = Field(description="What it was sent as; what it holds is found out.")
    url: Annotated[str, StringConstraints(max_length=2000, pattern=r"^https?://\S+$"), Storable] | None = Field(
        None, description="Where it can be fetched from, once, in the next minutes."
    )
    data_base64: str | None = Field(None, repr=False, description="The file itself.")
    name: Annotated[str, StringConstraints(max_length=255), Storable] | None = None
    mime: Annotated[str, StringConstraints(max_length=100), Storable] | None = None

    @field_validator("data_base64")
    @classmethod
    def _decodes(cls, value: str | None) -> str | None:
        try:
            b64decode(value or "", validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("is not base64") from None
        return value

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.url is None) == (self.data_base64 is None):
            raise ValueError("give either url or data_base64")
        return self

    @property
    def content(self) -> bytes | None:
        """The file, where it is in the body."""
        return None if self.data_base64 is None else b64decode(self.data_base64)


class ApiMessage(BaseModel):
    """A customer's message: a text, files, or both."""

    model_config = ConfigDict(extra="forbid")

    conversation: _Name = Field(description="Messages of one conversation are answered in order.")
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000), Storable] | None = (
        None
    )
    media: list[ApiMedia] = Field([], max_length=MOST_FILES, description="Files that belong to the message.")
    id: _Name | None = Field(
        None, description="Your id of the message: the same id again is the same message, answered once."
    )
    sender: ApiSender | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.text is None and not self.media:
            raise ValueError("a message needs a text or media")
        return self


def normalise(body: ApiMessage, *, account: str, message_id: str, now: datetime) -> Envelope:
    """The envelope of ``body``. Without an id of the caller's, ``message_id`` stands for it.

    A file of the body is told by its digest, so that the same message again is the same.
    """
    sender = body.sender or ApiSender(id=body.conversation)
    return Envelope(
        id=message_id,
        channel="api",
        account=account,
        conversation=body.conversation,
        external_id=body.id or message_id,
        sender=Sender(id=sender.id, name=sender.name or None, locale=sender.locale or None),
        kind=body.media[0].type if body.media else "text",
        text=body.text or "",
        media=_references(body.media),
        received_at=now,
    )


def _references(media: Sequence[ApiMedia]) -> tuple[MediaRef, ...]:
    found = []
    for one in media:
        content = one.content
        ref = one.url if content is None else f"sha256:{sha256(content).hexdigest()}"
        size = None if content is None else len(content)
        found.append(
            MediaRef(type=one.type, ref=ref or "", url=one.url, name=one.name or None, mime=one.mime or None, size=size)
        )
    return tuple(found)
