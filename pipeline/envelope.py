"""The contract every channel meets: whatever arrives becomes an :class:`Envelope`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Kind = Literal[
    "text",
    "photo",
    "voice",
    "audio",
    "video",
    "document",
    "location",
    "contact",
    "sticker",
    "command",
    "callback",
    "edit",
    "other",  # content the channel has and we do not know: kept with a readable text form
    "event",  # something happened to the conversation (blocked, left); nobody waits for an answer
    "outgoing",  # a person of the company wrote to the customer outside Ragline
]

#: Kinds somebody waits for an answer to. The others are kept and never open a turn.
ANSWERABLE: frozenset[str] = frozenset(
    {"text", "photo", "voice", "audio", "video", "document", "location", "contact", "sticker", "command",
     "callback", "other"}
)  # fmt: skip


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sender(Model):
    """Who wrote: the channel's id, and name and locale (BCP 47) where the channel tells them."""

    id: str
    name: str | None = None
    locale: str | None = None


class MediaRef(Model):
    """Where the channel keeps a file. Never the bytes. ``size`` in bytes, ``duration`` in seconds."""

    type: str
    ref: str
    url: str | None = None
    name: str | None = None
    mime: str | None = None
    size: int | None = None
    duration: float | None = None


class Envelope(Model):
    """One inbound event, the same for all channels.

    ``external_id`` is unique within (channel, account, conversation); ``update_key``, where the channel
    numbers its deliveries, is a second key unique within (channel, account). ``address`` is what the
    channel's sender needs to reply (chat, thread, lead, source), refreshed by each message.
    """

    version: Literal[1] = 1
    id: str
    channel: str
    account: str
    conversation: str = Field(min_length=1, max_length=200)
    external_id: str = Field(min_length=1, max_length=200)
    update_key: str | None = Field(None, max_length=200)
    sender: Sender
    kind: Kind
    text: str = ""
    data: str | None = Field(None, max_length=256, description="What a pressed button carries; the text is its title.")
    media: tuple[MediaRef, ...] = ()
    reply_to: str | None = None
    edits: str | None = Field(None, description="External id of the message this one replaces (kind edit).")
    address: dict[str, Any] = Field(default_factory=dict)
    sent_at: AwareDatetime | None = None
    received_at: AwareDatetime
    raw: str | None = Field(None, description="Reference to the raw update, where it is kept.")

    @property
    def answerable(self) -> bool:
        """Whether this event opens a turn."""
        return self.kind in ANSWERABLE


def parse_time(value: datetime | float | str | None) -> datetime | None:
    """A channel's time stamp (ISO 8601 text, seconds or milliseconds since 1970) as an aware datetime.

    Returns None for what cannot be read: a wrong clock of a channel is no reason to lose a message.
    """
    try:
        if value is None or isinstance(value, datetime):
            return value if value is None or value.tzinfo else value.replace(tzinfo=UTC)
        if isinstance(value, str) and not value.strip().lstrip("-").replace(".", "", 1).isdigit():
            parsed = datetime.fromisoformat(value.strip())
            return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        number = float(value)
        return datetime.fromtimestamp(number / 1000 if number > 1e11 else number, tz=UTC)
    except (ValueError, OverflowError, OSError, TypeError):
        return None
