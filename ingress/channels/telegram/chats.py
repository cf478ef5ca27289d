"""Where an update happened, who wrote, and whether the bot was spoken to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ingress.channels.telegram.content import Content, entities
from ingress.channels.telegram.fields import (
    Json,
    entity_text,
    needed_id,
    needed_key,
    needed_record,
    record,
    whole,
    words,
)
from pipeline.envelope import Kind, Sender

#: The accounts in whose name anonymous administrators and channels write in a group; those are people.
_SPEAKING_FOR_PEOPLE = (1087968824, 136817688)
_LOCALE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")
_ADDRESSED_COMMAND = re.compile(r"^(/\w+)@(\w+)")


@dataclass(frozen=True)
class Bot:
    """What is known of the bot itself: the id from its token, the username from getMe."""

    id: int | None = None
    username: str | None = None

    def is_called(self, name: str) -> bool:
        """Whether ``name`` (without @) is the bot's. While the username is unknown any bot's name may be."""
        if self.username is None:
            return name.lower().endswith("bot")
        return name.lower() == self.username.lower()

    def is_user(self, user: object) -> bool:
        """Whether ``user`` (a User object) is the bot."""
        return self.id is not None and record(user).get("id") == self.id


@dataclass(frozen=True)
class Place:
    """The conversation's key and the address to reply to."""

    key: str
    address: dict[str, Any] = field(default_factory=dict)
    group: bool = False


def private_place(user_id: int) -> Place:
    """The private chat of a user with the bot."""
    return Place(str(user_id), {"chat_id": user_id})


def place_of(holder: Json, where: str) -> Place:
    """Of a message, or of anything else with a ``chat``; topics and business chats are places of their own."""
    chat = needed_record(holder.get("chat"), f"{where}.chat")
    chat_id = needed_id(chat.get("id"), f"{where}.chat.id")
    key, address = str(chat_id), {"chat_id": chat_id}
    thread = whole(holder.get("message_thread_id"))
    # In a group without topics the same member numbers a thread of replies; that is no conversation of its own.
    if thread is not None and (holder.get("is_topic_message") is True or chat.get("type") == "private"):
        key += f":{thread}"
        address["thread_id"] = thread
    topic = whole(record(holder.get("direct_messages_topic")).get("topic_id"))
    if topic is not None:  # direct messages to a channel: one topic a customer
        key += f":d{topic}"
        address["direct_topic_id"] = topic
    if holder.get("business_connection_id") is not None:
        connection = needed_key(holder["business_connection_id"], f"{where}.business_connection_id")
        return Place(f"{key}:b{connection}", {**address, "business_connection_id": connection})
    group = chat.get("type") in ("group", "supergroup") and topic is None and not chat.get("is_direct_messages")
    return Place(key, address, group)


def person(body: Json) -> Sender:
    """Who wrote or acted. A channel or a group may speak as itself, and some updates name only the chat."""
    user = record(body.get("from") or body.get("user"))
    chat = record(body.get("chat"))
    speaker = record(body.get("sender_chat") or body.get("actor_chat")) or user or chat
    name = " ".join(filter(None, (words(speaker.get("first_name")), words(speaker.get("last_name")))))
    locale = words(user.get("language_code"))
    return Sender(
        id=str(whole(speaker.get("id")) or whole(chat.get("id")) or "unknown"),
        name=(name or words(speaker.get("title")) or words(speaker.get("username")))[:200] or None,
        locale=locale if len(locale) <= 16 and _LOCALE.fullmatch(locale) else None,
    )


def by_bot(message: Json) -> bool:
    """Whether a program wrote it, or a person through a program: two bots would answer each other for ever."""
    author = record(message.get("from"))
    if author.get("is_bot") is True and author.get("id") not in _SPEAKING_FOR_PEOPLE:
        return True
    return any(message.get(name) for name in ("via_bot", "sender_business_bot", "is_automatic_forward"))


def by_owner(message: Json) -> bool:
    """In a business chat, a private one, whoever is not its customer is the account's owner."""
    if "business_connection_id" not in message:
        return False
    author = whole(record(message.get("from")).get("id"))
    return author is not None and author != record(message.get("chat")).get("id")


def replied_to(message: Json) -> int | None:
    """The number of the message this one replies to."""
    replied = record(message.get("reply_to_message"))
    # The message that opened a topic stands there for "no reply".
    return None if "forum_topic_created" in replied else whole(replied.get("message_id"))


def in_group(message: Json, content: Content, bot: Bot, all_groups: bool) -> tuple[Kind, str]:
    """The kind of a group's message, ``event`` when the bot is not spoken to, and the text without the bot's name."""
    text, marks = content.text, entities(message)
    if content.kind == "command":
        addressed = _ADDRESSED_COMMAND.match(text)
        if addressed is not None and not bot.is_called(addressed.group(2)):
            return "event", text
        return "command", _ADDRESSED_COMMAND.sub(r"\1", text)
    source = words(message.get("text") if "text" in message else message.get("caption"))
    mentions = {entity_text(source, mark) for mark in marks if mark.get("type") == "mention"}
    ours = {mention for mention in mentions if mention and bot.is_called(mention.removeprefix("@"))}
    linked = any(bot.is_user(mark.get("user")) for mark in marks if mark.get("type") == "text_mention")
    replied = replied_to(message) is not None and bot.is_user(record(message["reply_to_message"]).get("from"))
    if not (all_groups or ours or linked or replied):
        return "event", text
    bare = text
    for mention in ours:
        bare = bare.replace(mention, "")
    return content.kind, bare.strip() or text
