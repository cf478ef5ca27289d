"""What the widget posts -> an envelope. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ingress.channels.base import MOST_FILES, CleanText, MediaType, Storable
from pipeline.envelope import Envelope, MediaRef, Sender

_LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")


class WidgetFile(BaseModel):
    """A file of a message: ``file`` is what its upload was answered with, ``type`` what it was sent as."""

    model_config = ConfigDict(extra="ignore")

    file: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    type: MediaType
    name: Annotated[str, StringConstraints(max_length=255), Storable] | None = None


class WidgetMessage(BaseModel):
    """``id`` is made by the page, so that a repeated request is the same message. ``choice``: the data of a pressed
    button, whose title is the text."""

    model_config = ConfigDict(extra="ignore")  # a cached script of another version may send more

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,100}$")]
    text: CleanText = ""
    media: Annotated[list[WidgetFile], Field(max_length=MOST_FILES)] = []
    choice: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,64}$")] | None = None
    locale: CleanText | None = None


class WidgetSession(BaseModel):
    """What the page knows of its visitor: the token of an earlier visit, and the page's language."""

    model_config = ConfigDict(extra="ignore")

    token: CleanText | None = None
    locale: CleanText | None = None


def language(*wishes: str | None) -> str | None:
    """The first wish that is a BCP 47 tag (the first one of an Accept-Language header); None without one."""
    for wish in wishes:
        tag = (wish or "").split(",")[0].split(";")[0].strip()
        if len(tag) <= 16 and _LOCALE.fullmatch(tag):
            return tag
    return None


def normalise(
    body: WidgetMessage,
    *,
    site: str,
    conversation: str,
    locale: str | None,
    message_id: str,
    now: datetime,
    media: Sequence[MediaRef] = (),
) -> Envelope:
    """The envelope of ``body``. ``conversation`` is the visitor's key; a visitor has no other name.

    ``media``: where the files of the body are kept.
    """
    return Envelope(
        id=message_id,
        channel="widget",
        account=site,
        conversation=conversation,
        external_id=body.id,
        sender=Sender(id=conversation, locale=locale),
        kind="callback" if body.choice else media[0].type if media else "text",
        text=body.text.strip(),
        data=body.choice,
        media=tuple(media),
        received_at=now,
    )
