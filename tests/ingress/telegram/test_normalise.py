"""Real payload shapes in, envelopes out. What a file does not name here has the defaults of `envelope`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingress.channels.base import Unreadable
from ingress.channels.telegram.chats import Bot
from ingress.channels.telegram.normalise import normalise
from pipeline.envelope import Envelope

PAYLOADS = Path(__file__).parent / "payloads"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BOT = Bot(123456, "test_bot")

ANNA = {"id": "42", "name": "Анна Петрова", "locale": "ru"}
OWNER = {"id": "99", "name": "Owner"}
SENT = "2023-11-14T22:13:20Z"
GROUP, FORUM = -1001234567890, -1009876543210


def envelope(kind: str, text: str | None = None, **fields: Any) -> dict[str, Any]:
    """What an envelope says beside its account and its fresh numbers; a member given as None is absent."""
    found: dict[str, Any] = {"conversation": "42", "external_id": "10", "sender": ANNA, "kind": kind, "text": text}
    found |= {"address": {"chat_id": 42}, "sent_at": SENT, **fields}
    return {name: value for name, value in found.items() if value is not None}


def in_group(kind: str, text: str, number: int, **fields: Any) -> dict[str, Any]:
    address = {"chat_id": GROUP} if kind == "event" else {"chat_id": GROUP, "reply_to": number}
    return envelope(
        kind, text, **{"conversation": str(GROUP), "external_id": str(number), "address": address, **fields}
    )


def in_topic(kind: str, text: str, number: int, **address: int) -> dict[str, Any]:
    where = {"chat_id": FORUM, "thread_id": 7, **address}
    return envelope(kind, text, conversation=f"{FORUM}:7", external_id=str(number), address=where)


def in_business(kind: str, text: str, external_id: str, **fields: Any) -> dict[str, Any]:
    where = {"chat_id": 42, "business_connection_id": "bc_1"}
    return envelope(kind, text, **{"conversation": "42:bbc_1", "external_id": external_id, "address": where, **fields})


def media(type_: str, ref: str, size: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"type": type_, "ref": ref, "size": size, **fields}]


EXPECTED: dict[str, dict[str, Any] | None] = {
    "text": envelope("text", "Где мой заказ?"),
    "text_markup": envelope("text", "See https://shop.example and 👍 bold"),
    "command": envelope("command", "/start ref_7"),
    "slash_without_entity": envelope("text", "/ means or"),
    "photo": envelope("photo", "Пришёл битый", media=media("photo", "ph1l", 98000)),
    "album_item": envelope(
        "photo", external_id="11", media=media("photo", "ph2l", 98000), raw="album:13500000000000001"
    ),
    "live_photo": envelope("photo", "moving", media=media("photo", "ph3l", 98000)),
    "voice": envelope("voice", media=media("voice", "vo1", 31000, mime="audio/ogg", duration=7.0)),
    "audio": envelope(
        "audio", media=media("audio", "au1", 5300000, name="Band - Song", mime="audio/mpeg", duration=215.0)
    ),
    "video": envelope(
        "video", "see at 0:05", media=media("video", "vi1", 2400000, name="clip.mp4", mime="video/mp4", duration=12.0)
    ),
    "video_note": envelope("video", media=media("video", "vn1", 420000, duration=5.0)),
    "document": envelope(
        "document", "чек", media=media("document", "do1", 88000, name="чек.pdf", mime="application/pdf")
    ),
    "animation": envelope(
        "video", media=media("video", "an1", 77000, name="giphy.mp4", mime="video/mp4", duration=2.0)
    ),
    "sticker": envelope("sticker", "👍"),
    "contact": envelope("contact", "Анна Петрова, +79991234567"),
    "location": envelope("location", "55.7558, 37.6173"),
    "venue": envelope("location", "Shop, Tverskaya 1 (55.7558, 37.6173)"),
    "poll": envelope("other", "[poll] Which size?\n- S\n- M"),
    "dice": envelope("other", "[dice] 🎲 4"),
    "checklist": envelope("other", "[checklist] Return\n- pack\n- send"),
    "story": envelope("other", "[story]"),
    "paid_media": envelope("other", "[paid media]\npaid"),
    "rich_message": envelope("text", "Order\nNumber 17 is late"),
    "unknown_content": envelope("other", "[hologram]\nlook"),
    "no_content": envelope("other", "[unsupported message]"),
    "forward": envelope("text", "Your parcel is on its way"),
    "reply": envelope("text", "И когда?", external_id="12", reply_to="9"),
    "edited_message": envelope(
        "edit", "Где мой заказ 17?", external_id="e10:1700000060", edits="10", sent_at="2023-11-14T22:14:20Z"
    ),
    "callback_query": envelope("callback", "help:yes", external_id="c4382bfdwdsb323b2d9", reply_to="9", sent_at=None),
    "callback_query_old_message": envelope(
        "callback", "help:no", external_id="c4382bfdwdsb323b2da", reply_to="3", sent_at=None
    ),
    "callback_query_option": envelope(
        "callback",
        "How do I return shoes?",
        external_id="c4382bfdwdsb323b2e0",
        reply_to="9",
        sent_at=None,
        data="c:0199b6a0-0000-7000-8000-000000000001:0123456789ab",
    ),
    "callback_query_inline": envelope("event", "x", external_id="c4382bfdwdsb323b2db", sent_at=None),
    "my_chat_member_blocked": envelope(
        "event", "[blocked the bot]", external_id="u900000032", sent_at="2023-11-14T22:15:00Z"
    ),
    "my_chat_member_unblocked": envelope(
        "event", "[unblocked the bot]", external_id="u900000033", sent_at="2023-11-14T22:16:40Z"
    ),
    "my_chat_member_group": in_group(
        "event", "[the bot is now member in the group]", 0, external_id="u900000034", sent_at="2023-11-14T22:15:00Z"
    ),
    "message_reaction": envelope(
        "event", "[reaction to message 9: 👎]", external_id="u900000035", sent_at="2023-11-14T22:18:20Z"
    ),
    "group_chatter": in_group("event", "nice weather", 50),
    "group_mention": in_group("text", "когда откроетесь?", 51),
    "group_mention_of_another": in_group("event", "@other_bot hi", 52),
    "group_text_mention": in_group("text", "Support, help", 53),
    "group_reply_to_bot": in_group("text", "And on Sunday?", 54, reply_to="40"),
    "group_command": in_group("command", "/help delivery", 55),
    "group_command_of_another": in_group("event", "/help@other_bot", 56),
    "group_caption_mention": in_group("photo", "broken 😢", 57, media=media("photo", "ph4l", 98000)),
    "group_anonymous_admin": in_group("text", "ping", 58, sender={"id": str(GROUP), "name": "Buyers"}),
    "topic_message": in_topic("text", "hi", 60, reply_to=60),
    "topic_chatter": in_topic("event", "hi all", 61),
    "private_topic": envelope(
        "text", "second matter", conversation="42:5", external_id="62", address={"chat_id": 42, "thread_id": 5}
    ),
    "channel_direct_message": envelope(
        "text",
        "hello",
        conversation="-1005550001112:d42",
        external_id="63",
        address={"chat_id": -1005550001112, "direct_topic_id": 42},
    ),
    "group_to_supergroup": envelope(
        "event", "[migrate_to_chat_id]", conversation="-4001", external_id="64", address={"chat_id": GROUP}
    ),
    "new_chat_members": in_group("event", "[new_chat_members]", 65),
    "pinned_message": envelope("event", "[pinned_message]", external_id="66"),
    "from_bot": in_group("event", "@test_bot hello", 67, sender={"id": "777", "name": "Other"}),
    "via_bot": envelope("event", "result", external_id="68"),
    "business_connection": envelope(
        "event",
        "[business connection enabled]",
        conversation="99",
        external_id="u900000054",
        sender=OWNER,
        address={"chat_id": 99},
    ),
    "business_message": in_business("text", "Есть в наличии?", "70"),
    "business_message_by_owner": in_business("outgoing", "Да, есть", "71", sender=OWNER),
    "business_message_by_bot": in_business("event", "auto", "72", sender=OWNER),
    "edited_business_message": in_business(
        "edit", "Есть в наличии синий?", "e70:1700000090", edits="70", sent_at="2023-11-14T22:14:50Z"
    ),
    "deleted_business_messages": in_business(
        "event",
        "[deleted messages: 70, 71]",
        "u900000059",
        sender={"id": "42", "name": "Анна Петрова"},
        sent_at=None,
    ),
    "guest_message": in_group("event", "@test_bot what is this?", 80),
    "stopped_message_generation": envelope(
        "event",
        "[stopped_message_generation]",
        external_id="u900000061",
        sender={"id": "42", "name": "Анна Петрова"},
        sent_at=None,
    ),
    "channel_post": None,
    "inline_query": None,
    "poll_update": None,
    "unknown_update": None,
    "unknown_update_in_a_chat": envelope(
        "event", "[hologram_call]", external_id="u900000066", sent_at="2023-11-14T22:20:00Z"
    ),
    "nul_and_lone_surrogate": envelope("text", "a\ufffdb\ufffdc", sender={**ANNA, "name": "A\ufffdnna\ufffd P"}),
    "new_fields_everywhere": envelope("text", "hello"),
}


def read(update: object, **options: Any) -> list[Envelope]:
    return normalise(update, account="default", received_at=NOW, **{"bot": BOT, **options})


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def test_every_payload_has_its_expectation() -> None:
    assert {path.stem for path in PAYLOADS.glob("*.json")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_payload(name: str) -> None:
    update, expected = load(name), EXPECTED[name]
    found = read(update)
    for item in found:
        assert (item.channel, item.account, item.received_at) == ("telegram", "default", NOW)
        assert item.update_key == str(update["update_id"])
    fresh = {"id", "channel", "account", "received_at", "update_key"}
    shown = [item.model_dump(mode="json", exclude_defaults=True, exclude=fresh) for item in found]
    assert shown == ([] if expected is None else [expected])


def message(**fields: Any) -> dict[str, Any]:
    head = {"message_id": 5, "date": 1700000000, "chat": {"id": 42, "type": "private"}}
    return {"update_id": 7, "message": {**head, "from": {"id": 42, "is_bot": False}, "text": "x", **fields}}


@pytest.mark.parametrize(
    "update",
    [
        None,
        [],
        "update",
        {},
        {"update_id": "7", "message": {}},
        {"update_id": True},
        {"update_id": 2**64, "message": {}},
        {"update_id": 7, "message": None},
        {"update_id": 7, "message": []},
        {"update_id": 7, "message": {}},
        message(chat=None),
        message(chat={"id": "42"}),
        message(chat={"id": 10**30, "type": "private"}),
        message(message_id=None),
        message(message_id=1.5),
        message(text=["x"]),
        message(**{"from": "me"}),
        message(business_connection_id="x" * 500),
        {"update_id": 7, "message": {"message_id": 5, "chat": {"id": 42}, "photo": []}},
        {"update_id": 7, "message": {"message_id": 5, "chat": {"id": 42}, "photo": [{"width": 1}]}},
        {"update_id": 7, "message": {"message_id": 5, "chat": {"id": 42}, "voice": {"file_id": 3}}},
        {"update_id": 7, "message": {"message_id": 5, "chat": {"id": 42}, "location": {"latitude": "n"}}},
        {"update_id": 7, "callback_query": {"from": {"id": 42}}},
        {"update_id": 7, "callback_query": {"id": "1"}},
    ],
)
def test_what_has_not_the_documented_form_is_unreadable(update: object) -> None:
    with pytest.raises(Unreadable) as caught:
        read(update)
    assert len(str(caught.value)) < 200


def test_an_update_with_a_number_only_is_nothing() -> None:
    assert read({"update_id": 7}) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"date": 10**40},
        {"date": "yesterday"},
        {"date": None},
        {"entities": "none"},
        {"entities": [None, 7, {"type": "bot_command", "offset": -1, "length": 10**30}]},
        {"reply_to_message": "gone"},
        {"message_thread_id": 10**30},
        {"media_group_id": 5},
        {"from": {"id": 10**30, "first_name": 5, "language_code": ["ru"]}},
        {"text": "щ" * 1_000_000},
        {"from": {"id": 42, "first_name": "щ" * 100_000, "language_code": "x" * 1000}},
    ],
)
def test_a_strange_detail_costs_the_detail_only(fields: dict[str, Any]) -> None:
    (found,) = read(message(**fields))
    assert found.kind == "text"
    assert found.text == fields.get("text", "x")
    assert found.external_id == "5"
    assert len(found.sender.name or "") <= 200
    assert len(found.sender.locale or "") <= 16


def test_groups_on_answers_everything_people_say_in_a_group() -> None:
    assert [item.kind for item in read(load("group_chatter"), all_groups=True)] == ["text"]
    assert [item.kind for item in read(load("from_bot"), all_groups=True)] == ["event"]
    assert [item.kind for item in read(load("group_command_of_another"), all_groups=True)] == ["event"]


def test_an_unknown_username_lets_any_bot_name_pass() -> None:
    nameless = Bot(123456)
    assert [item.kind for item in read(load("group_mention"), bot=nameless)] == ["text"]
    assert [item.kind for item in read(load("group_chatter"), bot=nameless)] == ["event"]
    assert [item.kind for item in read(load("group_text_mention"), bot=Bot())] == ["event"]


def test_an_ephemeral_message_has_a_number_of_its_own() -> None:
    assert [item.external_id for item in read(message(message_id=0))] == ["u7"]


def test_an_edit_of_what_a_bot_wrote_is_no_second_message() -> None:
    update = load("edited_message")
    update["edited_message"]["via_bot"] = {"id": 1, "is_bot": True}
    (found,) = read(update)
    assert (found.kind, found.external_id, found.edits) == ("event", "e10:1700000060", None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = sorted({key for name in EXPECTED for body in load(name).values() if isinstance(body, dict) for key in body})


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(EXPECTED)), st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4))
def test_any_member_may_be_anything(name: str, changes: dict[str, Any]) -> None:
    update = load(name)
    kind = next(key for key in update if key != "update_id")
    update[kind] = {**update[kind], **changes}
    try:
        found = read(update)
    except Unreadable:
        return
    for item in found:
        assert item.conversation
        item.model_dump_json().encode()
        assert "\x00" not in item.text
