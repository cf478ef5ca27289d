"""A Telegram update in, envelopes out: pure, but for the fresh ids of the envelopes.

Read from plain JSON, without aiogram: its models cost 170 MB and 5 s of import in every ingress process,
and they are strict, so that one malformed update would block its whole chat. What support needs must have
the documented form, else :class:`~ingress.channels.base.Unreadable`; everything else may be missing or new.

======================================================  ====================================================
update                                                  becomes
======================================================  ====================================================
message                                                 the kind of its content; a service message: event
edited_message, edited_business_message                 edit (of a bot or of the owner: event)
business_message                                        as message; typed by the account's owner: outgoing
callback_query                                          callback: the button's title as text, else its data
guest_message                                           event: it asks for another way of answering
my_chat_member, message_reaction, business_connection,  event
deleted_business_messages, stopped_message_generation
channel_post, inline queries, payments, polls, boosts,  nothing: no customer of a conversation speaks there
chat_member, chat_join_request, message_reaction_count
a kind not known yet                                    event where it names a chat, otherwise nothing
======================================================  ====================================================

Messages of bots, or written through one, are events: two bots would answer each other for ever. In a group
only replies to the bot, mentions of it and commands are answered, unless ``all_groups``; the rest are events.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ingress.channels.base import Unreadable
from ingress.channels.telegram.chats import (
    Bot,
    Place,
    by_bot,
    by_owner,
    in_group,
    person,
    place_of,
    private_place,
    replied_to,
)
from ingress.channels.telegram.content import read_content
from ingress.channels.telegram.fields import Json, needed_id, needed_key, needed_record, record, whole, words
from pipeline.envelope import Envelope, Kind, MediaRef, Sender, parse_time
from ragline.ids import new_id

CHANNEL = "telegram"

#: What the bot asks Telegram for, polling or by webhook.
ALLOWED_UPDATES = (
    "message",
    "edited_message",
    "callback_query",
    "my_chat_member",
    "message_reaction",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
)

_IGNORED_KINDS = """
channel_post edited_channel_post message_reaction_count inline_query chosen_inline_result shipping_query
pre_checkout_query purchased_paid_media poll poll_answer chat_member chat_join_request chat_boost
removed_chat_boost managed_bot subscription
"""
_IGNORED = frozenset(_IGNORED_KINDS.split())


@dataclass(frozen=True)
class _Update:
    """One update with what every envelope of it needs."""

    id: int
    kind: str
    body: Json
    account: str
    received_at: datetime
    bot: Bot
    all_groups: bool

    @property
    def external_id(self) -> str:
        """For events that have no number of their own."""
        return f"u{self.id}"


def normalise(
    update: object, *, account: str, received_at: datetime, bot: Bot | None = None, all_groups: bool = False
) -> list[Envelope]:
    """The envelopes of one update: one, or none where it carries nothing for support.

    Raises :class:`Unreadable` when the update has not the form Telegram documents.
    """
    whole_update = needed_record(update, "the update")
    update_id = needed_id(whole_update.get("update_id"), "update_id")
    kinds = [name for name in whole_update if name != "update_id"]
    kind = next((name for name in kinds if name in _READERS or name in _IGNORED), kinds[0] if kinds else None)
    if kind is None or kind in _IGNORED:
        return []
    read = _READERS.get(kind, _read_unknown)
    body = whole_update[kind]
    if read is not _read_unknown:
        body = needed_record(body, kind)
    found = read(_Update(update_id, kind, record(body), account, received_at, bot or Bot(), all_groups))
    return [] if found is None else [found]


def _envelope(
    update: _Update,
    place: Place,
    *,
    external_id: str,
    sender: Sender,
    kind: Kind,
    text: str = "",
    data: str | None = None,
    media: tuple[MediaRef, ...] = (),
    reply_to: str | None = None,
    edits: str | None = None,
    raw: str | None = None,
) -> Envelope:
    return Envelope(
        id=new_id(),
        channel=CHANNEL,
        account=update.account,
        conversation=place.key,
        external_id=external_id,
        update_key=str(update.id),
        sender=sender,
        kind=kind,
        text=text,
        data=data,
        media=media,
        reply_to=reply_to,
        edits=edits,
        address=place.address,
        sent_at=parse_time(update.body.get("edit_date") or update.body.get("date")),
        received_at=update.received_at,
        raw=raw,
    )


def _read_message(update: _Update) -> Envelope:
    message = update.body
    place = place_of(message, update.kind)
    number = needed_id(message.get("message_id"), f"{update.kind}.message_id")
    if "from" in message:
        needed_record(message["from"], f"{update.kind}.from")
    content = read_content(message)
    kind, text, address = content.kind, content.text, place.address
    if by_bot(message) or update.kind == "guest_message":
        kind = "event"
    elif kind != "event" and by_owner(message):
        kind = "outgoing"
    elif kind != "event" and place.group:
        kind, text = in_group(message, content, update.bot, update.all_groups)
        if kind != "event":
            address = {**address, "reply_to": number}
    moved = whole(message.get("migrate_to_chat_id"))
    if moved is not None:  # answers still to come go to the group's new number
        address = {**address, "chat_id": moved}
    replied, album = replied_to(message), message.get("media_group_id")
    return _envelope(
        update,
        Place(place.key, address),
        # Ephemeral messages have the number 0.
        external_id=str(number) if number else update.external_id,
        sender=person(message),
        kind=kind,
        text=text,
        media=content.media,
        reply_to=None if replied is None else str(replied),
        raw=f"album:{words(album, 100)}" if isinstance(album, str) else None,
    )


def _read_edit(update: _Update) -> Envelope:
    message = update.body
    place = place_of(message, update.kind)
    number = needed_id(message.get("message_id"), f"{update.kind}.message_id")
    content = read_content(message)
    by_customer = content.kind != "event" and not by_bot(message) and not by_owner(message)
    return _envelope(
        update,
        place,
        external_id=f"e{number}:{whole(message.get('edit_date')) or update.external_id}",
        sender=person(message),
        kind="edit" if by_customer else "event",
        text=content.text,
        media=content.media,
        edits=str(number) if by_customer else None,
    )


def _read_callback(update: _Update) -> Envelope:
    body = update.body
    callback_id = needed_key(body.get("id"), "callback_query.id")
    user_id = needed_id(needed_record(body.get("from"), "callback_query.from").get("id"), "callback_query.from.id")
    kind: Kind = "event"
    place, replied, title = private_place(user_id), None, ""
    data = words(body.get("data"), 256)
    if body.get("message") is not None:  # else a button under a message sent through the bot into another chat
        message = needed_record(body["message"], "callback_query.message")
        place, replied = place_of(message, "callback_query.message"), whole(message.get("message_id"))
        kind = "event" if by_bot(body) else "callback"
        title = _title_of(data, message)
    return _envelope(
        update,
        place,
        external_id=f"c{callback_id}",
        sender=person(body),
        kind=kind,
        text=title or data or words(body.get("game_short_name"), 256),
        data=data if title else None,
        reply_to=None if replied is None else str(replied),
    )


def _title_of(data: str, message: Json) -> str:
    """What the pressed button says, by the keyboard of its message; a message too old to be shown has none."""
    keyboard = record(message.get("reply_markup")).get("inline_keyboard")
    rows = keyboard if isinstance(keyboard, list) else []
    buttons = (record(button) for row in rows if isinstance(row, list) for button in row)
    return next(
        (words(button.get("text"), 256) for button in buttons if data and button.get("callback_data") == data), ""
    )


def _read_happening(update: _Update) -> Envelope:
    """Something that happened in a chat, in words."""
    body = update.body
    return _envelope(
        update,
        place_of(body, update.kind),
        external_id=update.external_id,
        sender=person(body),
        kind="event",
        text=_HAPPENED[update.kind](body) if update.kind in _HAPPENED else f"[{words(update.kind, 60)}]",
    )


def _membership(body: Json) -> str:
    status = words(record(body.get("new_chat_member")).get("status"), 40)
    if record(body.get("chat")).get("type") != "private":
        return f"[the bot is now {status or 'changed'} in the group]"
    return {"kicked": "[blocked the bot]", "member": "[unblocked the bot]"}.get(status, f"[bot status: {status}]")


def _reaction(body: Json) -> str:
    new = body.get("new_reaction")
    marks = [record(mark) for mark in new] if isinstance(new, list) else []
    shown = " ".join(words(mark.get("emoji"), 20) or words(mark.get("type"), 20) for mark in marks)
    return f"[reaction to message {whole(body.get('message_id'))}: {shown or 'withdrawn'}]"


def _deleted(body: Json) -> str:
    numbers = body.get("message_ids")
    shown = [str(n) for n in numbers[:100] if whole(n) is not None] if isinstance(numbers, list) else []
    return f"[deleted messages: {', '.join(shown)}]"


def _read_connection(update: _Update) -> Envelope:
    """A business account was connected to the bot, changed or cut; told in the owner's own chat."""
    body = update.body
    chat_id = needed_id(body.get("user_chat_id"), "business_connection.user_chat_id")
    state = "enabled" if body.get("is_enabled") is True else "disabled"
    return _envelope(
        update,
        private_place(chat_id),
        external_id=update.external_id,
        sender=person(body),
        kind="event",
        text=f"[business connection {state}]",
    )


def _read_unknown(update: _Update) -> Envelope | None:
    try:
        return _read_happening(update)
    except Unreadable:
        return None


_HAPPENED: dict[str, Callable[[Json], str]] = {
    "my_chat_member": _membership,
    "message_reaction": _reaction,
    "deleted_business_messages": _deleted,
}
_READERS: dict[str, Callable[[_Update], Envelope | None]] = {
    "message": _read_message,
    "edited_message": _read_edit,
    "business_message": _read_message,
    "edited_business_message": _read_edit,
    "guest_message": _read_message,
    "callback_query": _read_callback,
    "business_connection": _read_connection,
    "my_chat_member": _read_happening,
    "message_reaction": _read_happening,
    "deleted_business_messages": _read_happening,
    "stopped_message_generation": _read_happening,
}
