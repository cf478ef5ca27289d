"""A body of ``POST /api/v1/messages`` -> an envelope. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ingress.channels.base import Storable
from pipeline.envelope import Envelope, Sender

_Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), Storable]


class ApiSender(BaseModel):
    """Who wrote, in the caller's own terms."""

    model_config = ConfigDict(extra="forbid")

    id: _Name
    name: Annotated[str, StringConstraints(max_length=200), Storable] | None = None
    locale: Annotated[str, StringConstraints(max_length=35), Storable] | None = Field(
        None, description="BCP 47, such as ru or en-GB."
    )


class ApiMessage(BaseModel):
    """A customer's message."""

    model_config = ConfigDict(extra="forbid")

    conversation: _Name = Field(description="Messages of one conversation are answered in order.")
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000), Storable]
    id: _Name | None = Field(
        None, description="Your id of the message: the same id again is the same message, answered once."
    )
    sender: ApiSender | None = None


def normalise(body: ApiMessage, *, account: str, message_id: str, now: datetime) -> Envelope:
    """The envelope of ``body``. Without an id of the caller's, ``message_id`` stands for it."""
    sender = body.sender or ApiSender(id=body.conversation)
    return Envelope(
        id=message_id,
        channel="api",
        account=account,
        conversation=body.conversation,
        external_id=body.id or message_id,
        sender=Sender(id=sender.id, name=sender.name or None, locale=sender.locale or None),
        kind="text",
        text=body.text,
        received_at=now,
    )
