"""An Umnico event in, envelopes out: pure, but for the fresh ids of the envelopes.

The form is that of the open API v1.3 (https://api.umnico.com/docs/ru/apiMethods/events.html) as integrators
see it arrive. What support needs must be there, else :class:`~ingress.channels.base.Unreadable`; ids may be
numbers or texts, and everything else may be missing or new.

====================================  ==================================================================
event                                 becomes
====================================  ==================================================================
message.incoming                      the kind of its content; a comment is a message like any other
message.outgoing                      outgoing: a person of the company wrote. Nothing, if the engine did
lead.*, customer.*, unknown events    nothing
====================================  ==================================================================

A conversation is (account, connected messenger, the customer's source there). The lead is only its address:
a new one can open for the same customer at any time, and each event brings the one to answer.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ingress.channels.base import Unreadable, storable
from pipeline.envelope import Envelope, Kind, MediaRef, Sender, parse_time
from ragline.ids import new_id

Json = dict[str, Any]

CHANNEL = "umnico"

#: What an attachment's type makes of its message.
_KINDS: dict[str, Kind] = {
    "photo": "photo",
    "image": "photo",
    "doc": "document",
    "document": "document",
    "file": "document",
    "mail": "document",
    "video": "video",
    "audio": "audio",
    "voice": "voice",
    "sticker": "sticker",
}
#: Messengers record voice messages as Opus and send music as anything else.
_RECORDED = re.compile(r"\.(ogg|oga|opus)$", re.IGNORECASE)
#: Integrations whose customers' login is a telephone number. Everywhere else it may be anything.
_BY_PHONE = frozenset({"whatsapp", "whatsapp2", "waba"})
_PHONE = re.compile(r"\+?(\d{7,15})")
_COMMAND = re.compile(r"/[A-Za-z0-9_]{1,32}(@\w+)?(\s|$)")
_WEB = re.compile(r"https?://\S{1,4000}")


def normalise(body: object, *, account_name: str, bot_user_id: int, received_at: datetime) -> list[Envelope]:
    """The envelopes of one event: one, or none where it holds nothing for support.

    ``bot_user_id`` is the employee the engine writes as: what they wrote is an echo. Raises
    :class:`Unreadable` for an event that has not the form it should have.
    """
    event = _needed(body, "the event")
    kind = event_type(event)
    if kind is None:
        raise Unreadable("type is not a short text")
    if kind not in ("message.incoming", "message.outgoing"):
        return []
    message = _needed(event.get("message"), "message")
    source = _record(message.get("source"))
    where = _where(event, message, source)
    message_id = _id(message.get("messageId"), "message.messageId")
    content = _content(_needed(message.get("message"), "message.message"), where.type, message_id)
    if kind == "message.outgoing":
        author = user_id(event)
        if author == str(bot_user_id):
            return []
        by = Sender(id=_short(author or "operator"))
        content = _Content("outgoing", content.text, content.media)
    else:
        by = _customer(_record(message.get("sender")), where)
    reply_to = _key(_record(message.get("replyTo")).get("messageId"))
    return [
        Envelope(
            id=new_id(),
            channel=CHANNEL,
            account=account_name,
            conversation=where.conversation,
            external_id=message_id,
            update_key=message_id,
            sender=by,
            kind=content.kind,
            text=content.text,
            media=content.media,
            reply_to=None if reply_to is None else _short(reply_to),
            address=where.address,
            sent_at=parse_time(_time(message.get("datetime"))),
            received_at=received_at,
        )
    ]


def event_type(event: object) -> str | None:
    """What happened, as ``message.incoming``; None where that cannot be read."""
    kind = _record(event).get("type")
    return _clean(kind) if isinstance(kind, str) and 0 < len(kind) <= 100 else None


def custom_id(event: object) -> str | None:
    """The id the sender of a message gave it, where Umnico returns it: of the engine's own, the outbox row's."""
    message = _record(_record(event).get("message"))
    return _key(message.get("customId")) or _key(_record(event).get("customId"))


def user_id(event: object) -> str | None:
    """The employee who wrote an outgoing message; None where Umnico does not tell."""
    message = _record(_record(event).get("message"))
    return _key(message.get("userId")) or _key(_record(event).get("userId"))


# Where


@dataclass(frozen=True)
class _Where:
    conversation: str
    address: Json
    source: str
    type: str
    customer: str | None


def _where(event: Json, message: Json, source: Json) -> _Where:
    connected, sender = _record(message.get("sa")), _record(message.get("sender"))
    account = _key(event.get("accountId"))
    sa = _key(connected.get("id")) or _key(source.get("saId"))
    customer = _key(sender.get("customerId"))
    real, lead = _key(source.get("realId")), _key(event.get("leadId"))
    if account is None:
        raise Unreadable("accountId is missing")
    if sa is None:
        raise Unreadable("message.sa.id and message.source.saId are missing")
    if real is None and customer is None:
        raise Unreadable("message.source.realId and message.sender.customerId are missing")
    if lead is None:
        raise Unreadable("leadId is missing")
    type_ = _words(connected.get("type"), 40) or _words(sender.get("type"), 40)
    address = {
        "lead": _number(lead),
        "source": real,  # without one the sender asks for the lead's sources
        "sa": _number(sa),
        "type": type_,
        "source_type": _words(source.get("type"), 40),
    }
    whose = real if real is not None else f"customer-{customer}"
    return _Where(
        conversation=":".join((_short(account, 50), _short(sa, 50), _short(whose, 90))),
        address={name: value for name, value in address.items() if value not in (None, "")},
        source=whose,
        type=type_,
        customer=customer,
    )


def _customer(sender: Json, where: _Where) -> Sender:
    """``source.identifier`` and ``sa.login`` are the company's own numbers and have no place here."""
    name = _words(sender.get("name"), 200).strip()
    if not name and where.type in _BY_PHONE:
        logins = (_PHONE.fullmatch(_key(sender.get(field)) or "") for field in ("login", "socialId"))
        name = next((f"+{found[1]}" for found in logins if found), "")
    return Sender(id=_short(where.customer or _key(sender.get("id")) or where.source), name=name or None)


# What


@dataclass(frozen=True)
class _Content:
    kind: Kind
    text: str = ""
    media: tuple[MediaRef, ...] = ()


def _content(inner: Json, channel_type: str, message_id: str) -> _Content:
    """Words and files. The first file decides the kind; captions and links count as words."""
    text = inner.get("text")
    if text is not None and not isinstance(text, str):
        raise Unreadable("message.message.text is not a text")
    attachments = inner.get("attachments")
    if attachments is not None and not isinstance(attachments, list):
        raise Unreadable("message.message.attachments is not a list")
    lines, strange = [_words(text)], []
    media: list[tuple[Kind, MediaRef]] = []
    for position, item in enumerate(attachments or ()):
        attachment = _needed(item, "an attachment")
        type_ = _words(attachment.get("type"), 40).lower()
        url = _url(attachment)
        added = [_words(attachment.get("caption"))]
        if type_ == "link":
            added = [_words(attachment.get("text")), url or "", *added]
        elif type_ not in _KINDS:
            strange.append(f"[{type_ or 'attachment'}]")
        else:
            media.append(_media(attachment, _KINDS[type_], url, f"{message_id}/{position}"))
        lines += [line for line in added if line and not any(line in earlier for earlier in lines)]
    words = "\n".join(filter(None, lines))
    if media:
        return _Content(media[0][0], words, tuple(ref for _, ref in media))
    if strange:
        return _Content("other", "\n".join(filter(None, (*strange, words))))
    if not words.strip():
        return _Content("other", "[unsupported message]")
    command = channel_type == "telebot" and _COMMAND.match(words)
    return _Content("command" if command else "text", words)


def _media(attachment: Json, kind: Kind, url: str | None, fallback: str) -> tuple[Kind, MediaRef]:
    name = next((found for key in ("text", "name", "filename") if (found := _words(attachment.get(key), 255))), None)
    mime = next((found for key in ("mime", "mimetype") if (found := _words(attachment.get(key), 100))), None)
    path = (url or "").partition("?")[0]
    if kind == "audio" and (_RECORDED.search(path) or _RECORDED.search(name or "") or mime == "audio/ogg"):
        kind = "voice"
    duration = _whole(attachment.get("duration"))
    return kind, MediaRef(
        type=kind,
        ref=url or fallback,
        url=url,
        name=name,
        mime=mime,
        size=_whole(attachment.get("filesize")) or _whole(attachment.get("size")),
        duration=None if duration is None else float(duration),
    )


def _url(attachment: Json) -> str | None:
    payload = attachment.get("payload")
    found = (attachment.get("url"), payload if isinstance(payload, str) else _record(payload).get("url"))
    for value in (*found, attachment.get("src"), _record(payload).get("src")):
        if isinstance(value, str) and _WEB.fullmatch(value.strip()):
            return _clean(value.strip())
    return None


# Fields


def _record(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _needed(value: object, where: str) -> Json:
    if not isinstance(value, dict):
        raise Unreadable(f"{where} is not an object")
    return value


def _clean(text: str) -> str:
    return str(storable(text))


def _words(value: object, limit: int | None = None) -> str:
    return _clean(value)[:limit] if isinstance(value, str) else ""


def _whole(value: object) -> int | None:
    """A number of at most 64 bits that is not negative, also as text."""
    text = _key(value)
    return int(text) if text is not None and text.isascii() and text.isdecimal() and int(text) < 2**63 else None


def _key(value: object) -> str | None:
    """An id as text; it may come as a number. None where there is none."""
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return str(value)
    if isinstance(value, str) and 0 < len(value.strip()) <= 1000:
        return _clean(value.strip())
    return None


def _id(value: object, where: str) -> str:
    found = _key(value)
    if found is None:
        raise Unreadable(f"{where} is missing")
    return _short(found)


def _number(key: str) -> int | str:
    """As the API wants it back: numbers as numbers."""
    return int(key) if key.isascii() and key.isdecimal() and len(key) < 20 else key


def _short(key: str, limit: int = 200) -> str:
    """``key`` within ``limit`` characters: the end of a longer one is replaced by a digest of the whole."""
    if len(key) <= limit:
        return key
    return f"{key[: limit - 41]}~{hashlib.sha256(key.encode()).hexdigest()[:40]}"


def _time(value: object) -> str | float | None:
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else None
