"""What a Telegram message holds, as a kind, a text and references to its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ingress.channels.base import Unreadable
from ingress.channels.telegram.fields import Json, needed_key, needed_record, record, whole, words
from pipeline.envelope import Kind, MediaRef


@dataclass(frozen=True)
class Content:
    """``event`` stands for a service message: something happened, nobody said anything."""

    kind: Kind
    text: str = ""
    media: tuple[MediaRef, ...] = ()


#: Members of a message that hold one file, and the kind of each. An animation also fills ``document``.
_FILES: dict[str, Kind] = {
    "animation": "video",
    "voice": "voice",
    "audio": "audio",
    "video_note": "video",
    "video": "video",
    "document": "document",
}

#: Members that say that something happened in the chat.
_SERVICE_MEMBERS = """
new_chat_members left_chat_member chat_owner_left chat_owner_changed new_chat_title new_chat_photo
delete_chat_photo group_chat_created supergroup_chat_created channel_chat_created
message_auto_delete_timer_changed migrate_to_chat_id migrate_from_chat_id pinned_message successful_payment
refunded_payment users_shared user_shared chat_shared gift unique_gift gift_upgrade_sent connected_website
write_access_allowed passport_data proximity_alert_triggered boost_added chat_background_set
checklist_tasks_done checklist_tasks_added direct_message_price_changed forum_topic_created forum_topic_edited
forum_topic_closed forum_topic_reopened general_forum_topic_hidden general_forum_topic_unhidden
giveaway_created giveaway_completed managed_bot_created paid_message_price_changed poll_option_added
poll_option_deleted suggested_post_approved suggested_post_approval_failed suggested_post_declined
suggested_post_paid suggested_post_refunded video_chat_scheduled video_chat_started video_chat_ended
video_chat_participants_invited community_chat_added community_chat_removed community_chat_joined
"""
_SERVICE = frozenset(_SERVICE_MEMBERS.split())

#: Members that come with any content and hold none.
_AROUND_MEMBERS = """
message_id date chat message_thread_id direct_messages_topic from sender_chat sender_boost_count
sender_business_bot sender_tag guest_query_id business_connection_id forward_origin is_topic_message
is_automatic_forward reply_to_message external_reply quote reply_to_story reply_to_checklist_task_id
reply_to_poll_option_id via_bot guest_bot_caller_user guest_bot_caller_chat edit_date has_protected_content
is_from_offline is_paid_post media_group_id author_signature paid_star_count entities link_preview_options
suggested_post_info effect_id caption caption_entities show_caption_above_media has_media_spoiler reply_markup
receiver_user ephemeral_message_id forward_date forward_from forward_from_chat forward_from_message_id
forward_sender_name forward_signature
"""
_AROUND = frozenset(_AROUND_MEMBERS.split())


def read_content(message: Json) -> Content:
    """The content of a message. Content without words is put in words, in square brackets.

    Raises :class:`Unreadable` when a member we know has a form we do not.
    """
    if "text" in message:
        return _text(message)
    caption = words(message.get("caption"))
    if "live_photo" in message:  # fills `photo` too; the moving part is of no use to an answer
        return _photo(needed_record(message["live_photo"], "live_photo").get("photo") or message.get("photo"), caption)
    if "photo" in message:
        return _photo(message["photo"], caption)
    for name, kind in _FILES.items():
        if name in message:
            return Content(kind, caption, (_file(kind, needed_record(message[name], name), name),))
    for name, read in _DESCRIBED.items():
        if name in message:
            content = read(needed_record(message[name], name))
            return Content(content.kind, "\n".join(filter(None, (content.text, caption))))
    for name in message:
        if name in _SERVICE:
            return Content("event", f"[{name}]")
    unknown = next((name for name in message if name not in _AROUND), "unsupported message")
    return Content("other", "\n".join(filter(None, (f"[{words(unknown, 60)}]", caption))))


def _text(message: Json) -> Content:
    text = message["text"]
    if not isinstance(text, str):
        raise Unreadable("message.text is not a string")
    text = words(text)
    command = text.startswith("/") and any(
        entity.get("type") == "bot_command" and entity.get("offset") == 0 for entity in entities(message)
    )
    return Content("command" if command else "text", text)


def entities(message: Json) -> list[Json]:
    """The marks on a message's text or caption; empty when there are none that can be read."""
    found = message.get("entities") if "text" in message else message.get("caption_entities")
    return [entity for entity in found if isinstance(entity, dict)] if isinstance(found, list) else []


def _photo(sizes: object, caption: str) -> Content:
    if not isinstance(sizes, list) or not sizes:
        raise Unreadable("message.photo is not a list of sizes")
    known = [needed_record(size, "message.photo") for size in sizes]
    largest = max(known, key=lambda size: (whole(size.get("width")) or 0) * (whole(size.get("height")) or 0))
    return Content("photo", caption, (_file("photo", largest, "photo"),))


def _file(kind: Kind, body: Json, where: str) -> MediaRef:
    duration = whole(body.get("duration"))
    credits_ = (words(body.get("performer"), 120), words(body.get("title"), 120))
    return MediaRef(
        type=kind,
        ref=needed_key(body.get("file_id"), f"{where}.file_id", 1000),
        name=words(body.get("file_name"), 255) or " - ".join(filter(None, credits_)) or None,
        mime=words(body.get("mime_type"), 100) or None,
        size=whole(body.get("file_size")),
        duration=None if duration is None else float(duration),
    )


def _sticker(body: Json) -> Content:
    return Content("sticker", words(body.get("emoji"), 40))


def _contact(body: Json) -> Content:
    name = " ".join(filter(None, (words(body.get("first_name"), 200), words(body.get("last_name"), 200))))
    return Content("contact", ", ".join(filter(None, (name, words(body.get("phone_number"), 60)))))


def _place(body: Json) -> str:
    degrees = (body.get("latitude"), body.get("longitude"))
    if not all(isinstance(degree, int | float) and abs(degree) <= 360 for degree in degrees):
        raise Unreadable("a location's latitude or longitude is not a number of degrees")
    return f"{degrees[0]}, {degrees[1]}"


def _venue(body: Json) -> Content:
    where = _place(needed_record(body.get("location"), "venue.location"))
    name = ", ".join(filter(None, (words(body.get("title"), 300), words(body.get("address"), 300))))
    return Content("location", f"{name} ({where})")


def _listed(label: str, heading: str, part: str) -> Callable[[Json], Content]:
    """A reader of ``{heading: ..., part: [{"text": ...}, ...]}``."""

    def read(body: Json) -> Content:
        rows = body.get(part)
        lines = [words(record(row).get("text")) for row in rows] if isinstance(rows, list) else []
        return Content("other", "\n".join([f"[{label}] {words(body.get(heading))}", *(f"- {line}" for line in lines)]))

    return read


def _labelled(label: str, *names: str) -> Callable[[Json], Content]:
    """A reader that shows the members ``names`` behind a label."""

    def read(body: Json) -> Content:
        values = (body.get(name) for name in names)
        shown = [str(value) if whole(value) is not None else words(value, 4000) for value in values]
        return Content("other", " ".join([f"[{label}]", *filter(None, shown)]))

    return read


def _rich(body: Json) -> Content:
    text = _plain(body.get("blocks"), "\n").strip()
    return Content("text", text) if text else Content("other", "[rich message]")


def _plain(value: object, between: str, depth: int = 0) -> str:
    """The words of nested rich text: strings, lists of parts, and objects holding such members."""
    if isinstance(value, str):
        return words(value)
    if depth > 40:
        return ""
    if isinstance(value, list):
        return between.join(filter(None, (_plain(item, between, depth + 1) for item in value)))
    if isinstance(value, dict):
        inner = (("title", ""), ("summary", ""), ("text", ""), ("blocks", "\n"), ("items", "\n"), ("caption", ""))
        parts = [_plain(value[name], glue, depth + 1) for name, glue in inner if name in value]
        rows = value.get("cells")
        if isinstance(rows, list):
            parts += [_plain(row, " | ", depth + 1) for row in rows]
        return "\n".join(filter(None, parts))
    return ""


_DESCRIBED: dict[str, Callable[[Json], Content]] = {
    "sticker": _sticker,
    "contact": _contact,
    "venue": _venue,  # fills `location` too
    "location": lambda body: Content("location", _place(body)),
    "rich_message": _rich,
    "poll": _listed("poll", "question", "options"),
    "checklist": _listed("checklist", "title", "tasks"),
    "dice": _labelled("dice", "emoji", "value"),
    "story": _labelled("story"),
    "paid_media": _labelled("paid media"),
    "game": _labelled("game", "title", "description"),
    "invoice": _labelled("invoice", "title", "description"),
    "giveaway": _labelled("giveaway"),
    "giveaway_winners": _labelled("giveaway winners"),
    "web_app_data": _labelled("web app data", "button_text", "data"),
}
