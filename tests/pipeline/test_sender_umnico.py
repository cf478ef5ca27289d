"""The sender against an Umnico account on a real socket: what arrives, and which error says what."""

from __future__ import annotations

import logging
import pickle
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.errors import AmbiguousSend, FloodWait, NotSent, SendRefused, Undeliverable
from pipeline.senders import make_sender, umnico_api
from pipeline.senders.base import Outgoing
from pipeline.senders.umnico import UmnicoSender, register_webhook
from ragline.channels import UmnicoAccount
from ragline.clock import utcnow
from ragline.errors import PermanentError, RaglineError, TransientError
from ragline.ids import new_id
from ragline.settings import Settings, load_settings
from tests.support import faults
from tests.support.fake_umnico import TOKEN, FakeUmnico

BOT = 502
SECRET = "a_secret-of_32_characters_in_all"
HOOK = f"https://support.example/umnico/default/{SECRET}/webhook"


@pytest.fixture(scope="module")
def server() -> Iterator[FakeUmnico]:
    with FakeUmnico() as found:
        yield found


@pytest.fixture
def umnico(server: FakeUmnico) -> FakeUmnico:
    """An account with a customer at WhatsApp (lead 100) and one at Telegram (lead 200) with the same source."""
    server.reset()
    server.leads.clear()
    server.hooks.clear()
    server.sources_envelope = None
    server.echo_custom_id = 0.5
    server.customer_writes(100, "hi", sa=5, source="555")
    server.customer_writes(200, "hi", sa=6, source="555")
    return server


def make(base: str, **environ: str) -> UmnicoSender:
    environ = {"UMNICO_API_TOKEN": TOKEN, "UMNICO_USER_ID": str(BOT), "UMNICO_API_BASE": base, **environ}
    found = make_sender("umnico", "default", load_settings(environ))
    assert isinstance(found, UmnicoSender)
    return found


@pytest.fixture
def sender(umnico: FakeUmnico, monkeypatch: pytest.MonkeyPatch) -> Iterator[UmnicoSender]:
    monkeypatch.setattr(umnico_api, "CALLS_PER_SECOND", 1000)
    found = make(umnico.api_url)
    yield found
    found.close()


def outgoing(text: str = "hello", *, key: str = "", reply_to: str | None = None, **address: Any) -> Outgoing:
    where = {"lead": 100, "source": "555", "sa": 5, "type": "whatsapp2", "source_type": "message", **address}
    where = {name: value for name, value in where.items() if value is not None}
    return Outgoing(key=key or new_id(), conversation="1:5:555", address=where, body={"text": text}, reply_to=reply_to)


def methods(umnico: FakeUmnico) -> list[str]:
    return [call.method for call in umnico.calls]


def refused(sender: UmnicoSender, message: Outgoing | None = None) -> RaglineError:
    """The error a send ends with, which tells neither the token nor the words."""
    with pytest.raises(RaglineError) as caught:
        sender.send(message or outgoing())
    shown = "".join(traceback.format_exception(caught.value))
    assert TOKEN not in shown
    assert "hello" not in str(caught.value)
    assert type(pickle.loads(pickle.dumps(caught.value))) is type(caught.value)
    return caught.value


# Sending


def test_a_message_goes_to_its_lead_and_source(umnico: FakeUmnico, sender: UmnicoSender) -> None:
    first, second = outgoing("one"), outgoing("two", lead="200", sa=6)
    numbers = [sender.send(first), sender.send(second)]
    assert [(item.lead, item.saId, item.source, item.text) for item in umnico.sent] == [
        (100, 5, "555", "one"),
        (200, 6, "555", "two"),
    ]
    assert [item.messageId for item in umnico.sent] == numbers
    assert [item.customId for item in umnico.sent] == [first.key, second.key]
    assert {item.userId for item in umnico.sent} == {BOT}
    assert {item.replyId for item in umnico.sent} == {None}


def test_an_answer_to_a_comment_shows_whom_it_is_for(umnico: FakeUmnico, sender: UmnicoSender) -> None:
    sender.send(outgoing(reply_to="m7", source_type="comment"))
    sender.send(outgoing(reply_to="m7"))
    sender.send(outgoing(reply_to="m7", source_type="comment").model_copy(update={"part": 1}))
    assert [item.replyId for item in umnico.sent] == ["m7", None, None]


@pytest.mark.parametrize(
    ("fault", "expected", "arrived"),
    [
        (faults.status(500), NotSent, 0),
        (faults.status(503, retry_after=7), NotSent, 0),
        (faults.html(502), NotSent, 0),
        (faults.status(408), NotSent, 0),
        (faults.reset(after=True), AmbiguousSend, 1),
        (faults.reset(after=False), AmbiguousSend, 0),
        (faults.broken("html"), AmbiguousSend, 1),
        (faults.status(400, "hello is no message"), SendRefused, 0),
        (faults.status(401, "Unauthorized"), SendRefused, 0),
        (faults.html(403), SendRefused, 0),
        (faults.status(413), SendRefused, 0),
        (faults.status(422, "userId is required"), SendRefused, 0),
        (faults.status(301, headers={"Location": "http://127.0.0.1:9/"}), SendRefused, 0),
    ],
)
def test_the_error_says_what_became_of_the_message(
    umnico: FakeUmnico, sender: UmnicoSender, fault: faults.Fault, expected: type[RaglineError], arrived: int
) -> None:
    umnico.faults.add(fault, "send", times=None)
    error = refused(sender)
    assert type(error) is expected
    assert getattr(error, "retry_after", None) == fault.retry_after
    assert len(umnico.sent) == arrived
    assert methods(umnico) == ["send"], "nothing was tried twice"
    umnico.faults.clear()
    assert sender.send(outgoing()) is not None


def test_a_refused_token_is_named(umnico: FakeUmnico) -> None:
    sender = make(umnico.api_url, UMNICO_API_TOKEN="revoked")
    assert "UMNICO_API_TOKEN" in str(refused(sender))
    sender.close()


def test_what_is_wrong_is_told(umnico: FakeUmnico) -> None:
    sender = make(umnico.api_url, UMNICO_USER_ID="999")
    error = refused(sender)
    assert type(error) is SendRefused
    assert "userId is required" in str(error)
    sender.close()


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (faults.too_many(7), (7, 7)),
        (faults.status(429), (5, 5)),
        (faults.html(429), (5, 5)),
        (faults.status(429, headers={"Retry-After": "soon"}), (5, 5)),
        (faults.status(429, headers={"Retry-After": "-1"}), (5, 5)),
        (faults.status(429, headers={"Retry-After": "inf"}), (5, 5)),
        (faults.status(429, headers={"Retry-After": "1e9"}), (3600, 3600)),
        (faults.status(429, headers={"Retry-After": format_datetime(utcnow() + timedelta(hours=1))}), (1, 3600)),
    ],
)
def test_a_flood_wait_is_the_accounts(
    umnico: FakeUmnico, sender: UmnicoSender, fault: faults.Fault, seconds: tuple[float, float]
) -> None:
    umnico.faults.add(fault, "send")
    error = refused(sender)
    assert isinstance(error, FloodWait)
    assert seconds[0] <= (error.retry_after or 0) <= seconds[1]
    assert error.scope == "account"


@pytest.mark.parametrize("fault", [faults.broken("json"), faults.broken("empty"), faults.cut()])
def test_a_success_that_cannot_be_read_was_sent(umnico: FakeUmnico, sender: UmnicoSender, fault: faults.Fault) -> None:
    umnico.faults.add(fault, "send")
    assert sender.send(outgoing()) is None
    assert len(umnico.sent) == 1


@pytest.mark.parametrize(
    ("body", "number"),
    [
        ({"messageId": 17}, "17"),
        ({"id": "x"}, "x"),
        ({"message": {"messageId": "m"}}, "m"),
        ({"data": {"id": 5}}, "5"),
        ({"success": True}, None),
        ({"message": "sent", "messageId": "y" * 300}, None),
        ("[]", None),
        ("ok", None),
    ],
)
def test_the_messages_id_is_taken_where_it_stands(
    umnico: FakeUmnico, sender: UmnicoSender, body: Any, number: str | None
) -> None:
    umnico.faults.add(faults.status(200, body=body, after=True), "send")
    assert sender.send(outgoing()) == number


@pytest.mark.parametrize("envelope", ["list", "data", "sources"])
def test_a_source_that_changed_is_found_again(umnico: FakeUmnico, sender: UmnicoSender, envelope: Any) -> None:
    umnico.sources_envelope = envelope
    assert sender.send(outgoing(source="1"))
    assert sender.send(outgoing(source=None))
    assert [(item.lead, item.source) for item in umnico.sent] == [(100, "555")] * 2
    assert methods(umnico) == ["send", "sources", "send", "sources", "send"]


@pytest.mark.parametrize(
    ("address", "calls"),
    [
        ({}, ["send", "sources"]),
        ({"lead": 999}, ["send", "sources"]),
        ({"source": "1", "sa": 6}, ["send", "sources"]),
        ({"source": "1", "source_type": "comment"}, ["send", "sources"]),
        ({"source": None, "lead": 999}, ["sources"]),
    ],
)
def test_who_cannot_be_reached_is_undeliverable(
    umnico: FakeUmnico, sender: UmnicoSender, address: dict[str, Any], calls: list[str]
) -> None:
    if not address:  # its source is the present one, and is refused all the same
        umnico.faults.add(faults.status(404), "send")
    assert type(refused(sender, outgoing(**address))) is Undeliverable
    assert methods(umnico) == calls
    assert umnico.sent == []


def test_a_present_source_that_is_gone_too_is_undeliverable(umnico: FakeUmnico, sender: UmnicoSender) -> None:
    umnico.faults.add(faults.status(404), "send", times=2)
    assert type(refused(sender, outgoing(source="1"))) is Undeliverable
    assert methods(umnico) == ["send", "sources", "send"]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.reset(), NotSent),
        (faults.status(502), NotSent),
        (faults.too_many(3), FloodWait),
        (faults.status(401), SendRefused),
        (faults.status(404), Undeliverable),
        (faults.broken("html"), Undeliverable),
    ],
)
def test_a_failed_search_for_the_source_sent_nothing(
    umnico: FakeUmnico, sender: UmnicoSender, fault: faults.Fault, expected: type[RaglineError]
) -> None:
    umnico.faults.add(fault, "sources")
    assert type(refused(sender, outgoing(source="1"))) is expected
    assert umnico.sent == []


@pytest.mark.parametrize("address", [{"lead": None}, {"lead": ""}, {"lead": {}}, {"lead": True}])
def test_an_incomplete_address_is_refused(umnico: FakeUmnico, sender: UmnicoSender, address: dict[str, Any]) -> None:
    assert type(refused(sender, outgoing(**address))) is SendRefused
    assert type(refused(sender, outgoing("  "))) is SendRefused
    assert umnico.calls == []


def test_a_lead_cannot_lead_elsewhere(umnico: FakeUmnico, sender: UmnicoSender) -> None:
    assert type(refused(sender, outgoing(lead="../webhooks"))) is Undeliverable
    assert umnico.sent == []


def test_nothing_listening_is_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for base in (f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port}", "http://nowhere.invalid"):
        sender = make(base)
        assert type(refused(sender)) is NotSent
        sender.close()


def test_a_server_without_tls_is_not_sent(umnico: FakeUmnico) -> None:
    sender = make(umnico.api_url.replace("http:", "https:"))
    assert type(refused(sender)) is NotSent
    assert umnico.sent == []
    sender.close()


def unmakeable(token: str, base: str) -> None:
    sender = UmnicoSender("default", UmnicoAccount(token=SecretStr(token), api_base=base, user_id=BOT), Settings())
    error = refused(sender)
    assert type(error) is SendRefused
    assert token not in str(error)
    assert sender.already_sent(outgoing()) is None
    assert type(refused(sender, outgoing(source=None))) is SendRefused
    sender.close()


@pytest.mark.parametrize("base", ["", "ftp://127.0.0.1", "nonsense", "http://127.0.0.1:notaport"])
def test_an_address_that_is_none_is_refused(base: str) -> None:
    unmakeable(TOKEN, base)


@pytest.mark.parametrize("token", ["жетон", "two\nlines"])
def test_a_token_that_is_none_is_refused(umnico: FakeUmnico, token: str) -> None:
    unmakeable(token, umnico.api_url)
    assert umnico.calls == []


def test_silence_after_writing_is_ambiguous(umnico: FakeUmnico, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(umnico_api, "TIMEOUT", 0.3)
    sender = make(umnico.api_url)
    umnico.faults.add(faults.hang(5, after=True), "send")
    began = time.monotonic()
    assert type(refused(sender)) is AmbiguousSend
    assert time.monotonic() - began < 3
    assert len(umnico.sent) == 1
    sender.close()


def test_threads_share_one_sender(umnico: FakeUmnico, sender: UmnicoSender) -> None:
    threads = [threading.Thread(target=sender.send, args=(outgoing(f"n{n}"),)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(item.text for item in umnico.sent) == sorted(f"n{n}" for n in range(20))


def test_an_account_is_called_five_times_a_second_at_most(umnico: FakeUmnico) -> None:
    sender = make(umnico.api_url)
    threads = [threading.Thread(target=sender.send, args=(outgoing(),)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    at = sorted(call.at for call in umnico.calls)
    assert len(at) == 12
    assert all(later - earlier > 0.9 for earlier, later in zip(at, at[5:], strict=False))
    assert at[-1] - at[0] < 6
    sender.close()


def test_it_can_be_used_again_after_close(umnico: FakeUmnico, sender: UmnicoSender) -> None:
    sender.send(outgoing())
    sender.close()
    sender.close()
    assert sender.send(outgoing())


def test_nobody_is_shown_typing(umnico: FakeUmnico, sender: UmnicoSender) -> None:
    with sender.working({}):
        pass
    assert umnico.calls == []


def test_the_token_is_not_logged(
    umnico: FakeUmnico, sender: UmnicoSender, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    umnico.faults.add(faults.status(401), "send")
    refused(sender)
    sender.send(outgoing())
    assert TOKEN not in caplog.text + "".join(capfd.readouterr())


# Whether it arrived


@pytest.mark.parametrize("echo", [0.0, 1.0])
def test_what_arrived_is_found_in_the_history(umnico: FakeUmnico, sender: UmnicoSender, echo: float) -> None:
    umnico.echo_custom_id = echo
    lost, arrived = outgoing("never"), outgoing("hello\n there ")
    umnico.faults.add(faults.reset(after=False), "send")
    umnico.faults.add(faults.reset(after=True), "send")
    refused(sender, lost)
    refused(sender, arrived)
    assert sender.already_sent(lost) is False
    assert sender.already_sent(arrived) is True
    assert sender.already_sent(arrived.model_copy(update={"key": new_id()})) is (echo == 0)
    for number in range(45):
        umnico.customer_writes(100, f"m{number}")
    assert sender.already_sent(arrived) is True, "further back"


def test_what_others_wrote_is_not_ours(umnico: FakeUmnico, sender: UmnicoSender) -> None:
    umnico.echo_custom_id = 0.0
    sender.send(outgoing("an earlier answer"))
    umnico.leads[100].messages[-1]["datetime"] = "2026-01-01T10:00:00.000Z"
    message = outgoing("an earlier answer")
    assert sender.already_sent(message) is False
    umnico.customer_writes(100, "an earlier answer")
    umnico.manager_writes(100, "an earlier answer")
    umnico.manager_writes(100, "an earlier answer", user_id=BOT, customId="of another row")
    assert sender.already_sent(message) is False
    umnico.manager_writes(100, "an earlier answer", user_id=BOT)
    assert sender.already_sent(message) is True


def test_a_row_without_a_time_is_known_by_its_id_alone(umnico: FakeUmnico, sender: UmnicoSender) -> None:
    umnico.echo_custom_id = 1.0
    sender.send(outgoing("words", key="k1"))
    assert sender.already_sent(outgoing("words", key="k1")) is True
    assert sender.already_sent(outgoing("words", key="k2")) is False
    for number in range(200):
        umnico.customer_writes(100, f"m{number}")
    assert sender.already_sent(outgoing("words", key="k2")) is None, "not looked at to the end"


@pytest.mark.parametrize(
    "fault",
    [
        faults.reset(),
        faults.status(500),
        faults.too_many(1),
        faults.status(404),
        faults.broken("json"),
        faults.broken("html"),
        faults.status(200, body={"messages": None}),
        faults.status(200, body="[]"),
    ],
)
def test_a_history_that_cannot_be_read_tells_nothing(
    umnico: FakeUmnico, sender: UmnicoSender, fault: faults.Fault
) -> None:
    umnico.faults.add(fault, "history")
    assert sender.already_sent(outgoing()) is None
    assert sender.already_sent(outgoing(source=None)) is None
    assert sender.already_sent(outgoing(lead=None)) is None


# Text


def test_parts_fit_every_messenger_unless_it_is_known(sender: UmnicoSender) -> None:
    text = "слово " * 1500
    for messenger, limit in ((None, 1000), ("instagramV3", 1000), ("waba", 4096)):
        parts = sender.split(text, {"type": messenger})
        assert max(len(part["text"]) for part in parts) <= limit
        assert max(len(part["text"]) for part in parts) > limit * 0.9
    assert sender.split("**hello**", {}) == [{"text": "hello"}]
    assert sender.split(" ", {}) == []


# Webhooks


def account(umnico: FakeUmnico, token: str = TOKEN) -> UmnicoAccount:
    return UmnicoAccount(token=SecretStr(token), api_base=umnico.api_url, user_id=BOT)


def test_a_webhook_is_made_once_and_switched_on_again(umnico: FakeUmnico) -> None:
    umnico.add_hook("https://elsewhere.example/hook")
    said = [register_webhook(account(umnico), HOOK)]
    (hook,) = (hook for hook in umnico.hooks.values() if hook.url == HOOK)
    assert (hook.status, hook.name) == (1, "Ragline")
    said.append(register_webhook(account(umnico), HOOK))
    hook.status = 0
    said.append(register_webhook(account(umnico), HOOK))
    assert (hook.status, len(umnico.hooks)) == (1, 2)
    assert said == ["the webhook is made", "the webhook is there and on", "the webhook was off and is on again"]


def test_a_webhook_with_an_old_secret_is_mentioned(umnico: FakeUmnico) -> None:
    old = "https://support.example/umnico/default/an_old_secret_of_this_address/webhook"
    umnico.add_hook(old)
    said = register_webhook(account(umnico), HOOK)
    assert said == "the webhook is made; 1 with an old secret can be removed in Umnico"


@pytest.mark.parametrize(
    ("fault", "expected", "says"),
    [
        (faults.status(401), PermanentError, "UMNICO_API_TOKEN"),
        (faults.status(422, f"{HOOK} is no address"), PermanentError, "ten webhooks"),
        (faults.status(422, f"bad url {HOOK}?x"), PermanentError, "422"),
        (faults.status(500), TransientError, "later"),
        (faults.too_many(3), TransientError, "429"),
        (faults.reset(), TransientError, "does not answer"),
        (faults.broken("html"), PermanentError, "UMNICO_API_BASE"),
    ],
)
def test_a_failed_registration_says_what_to_do(
    umnico: FakeUmnico, fault: faults.Fault, expected: type[RaglineError], says: str
) -> None:
    umnico.faults.add(fault, "webhooks")
    with pytest.raises(expected) as caught:
        register_webhook(account(umnico), HOOK)
    shown = "".join(traceback.format_exception(caught.value))
    assert says in shown
    assert SECRET not in str(caught.value)
    assert TOKEN not in shown


def test_a_full_account_is_told(umnico: FakeUmnico) -> None:
    for number in range(10):
        umnico.add_hook(f"https://elsewhere.example/{number}")
    with pytest.raises(PermanentError, match="ten webhooks"):
        register_webhook(account(umnico), HOOK)
