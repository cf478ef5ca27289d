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
from ingress.channels.umnico.normalise import custom_id, normalise, user_id
from pipeline.envelope import Envelope

PAYLOADS = Path(__file__).parent / "payloads"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BOT = 502
FILES = "https://cdn.umnico.example/f"
CONNECTED = {"whatsapp2": 5, "telebot": 6, "instagramV3": 7, "vk_group": 8, "mail": 9}
ANNA = {"id": "9", "name": "Анна Петрова"}


def envelope(kind: str, text: str | None = None, type_: str = "whatsapp2", **fields: Any) -> dict[str, Any]:
    """What an envelope says beside its account and its fresh id; a member given as None is absent."""
    sa = CONNECTED[type_]
    address = {"lead": 100, "source": "555", "sa": sa, "type": type_, "source_type": "message"}
    found: dict[str, Any] = {"conversation": f"1:{sa}:555", "external_id": "m1", "sender": ANNA, "kind": kind}
    found |= {"text": text, "address": address, "sent_at": "2026-01-01T10:00:00Z", **fields}
    return {name: value for name, value in found.items() if value is not None}


def media(type_: str, file: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"type": type_, "ref": f"{FILES}/{file}", "url": f"{FILES}/{file}", **fields}]


def outgoing(text: str | None, external_id: str, **fields: Any) -> dict[str, Any]:
    return envelope("outgoing", text, **{"external_id": external_id, "sender": {"id": "501"}, **fields})


EXPECTED: dict[str, dict[str, Any] | None] = {
    "text": envelope("text", "Где мой заказ?"),
    "text_milliseconds": envelope("text", "Где мой заказ?"),
    "ids_as_text": envelope("text", "Где мой заказ?"),
    "ids_as_numbers": envelope("text", "Где мой заказ?", external_id="9001"),
    "another_lead": envelope(
        "text",
        "Где мой заказ?",
        external_id="m2",
        address={"lead": 101, "source": "555", "sa": 5, "type": "whatsapp2", "source_type": "message"},
    ),
    "another_connected_account": envelope("text", "Где мой заказ?", "telebot", external_id="m3"),
    "name_missing": envelope("text", "Где мой заказ?", sender={"id": "9", "name": "+79990000000"}),
    "name_missing_elsewhere": envelope("text", "Где мой заказ?", "telebot", sender={"id": "9"}),
    "sender_missing": envelope("text", "Где мой заказ?", sender={"id": "555"}),
    "source_without_real_id": envelope(
        "text",
        "Где мой заказ?",
        "vk_group",
        conversation="1:8:customer-9",
        address={"lead": 100, "sa": 8, "type": "vk_group", "source_type": "message"},
    ),
    "source_missing": envelope(
        "text",
        "Где мой заказ?",
        conversation="1:5:customer-9",
        address={"lead": 100, "sa": 5, "type": "whatsapp2"},
    ),
    "photo_url": envelope("photo", "Пришёл битый", media=media("photo", "1.jpg", size=98000)),
    "photo_payload": envelope("photo", "вот так", "vk_group", media=media("photo", "2.jpg")),
    "photo_null_text": envelope("photo", media=media("photo", "3.jpg")),
    "photo_without_address": envelope("photo", media=[{"type": "photo", "ref": "m1/0"}]),
    "document": envelope("document", "чек", media=media("document", "4.pdf", name="чек.pdf", size=88000)),
    "video": envelope(
        "video",
        None,
        "telebot",
        media=media("video", "5.mp4", name="clip.mp4", mime="video/mp4", duration=12.0),
    ),
    "audio": envelope("audio", None, "vk_group", media=media("audio", "6.mp3", name="Band - Song.mp3")),
    "voice": envelope("voice", media=media("voice", "7.ogg?sign=ab", size=31000)),
    "sticker": envelope("sticker", None, "telebot", media=media("sticker", "8.webp")),
    "several_attachments": envelope(
        "photo",
        "три фото",
        media=[
            *media("photo", "9.jpg"),
            *media("photo", "10.jpg"),
            *media("document", "11.pdf", name="акт.pdf"),
        ],
    ),
    "link": envelope("text", "смотрите\nКружка синяя\nhttps://shop.example/item/7", "vk_group"),
    "link_in_text": envelope("text", "https://shop.example/item/7", "vk_group"),
    "mail": envelope("document", "Не могу оплатить", "mail", media=media("document", "12.html", name="Re: Заказ 17")),
    "unknown_attachment": envelope("other", "[geo]\nя тут"),
    "no_content": envelope("other", "[unsupported message]"),
    "comment": envelope(
        "text",
        "Сколько стоит?",
        "instagramV3",
        conversation="1:7:17_900",
        address={"lead": 100, "source": "17_900", "sa": 7, "type": "instagramV3", "source_type": "comment"},
    ),
    "reply": envelope("text", "И когда?", external_id="m5", reply_to="m0"),
    "command": envelope("command", "/start ref_7", "telebot"),
    "slash_elsewhere": envelope("text", "/start ref_7"),
    "nul_and_lone_surrogate": envelope("text", "a\ufffdb\ufffdc", sender={"id": "9", "name": "A\ufffdnna\ufffd"}),
    "new_fields_everywhere": envelope("text", "Где мой заказ?"),
    "outgoing_by_person": outgoing("Возьму на себя", "m6"),
    "outgoing_photo_by_person": outgoing(None, "m7", media=media("photo", "13.jpg")),
    "outgoing_from_the_phone": outgoing("Перезвоню", "m8", sender={"id": "operator"}),
    "outgoing_by_bot": None,
    "outgoing_by_bot_outside": None,
    "lead_created": None,
    "lead_changed": None,
    "lead_changed_status": None,
    "customer_created": None,
    "customer_changed": None,
    "unknown_event": None,
}


def read(event: object) -> list[Envelope]:
    return normalise(event, account_name="default", bot_user_id=BOT, received_at=NOW)


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def test_every_payload_has_its_expectation() -> None:
    assert {path.stem for path in PAYLOADS.glob("*.json")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_payload(name: str) -> None:
    expected, found = EXPECTED[name], read(load(name))
    for item in found:
        assert (item.channel, item.account, item.received_at) == ("umnico", "default", NOW)
        assert item.update_key == item.external_id
    fresh = {"id", "channel", "account", "received_at", "update_key"}
    shown = [item.model_dump(mode="json", exclude_defaults=True, exclude=fresh) for item in found]
    assert shown == ([] if expected is None else [expected])


def test_the_lead_is_an_address_and_no_conversation() -> None:
    (first,), (second,) = read(load("text")), read(load("another_lead"))
    assert first.conversation == second.conversation
    assert (first.address["lead"], second.address["lead"]) == (100, 101)


def test_the_same_source_at_another_connected_account_is_another_customer() -> None:
    (first,), (second,) = read(load("text")), read(load("another_connected_account"))
    assert first.address["source"] == second.address["source"]
    assert first.conversation != second.conversation


def test_a_persons_message_is_in_the_customers_conversation() -> None:
    (asked,), (said,) = read(load("text")), read(load("outgoing_by_person"))
    assert said.conversation == asked.conversation
    assert (asked.answerable, said.answerable) == (True, False)


def test_our_own_numbers_name_nobody() -> None:
    for name in EXPECTED:
        for item in read(load(name)):
            assert "79001112233" not in item.model_dump_json()


def test_echo_marks_are_found_where_integrators_saw_them() -> None:
    event = load("outgoing_by_person")
    assert (custom_id(event), user_id(event)) == (None, "501")
    assert custom_id({**event, "customId": "a"}) == "a"
    event["message"]["customId"] = "b"
    assert custom_id(event) == "b"
    assert user_id(load("outgoing_by_bot_outside")) == "502"
    assert custom_id(None) is None
    assert user_id({"message": []}) is None


def message(**fields: Any) -> dict[str, Any]:
    event = load("text")
    event["message"] |= fields
    return event


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        "message.incoming",
        {},
        {"type": None},
        {"type": ""},
        {"type": 7},
        {"type": "message.incoming"},
        {**load("text"), "message": []},
        {**load("text"), "accountId": None},
        {**load("text"), "accountId": True},
        {**load("text"), "leadId": ""},
        {**load("text"), "leadId": 2**70},
        message(messageId=None),
        message(messageId=1.5),
        message(message=None),
        message(message={"text": ["x"]}),
        message(message={"text": "x", "attachments": "none"}),
        message(message={"text": "x", "attachments": [None]}),
        message(sa=None, source=None),
        message(sender=None, source={"saId": 5}),
    ],
)
def test_what_has_not_the_form_it_should_have_is_unreadable(event: object) -> None:
    with pytest.raises(Unreadable) as caught:
        read(event)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "fields",
    [
        {"datetime": 10**40},
        {"datetime": "yesterday"},
        {"datetime": [1]},
        {"datetime": True},
        {"datetime": None},
        {"replyTo": "gone"},
        {"replyTo": {"messageId": {}}},
        {"sender": "me"},
        {"sender": {"id": [], "customerId": 9, "name": 5, "login": "щ" * 100_000}},
        {"sender": {"customerId": 9, "name": "щ" * 100_000}},
        {"sa": None},
        {"source": {"realId": "555", "saId": 5, "type": ["comment"]}},
        {"message": {"text": "щ" * 900_000}},
        {"message": {"text": "x", "attachments": None}},
        {"message": {"text": "x", "attachments": []}, "incoming": "maybe"},
        {"customId": {"a": 1}},
    ],
)
def test_a_strange_detail_costs_the_detail_only(fields: dict[str, Any]) -> None:
    (found,) = read(message(**fields))
    assert found.kind == "text"
    assert found.text == fields.get("message", {"text": "Где мой заказ?"})["text"]
    assert (found.external_id, found.conversation) == ("m1", "1:5:555")
    assert len(found.sender.name or "") <= 200


def test_attachments_may_have_strange_details() -> None:
    odd = {"type": "photo", "url": "file:///etc/passwd", "text": 5, "filesize": "big", "duration": -1, "payload": 7}
    (found,) = read(message(message={"text": None, "attachments": [odd, {}]}))
    assert found.kind == "photo"
    assert [item.model_dump(exclude_defaults=True) for item in found.media] == [{"type": "photo", "ref": "m1/0"}]


def test_long_ids_stay_apart() -> None:
    long = "wamid." + "x" * 300
    (first,), (second,), (again,) = (read(message(messageId=long + end)) for end in ("a", "b", "a"))
    assert first.external_id != second.external_id
    assert first.external_id == again.external_id
    assert len(first.external_id) <= 200
    (far,) = read({**message(source={"realId": "5" * 900}), "accountId": "1" * 900})
    assert len(far.conversation) <= 200
    assert far.address["source"] == "5" * 900


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def names(value: object) -> set[str]:
    """Every member's name, at any depth."""
    if isinstance(value, dict):
        return set(value) | names(list(value.values()))
    return set().union(*map(names, value)) if isinstance(value, list) else set()


HOLDERS = ((), ("message",), ("message", "message"), ("message", "sender"), ("message", "source"))
PLACES = [(*holder, name) for holder in HOLDERS for name in sorted(names([load(name) for name in EXPECTED]))]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(EXPECTED)), st.dictionaries(st.sampled_from(PLACES), JSON, max_size=4))
def test_any_member_may_be_anything(name: str, changes: dict[tuple[str, ...], Any]) -> None:
    event = load(name)
    for (*path, last), value in changes.items():
        target: Any = event
        for step in path:
            target = target.get(step) if isinstance(target, dict) else None
        if isinstance(target, dict):
            target[last] = value
    try:
        found = read(event)
    except Unreadable:
        return
    for item in found:
        item.model_dump_json().encode()
        assert "\x00" not in item.text
