"""What the page posts, and the envelopes it becomes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from ingress.channels.widget.normalise import WidgetMessage, language, normalise

PAYLOADS = sorted((Path(__file__).parent / "payloads").glob("*.json"))
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
def test_normalise(path):
    case = json.loads(path.read_text(encoding="utf-8"))
    body = WidgetMessage.model_validate(case["body"])
    envelope = normalise(
        body, site="shop", conversation="k" * 64, locale=language(body.locale), message_id="generated", now=NOW
    )
    assert (envelope.external_id, envelope.text) == (case["expect"]["external_id"], case["expect"]["text"])
    assert (envelope.sender.id, envelope.sender.locale) == ("k" * 64, case["expect"]["locale"])
    assert (envelope.channel, envelope.account, envelope.conversation) == ("widget", "shop", "k" * 64)
    assert (envelope.id, envelope.received_at) == ("generated", NOW)
    assert (envelope.kind, envelope.data) == (case["expect"].get("kind", "text"), case["expect"].get("data"))


@pytest.mark.parametrize("id_", ["", "x" * 101, "a b", "a/b", "\0"])
def test_an_id_no_page_makes_is_refused(id_):
    with pytest.raises(ValidationError):
        WidgetMessage(id=id_, text="hi")


@pytest.mark.parametrize(
    ("wishes", "chosen"),
    [
        (("ru", "en"), "ru"),
        ((None, "ru-RU,ru;q=0.9,en;q=0.8"), "ru-RU"),
        (("", "en;q=0.5"), "en"),
        (("*", None), None),
        (("x" * 40, "fr"), "fr"),
        ((), None),
    ],
)
def test_language(wishes, chosen):
    assert language(*wishes) == chosen
