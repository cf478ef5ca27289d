"""The sender against a Bot API on a real socket: what arrives, and which error says what."""

from __future__ import annotations

import pickle
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.errors import AmbiguousSend, FloodWait, NotSent, SendRefused, Undeliverable
from pipeline.senders import make_sender, telegram_bot
from pipeline.senders.base import Outgoing
from pipeline.senders.telegram import TelegramSender
from ragline.channels import TelegramAccount
from ragline.errors import RaglineError
from ragline.settings import Settings, load_settings
from tests.support import faults
from tests.support.fake_telegram import TOKEN, FakeTelegram

GROUP = -1001234567890


def settings_for(url: str) -> Settings:
    return load_settings({"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_API_BASE": url})


@pytest.fixture(scope="module")
def server() -> Iterator[FakeTelegram]:
    with FakeTelegram() as found:
        yield found


@pytest.fixture
def telegram(server: FakeTelegram) -> FakeTelegram:
    server.reset()
    return server


@pytest.fixture(scope="module")
def sender(server: FakeTelegram) -> Iterator[TelegramSender]:
    found = make_sender("telegram", "default", settings_for(server.url))
    assert isinstance(found, TelegramSender)
    yield found
    found.close()


def outgoing(text: str = "hello", *, reply_to: str | None = None, part: int = 0, **address: Any) -> Outgoing:
    body = {"text": text, "entities": [{"type": "bold", "offset": 0, "length": 5}]}
    where = {"chat_id": 42, **address}
    return Outgoing(key="k", conversation="42", address=where, body=body, part=part, reply_to=reply_to)


def refused(sender: TelegramSender, message: Outgoing | None = None) -> RaglineError:
    """The error a send ends with, which never tells the token."""
    with pytest.raises(RaglineError) as caught:
        sender.send(message or outgoing())
    shown = "".join(traceback.format_exception(caught.value))
    assert TOKEN not in shown
    assert TOKEN.partition(":")[2] not in shown
    assert type(pickle.loads(pickle.dumps(caught.value))) is type(caught.value)
    return caught.value


def test_a_message_arrives_with_its_entities(telegram: FakeTelegram, sender: TelegramSender) -> None:
    number = sender.send(outgoing())
    (sent,) = telegram.sent
    assert number == str(sent.message_id)
    assert (sent.chat_id, sent.text, sent.parse_mode) == (42, "hello", None)
    assert sent.entities == [{"type": "bold", "offset": 0, "length": 5}]
    assert telegram.calls[-1].params["link_preview_options"] == '{"is_disabled": true}'
    assert not {"message_thread_id", "business_connection_id", "reply_parameters"} & set(telegram.calls[-1].params)


def test_topics_and_business_chats_are_answered_where_they_are(telegram: FakeTelegram, sender: TelegramSender) -> None:
    sender.send(outgoing(thread_id=7, business_connection_id="bc"))
    sender.send(outgoing(direct_topic_id=9))
    first, second = (call.params for call in telegram.calls)
    assert (first["message_thread_id"], first["business_connection_id"]) == ("7", "bc")
    assert second["direct_messages_topic_id"] == "9"


def test_a_reply_is_shown_as_one_in_groups_only(telegram: FakeTelegram, sender: TelegramSender) -> None:
    asked = telegram.push({"message": {"message_id": 51, "date": 1, "chat": {"id": GROUP, "type": "supergroup"}}})
    sender.send(outgoing(chat_id=GROUP, reply_to="51"))
    sender.send(outgoing(chat_id=GROUP, reply_to="99"))
    sender.send(outgoing(chat_id=GROUP, reply_to=None).model_copy(update={"reply_to": "51", "part": 1}))
    sender.send(outgoing(reply_to="51"))
    replies = [sent.reply_parameters for sent in telegram.sent]
    assert asked["message"]["message_id"] == 51
    assert [reply and reply["message_id"] for reply in replies] == [51, 99, None, None]
    assert all(reply["allow_sending_without_reply"] for reply in replies if reply)


@pytest.mark.parametrize(
    ("fault", "expected", "arrived"),
    [
        (faults.status(500), NotSent, 0),
        (faults.status(503, body={"ok": False, "error_code": 503}), NotSent, 0),
        (faults.html(502), NotSent, 0),
        (faults.html(403), NotSent, 0),
        (faults.status(404, body={"detail": "Not Found"}), NotSent, 0),
        (faults.reset(after=True), AmbiguousSend, 1),
        (faults.reset(after=False), AmbiguousSend, 0),
        (faults.cut(), AmbiguousSend, 1),
        (faults.broken("html"), AmbiguousSend, 1),
        (faults.broken("empty"), AmbiguousSend, 1),
        (faults.status(403), Undeliverable, 0),
        (faults.status(403, "Forbidden: user is deactivated"), Undeliverable, 0),
        (faults.status(400, "Bad Request: chat not found"), Undeliverable, 0),
        (faults.status(400, "Bad Request: PEER_ID_INVALID"), Undeliverable, 0),
        (faults.status(400, "Bad Request: message text is empty"), SendRefused, 0),
        (faults.status(400, "Bad Request: SOMETHING_NEW"), SendRefused, 0),
        (faults.status(401), SendRefused, 0),
        (faults.status(404), SendRefused, 0),
        (faults.status(409, "Conflict"), SendRefused, 0),
        (faults.status(413), SendRefused, 0),
        (faults.status(200, body={"ok": False, "description": "odd"}), SendRefused, 0),
    ],
)
def test_the_error_says_what_became_of_the_message(
    telegram: FakeTelegram, sender: TelegramSender, fault: faults.Fault, expected: type[RaglineError], arrived: int
) -> None:
    telegram.faults.add(fault, "sendMessage", times=None)
    assert type(refused(sender)) is expected
    assert len(telegram.sent) == arrived
    assert [call.method for call in telegram.calls] == ["sendMessage"], "nothing was tried twice"
    telegram.faults.clear()
    assert sender.send(outgoing()) is not None


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (faults.too_many(7), 7.0),
        (faults.status(429, body={"ok": False, "error_code": 429, "description": "Too Many Requests"}), 5.0),
        (faults.html(429), 5.0),
    ],
)
def test_a_flood_wait_names_the_time(
    telegram: FakeTelegram, sender: TelegramSender, fault: faults.Fault, seconds: float
) -> None:
    telegram.faults.add(fault, "sendMessage")
    error = refused(sender)
    assert isinstance(error, FloodWait)
    assert (error.retry_after, error.scope) == (seconds, "chat")


@pytest.mark.parametrize("shape", ["result", "json"])
def test_a_result_that_cannot_be_read_was_sent(telegram: FakeTelegram, sender: TelegramSender, shape: str) -> None:
    telegram.faults.add(faults.broken(shape), "sendMessage")
    assert sender.send(outgoing()) == {"result": "1", "json": None}[shape]
    assert len(telegram.sent) == 1


def test_refused_markup_goes_as_plain_text(telegram: FakeTelegram, sender: TelegramSender) -> None:
    telegram.faults.add(faults.status(400, "Bad Request: can't parse entities: unexpected end"), "sendMessage")
    assert sender.send(outgoing())
    assert [(sent.text, sent.entities) for sent in telegram.sent] == [("hello", [])]


def test_a_closed_topic_is_left(telegram: FakeTelegram, sender: TelegramSender) -> None:
    telegram.faults.add(faults.status(400, "Bad Request: message thread not found"), "sendMessage")
    assert sender.send(outgoing(thread_id=7))
    assert [sent.message_thread_id for sent in telegram.sent] == [None]


def test_a_group_that_moved_is_followed(telegram: FakeTelegram, sender: TelegramSender) -> None:
    text = "Bad Request: group chat was upgraded to a supergroup chat"
    moved = faults.status(400, text, parameters={"migrate_to_chat_id": GROUP})
    telegram.faults.add(moved, "sendMessage", chat=-4001)
    assert sender.send(outgoing(chat_id=-4001))
    assert [sent.chat_id for sent in telegram.sent] == [GROUP]


@pytest.mark.parametrize(
    "fault",
    [
        faults.status(400, "Bad Request: can't parse entities: again"),
        faults.status(400, "Bad Request: message thread not found"),
        faults.status(400, "Bad Request: moved", parameters={"migrate_to_chat_id": 43}),
    ],
)
def test_each_remedy_is_tried_once(telegram: FakeTelegram, sender: TelegramSender, fault: faults.Fault) -> None:
    telegram.faults.add(fault, "sendMessage", times=None)
    assert isinstance(refused(sender, outgoing(thread_id=7)), SendRefused)
    assert len(telegram.calls) == 2


def test_nothing_listening_is_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for base in (f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port}", "http://nowhere.invalid"):
        sender = make_sender("telegram", "default", settings_for(base))
        assert isinstance(sender, TelegramSender)
        assert isinstance(refused(sender), NotSent)
        sender.close()


def test_a_server_without_tls_is_not_sent(telegram: FakeTelegram) -> None:
    sender = make_sender("telegram", "default", settings_for(telegram.url.replace("http:", "https:")))
    assert isinstance(sender, TelegramSender)
    assert isinstance(refused(sender), NotSent)
    assert telegram.sent == []
    sender.close()


@pytest.mark.parametrize("base", ["", "ftp://127.0.0.1", "nonsense", "http://127.0.0.1:notaport"])
def test_an_address_that_is_none_is_refused(base: str) -> None:
    account = TelegramAccount(token=SecretStr(TOKEN), api_base=base)
    sender = TelegramSender("default", account, Settings())
    assert isinstance(refused(sender), SendRefused)
    sender.close()


def test_a_token_that_is_none_is_refused(telegram: FakeTelegram) -> None:
    account = TelegramAccount(token=SecretStr("no token"), api_base=telegram.url)
    assert isinstance(refused(TelegramSender("default", account, Settings())), SendRefused)


def test_silence_after_writing_is_ambiguous(telegram: FakeTelegram, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telegram_bot, "TIMEOUT", 0.3)
    sender = make_sender("telegram", "default", settings_for(telegram.url))
    assert isinstance(sender, TelegramSender)
    telegram.faults.add(faults.hang(5, after=True), "sendMessage")
    began = time.monotonic()
    assert isinstance(refused(sender), AmbiguousSend)
    assert time.monotonic() - began < 3
    assert len(telegram.sent) == 1
    sender.close()


def test_a_connection_nobody_accepts_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full backlog: the handshake hangs, as it does behind a firewall that drops packets."""
    monkeypatch.setattr(telegram_bot, "CONNECT_TIMEOUT", 0.3)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(address)
            waiting.append(client)
        sender = make_sender("telegram", "default", settings_for(f"http://127.0.0.1:{address[1]}"))
        assert isinstance(sender, TelegramSender)
        assert isinstance(refused(sender), NotSent)
        sender.close()
        for client in waiting:
            client.close()


@pytest.mark.parametrize("address", [{}, {"chat_id": "42"}, {"chat_id": None}])
def test_an_incomplete_address_is_refused(sender: TelegramSender, address: dict[str, Any]) -> None:
    message = Outgoing(key="k", conversation="c", address=address, body={"text": "x"})
    assert isinstance(refused(sender, message), SendRefused)


def test_a_button_that_was_pressed_is_released(telegram: FakeTelegram, sender: TelegramSender) -> None:
    pressed = telegram.user_presses(42, "help:yes")["callback_query"]["id"]
    sender.send(outgoing(reply_to=f"c{pressed}"))
    telegram.wait_for(lambda: telegram.answered_callbacks, 5, "answered callback")
    assert telegram.answered_callbacks[0]["callback_query_id"] == pressed


def test_threads_share_one_sender(telegram: FakeTelegram, sender: TelegramSender) -> None:
    threads = [threading.Thread(target=sender.send, args=(outgoing(chat_id=100 + n),)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sent.chat_id for sent in telegram.sent) == [100 + n for n in range(20)]
    assert len([thread for thread in threading.enumerate() if thread.name == "telegram"]) == 1


def test_it_can_be_used_again_after_close(telegram: FakeTelegram, sender: TelegramSender) -> None:
    sender.send(outgoing())
    sender.close()
    sender.close()
    assert sender.send(outgoing())


def test_typing_is_shown_again_and_again_while_working(
    telegram: FakeTelegram, sender: TelegramSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.senders.telegram_progress.TYPING_DELAY", 0.0)
    monkeypatch.setattr("pipeline.senders.telegram_progress.TYPING_PERIOD", 0.1)
    with sender.working({"chat_id": 42, "thread_id": 7}):
        telegram.wait_for(lambda: len(telegram.chat_actions) >= 3, 5, "typing")
    shown = len(telegram.chat_actions)
    time.sleep(0.4)
    assert len(telegram.chat_actions) <= shown + 1
    assert telegram.chat_actions[0].action == "typing"
    assert telegram.calls[0].params["message_thread_id"] == "7"


def test_a_quick_answer_shows_no_typing(telegram: FakeTelegram, sender: TelegramSender) -> None:
    with sender.working({"chat_id": 42}):
        pass
    time.sleep(0.5)
    assert telegram.calls == []


def test_working_never_fails(telegram: FakeTelegram, sender: TelegramSender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.senders.telegram_progress.TYPING_DELAY", 0.0)
    telegram.faults.add(faults.status(403), "sendChatAction")
    for address in ({}, {"chat_id": 42}, {"chat_id": "nonsense"}):
        with sender.working(address):
            time.sleep(0.1)
    with pytest.raises(KeyError, match="of the block"), sender.working({"chat_id": 42}):
        raise KeyError("of the block")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("TYPING_DELAY", 0.0), ("DRAFT_PERIOD", 0.05), ("LOOK", 0.02), ("TYPING_PERIOD", 0.2)):
        monkeypatch.setattr(f"pipeline.senders.telegram_progress.{name}", seconds)


def drafts(telegram: FakeTelegram) -> list[tuple[str, int | None]]:
    with telegram.lock:
        return [(shown.text, shown.draft_id) for shown in telegram.chat_actions if shown.action == "draft"]


@pytest.mark.usefixtures("quick")
def test_a_text_grows_as_a_draft_and_one_message_follows(telegram: FakeTelegram, sender: TelegramSender) -> None:
    text = ""
    with sender.working({"chat_id": 42, "thread_id": 7}) as show:
        assert show is not None
        for number in range(40):
            show(text := f"{text}**word** {number} ")
            time.sleep(0.01)
        telegram.wait_for(lambda: len(drafts(telegram)) >= 3, 5, "drafts")
    sender.send(outgoing(text, thread_id=7))
    time.sleep(0.2)
    assert [sent.text for sent in telegram.sent] == [text.strip()]
    shown = drafts(telegram)
    assert 3 <= len(shown) <= 12, "no more than one a period"
    assert len({draft_id for _, draft_id in shown}) == 1
    whole = text.replace("**", "")
    assert all(whole.startswith(part) for part, _ in shown)
    assert [call.method for call in telegram.calls][-1] == "sendMessage"
    first = next(call for call in telegram.calls if call.method == "sendMessageDraft")
    assert first.params["message_thread_id"] == "7"
    assert "bold" in first.params["entities"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "fault", [faults.status(400, "Bad Request: TEXTDRAFT_PEER_INVALID"), faults.status(404), faults.reset(after=True)]
)
def test_where_a_draft_is_refused_typing_is_shown(
    telegram: FakeTelegram, sender: TelegramSender, fault: faults.Fault
) -> None:
    telegram.faults.add(fault, "sendMessageDraft", times=None)
    with sender.working({"chat_id": 42}) as show:
        assert show is not None
        show("Half a text")
        telegram.wait_for(lambda: any(shown.action == "typing" for shown in telegram.chat_actions), 5, "typing")
        show("Half a text and more")
        time.sleep(0.3)
    assert [call.method for call in telegram.calls].count("sendMessageDraft") == 1
    assert sender.send(outgoing())


@pytest.mark.usefixtures("quick")
def test_a_429_ends_the_drafts_of_the_bot_for_the_time_it_names(telegram: FakeTelegram) -> None:
    sender = make_sender("telegram", "default", settings_for(telegram.url))
    telegram.faults.add(faults.too_many(1), "sendMessageDraft")
    for expected in (1, 1):
        with sender.working({"chat_id": 42}) as show:
            assert show is not None
            show("Half a text")
            time.sleep(0.2)
        assert [call.method for call in telegram.calls].count("sendMessageDraft") == expected
    time.sleep(1.0)
    with sender.working({"chat_id": 43}) as show:
        assert show is not None
        show("Half a text")
        telegram.wait_for(lambda: drafts(telegram), 5, "a draft")
    sender.close()


@pytest.mark.parametrize(
    "address",
    [{"chat_id": GROUP}, {"chat_id": 42, "business_connection_id": "b"}, {"chat_id": 42, "direct_topic_id": 9}],
)
def test_other_chats_know_no_drafts(sender: TelegramSender, address: dict[str, Any]) -> None:
    with sender.working(address) as show:
        assert show is None


@pytest.mark.usefixtures("quick")
def test_the_message_waits_for_the_draft_before_it(telegram: FakeTelegram, sender: TelegramSender) -> None:
    telegram.faults.add(faults.slow(0.3), "sendMessageDraft", times=None)
    with sender.working({"chat_id": 42}) as show:
        assert show is not None
        show("Half a text")
        telegram.wait_for(lambda: any(call.method == "sendMessageDraft" for call in telegram.calls), 5, "a draft")
    assert len(drafts(telegram)) == 1, "it has arrived"
    sender.send(outgoing())
