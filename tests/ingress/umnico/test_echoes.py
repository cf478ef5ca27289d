"""What the engine sent comes back as an outgoing message: it leaves nothing, and a person's is kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from ingress.channels.umnico.normalise import normalise
from ingress.channels.umnico.routes import is_echo
from ragline.clock import utcnow
from storage import inbox
from storage.models import Conversation, Outbox, Turn
from storage.session import Database
from tests.ingress.umnico.world import BOT, SECRET, World, accepted, incoming, outgoing, world


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as found:
        yield found


NOW, LATELY, EARLIER = timedelta(0), timedelta(minutes=1), timedelta(minutes=5)


def dated(fields: dict[str, Any]) -> dict[str, Any]:
    """The ages among ``fields`` as times."""
    return {name: utcnow() - value if isinstance(value, timedelta) else value for name, value in fields.items()}


@pytest.mark.parametrize(
    ("row", "event"),
    [
        ({"sent_at": EARLIER}, {"customId": True, "text": "rewritten by the messenger"}),
        ({"sent_at": EARLIER, "status": "failed"}, {"customId": True}),
        ({"sent_at": EARLIER}, {"user": BOT}),
        ({"sent_at": EARLIER}, {"user": BOT, "text": "of another process"}),
        ({"sent_at": EARLIER, "external_id": "echo"}, {"text": "rewritten by the messenger"}),
        ({"sent_at": LATELY}, {}),
        ({"sent_at": LATELY}, {"text": "  Your parcel\nis on its way "}),
        ({"sent_at": EARLIER}, {"datetime": EARLIER}),
        ({"sent_at": None, "status": "sending", "due_at": NOW}, {}),
        ({"sent_at": None, "status": "ambiguous", "due_at": NOW}, {}),
        ({"sent_at": None, "status": "pending", "resent": True, "due_at": NOW}, {}),
    ],
)
def test_an_own_echo_leaves_nothing(fresh: World, row: dict[str, Any], event: dict[str, Any]) -> None:
    accepted(fresh, incoming("1"))
    sent = fresh.wrote(fresh.messages()[0], "Your parcel is on its way", **dated(row))
    before, fields = fresh.stored(), {"user": None, "text": "Your parcel is on its way", **dated(event)}
    if fields.pop("customId", False):
        fields["customId"] = sent.id
    accepted(fresh, outgoing("echo", **fields))
    assert fresh.stored() == before


@pytest.mark.parametrize(
    ("row", "event"),
    [
        ({"sent_at": EARLIER}, {}),
        ({"sent_at": LATELY}, {"text": "Your parcel is lost"}),
        ({"sent_at": LATELY}, {"source": "556"}),
        ({"sent_at": LATELY}, {"text": "another", "customId": "of another integration"}),
        ({"sent_at": None, "status": "pending", "due_at": NOW}, {}),
        ({"sent_at": None, "status": "failed", "due_at": NOW}, {}),
        ({"sent_at": None, "status": "ambiguous", "due_at": EARLIER}, {}),
        ({"sent_at": LATELY}, {"text": "another", "datetime": "9999-12-31T23:59:59Z"}),
        ({"sent_at": LATELY}, {"text": "another", "datetime": "0001-01-01T00:00:00+14:00"}),
    ],
)
def test_what_only_looks_like_an_echo_is_a_persons(fresh: World, row: dict[str, Any], event: dict[str, Any]) -> None:
    accepted(fresh, incoming("1"))
    fresh.wrote(fresh.messages()[0], "Your parcel is on its way", **dated(row))
    accepted(fresh, outgoing("2", **{"user": None, "text": "Your parcel is on its way", **event}))
    assert [item.kind for item in fresh.messages()] == ["text", "outgoing"]


def test_echoes_are_looked_up_in_their_own_account(tmp_path: Path) -> None:
    with world(
        tmp_path,
        RAGLINE__CHANNELS__UMNICO__SECOND__TOKEN="t2",
        RAGLINE__CHANNELS__UMNICO__SECOND__USER_ID="7",
        RAGLINE__CHANNELS__UMNICO__SECOND__WEBHOOK_SECRET="another_secret_of_the_second",
    ) as two:
        accepted(two, incoming("1"))
        row = two.wrote(two.messages()[0], "Your parcel is on its way")
        second = "/umnico/second/another_secret_of_the_second/webhook"
        echo = outgoing("2", "Your parcel is on its way", user=None, customId=row.id)
        assert two.post(second, json=echo).status_code == 200
        assert two.post(f"/umnico/second/{SECRET}/webhook", json=echo).status_code == 403
        accepted(two, echo)
        assert [(item.account, item.kind) for item in two.messages()] == [("default", "text"), ("second", "outgoing")]


def test_the_look_up_is_the_same_on_every_database(database: Database) -> None:
    now = utcnow()

    def read(event: dict[str, Any]) -> Any:
        (found,) = normalise(event, account_name="default", bot_user_id=BOT, received_at=now)
        return found

    with database.write() as session:
        inbox.accept(session.connection(), [read(incoming("1"))], now)
        conversation = session.exec(select(Conversation)).one()
        turn = Turn(conversation_id=conversation.id, status="answered")
        session.add(turn)
        session.flush()
        fields: dict[str, Any] = {"turn_id": turn.id, "conversation_id": conversation.id, "kind": "answer"}
        session.add(Outbox(**fields, part=0, body={"text": "sent"}, status="sent", sent_at=now, external_id="e"))
        session.add(Outbox(**fields, part=1, body={"text": "again"}, status="pending", resent=True))
        session.add(Outbox(**fields, part=2, body={"text": "waiting"}, status="pending"))
    with database.read() as session:
        texts = ("sent", "again", "waiting", "said by a person")
        found = [is_echo(session, read(outgoing("2", text, user=None)), None) for text in texts]
        by_id = is_echo(session, read(outgoing("e", "said by a person", user=None)), None)
    assert (found, by_id) == ([True, True, False, False], True)
