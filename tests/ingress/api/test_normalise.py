"""Bodies of the JSON channel, and the envelopes they become."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from ingress.channels.api.normalise import ApiMessage, normalise

PAYLOADS = sorted((Path(__file__).parent / "payloads").glob("*.json"))
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
def test_normalise(path):
    case = json.loads(path.read_text(encoding="utf-8"))
    envelope = normalise(ApiMessage.model_validate(case["body"]), account="shop", message_id="generated", now=NOW)
    found = envelope.model_dump(mode="json")
    assert {name: found[name] for name in case["expect"]} == case["expect"]
    assert (envelope.id, envelope.channel, envelope.account, envelope.kind) == ("generated", "api", "shop", "text")
    assert (envelope.address, envelope.received_at) == ({}, NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": " \n"},
        {"text": "x" * 20_001},
        {"text": 5},
        {"conversation": ""},
        {"conversation": "x" * 201},
        {"id": ""},
        {"sender": {"id": ""}},
        {"sender": {"id": "u", "phone": "1"}},
        {"attachment": "x"},
    ],
    ids=str,
)
def test_what_is_no_message_is_refused(wrong):
    with pytest.raises(ValidationError):
        ApiMessage.model_validate({"conversation": "c", "text": "hi", **wrong})


def test_the_longest_text_is_taken():
    assert len(ApiMessage(conversation="c", text="я" * 20_000).text) == 20_000
