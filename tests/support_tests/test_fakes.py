"""The fakes, spoken to by the real clients: the wire form, and how each kind of fault looks from outside."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.enums import ParseMode
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramAPIError,
    TelegramBadRequest,
    TelegramConflictError,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from aiogram.types import BufferedInputFile, InlineKeyboardButton, InlineKeyboardMarkup, ReplyParameters
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tests.support import faults
from tests.support.fake_openai import FakeOpenAI, embed
from tests.support.fake_telegram import FakeTelegram, Flood, TelegramError, parse_html
from tests.support.fake_umnico import FakeUmnico
from tests.support.faults import Fault, FaultPlan
from tests.support.server import JSON, FakeServer
from tests.support.telegram_terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]


class Receiver(FakeServer):
    """A webhook under test: keeps what it got, answers what `reply` says (200 by default)."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[JSON] = []
        self.headers: list[dict[str, str]] = []
        self.reply: Callable[[JSON], Response] = lambda _: Response()
        self.busy = self.most_busy = 0
        self.delay = 0.0

    def routes(self) -> list[BaseRoute]:
        return [Route("/hook", self._hook, methods=["POST"])]

    async def _hook(self, request: Request) -> Response:
        body = await request.json()
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)
        await self.pause(self.delay)
        self.busy -= 1
        with self.lock:
            self.got.append(body)
            self.headers.append(dict(request.headers))
        self.changed()
        return self.reply(body)


@pytest.fixture
def telegram() -> Iterator[FakeTelegram]:
    with FakeTelegram() as fake:
        yield fake


@pytest.fixture
def umnico() -> Iterator[FakeUmnico]:
    with FakeUmnico(seed=1) as fake:
        yield fake


@pytest.fixture
def openai() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as fake:
        yield fake


@contextlib.asynccontextmanager
async def bot_of(fake: FakeTelegram, token: str | None = None, timeout: float = 10.0) -> AsyncIterator[Bot]:
    session = AiohttpSession(api=TelegramAPIServer.from_base(fake.url), timeout=timeout)
    bot = Bot(token or fake.token, session=session)
    try:
        yield bot
    finally:
        await bot.session.close()


def as_bot(fake: FakeTelegram, work: Callable[[Bot], Any], timeout: float = 10.0) -> Any:
    """Run one coroutine function with an aiogram bot of the fake."""

    async def run() -> Any:
        async with bot_of(fake, timeout=timeout) as bot:
            return await work(bot)

    return asyncio.run(run())


# The base


def test_stop_breaks_hanging_requests_at_once_and_the_port_can_be_taken_again() -> None:
    threads = set(threading.enumerate())
    fake = FakeTelegram()
    fake.start()
    url, broke = fake.url, threading.Event()

    def poll() -> None:
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{url}/bot{fake.token}/getUpdates?timeout=50", timeout=60)
        broke.set()

    poller = threading.Thread(target=poll)
    poller.start()
    fake.wait_for(lambda: fake.calls, 5, "poll")
    began = time.monotonic()
    fake.stop()
    fake.stop()
    assert time.monotonic() - began < 3
    poller.join(2)
    assert broke.is_set()
    assert set(threading.enumerate()) <= threads
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    with fake:
        assert fake.url == url
        assert httpx.get(f"{url}/bot{fake.token}/getMe").json()["ok"] is True


def test_a_taken_port_is_an_error_in_the_starting_thread(telegram: FakeTelegram) -> None:
    with pytest.raises(OSError, match="in use"):
        FakeTelegram(port=telegram.port).start()


def test_control_api_scripts_faults_and_shows_records(telegram: FakeTelegram) -> None:
    control = f"{telegram.url}/_control"
    send = f"{telegram.url}/bot{telegram.token}/sendMessage"
    rule = {"kind": "status", "status": 429, "retry_after": 3, "method": "sendMessage", "chat": 1, "times": 2}
    assert httpx.post(f"{control}/faults", json=rule).json()["pending"][0]["times"] == 2
    assert httpx.post(send, json={"chat_id": 2, "text": "free"}).status_code == 200
    assert httpx.post(send, json={"chat_id": 1, "text": "held"}).status_code == 429
    assert [item["fault"]["kind"] for item in httpx.get(f"{control}/faults").json()["fired"]] == ["status"]
    httpx.delete(f"{control}/faults")
    assert httpx.post(send, json={"chat_id": 1, "text": "through"}).status_code == 200
    assert [item["text"] for item in httpx.get(f"{control}/sent?chat_id=1&wait=1").json()] == ["through"]
    assert [item["status"] for item in httpx.get(f"{control}/calls").json()] == [200, 429, 200]
    late = httpx.get(f"{control}/sent?wait=9&timeout=0.1")
    assert (late.status_code, len(late.json())) == (504, 2)
    said = httpx.post(f"{control}/user_says", json={"chat_id": 5, "text": "hello"}).json()["result"]
    assert said["message"]["text"] == "hello"
    assert httpx.get(f"{control}/waiting").json() == [said]
    assert httpx.post(f"{control}/user_says", json={"nonsense": 1}).status_code == 400
    assert httpx.post(f"{control}/faults", json={"kind": "nonsense"}).status_code == 400
    httpx.post(f"{control}/reset")
    assert telegram.sent == []
    assert telegram.calls == []


def test_as_a_process_it_says_where_it_listens_and_ends_on_sigterm() -> None:
    for module in ("fake_telegram", "fake_umnico", "fake_openai"):
        command = [sys.executable, "-m", f"tests.support.{module}", "--port", "0"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process.stdout:
            url = process.stdout.readline().split()[-1]
            health = httpx.get(f"{url}/_control/health").json()
            assert health == {"ok": True, "name": module.replace("_", "-"), "url": url}
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 0


# Faults


def test_chaos_is_the_same_for_the_same_seed() -> None:
    def decisions(seed: int) -> list[str | None]:
        plan = FaultPlan()
        plan.chaos([faults.reset(), faults.html()], rate=0.1, seed=seed, method="sendMessage")
        taken = [plan.take("sendmessage") for _ in range(2000)]
        assert plan.take("getMe") is None
        return [fault.kind if fault else None for fault in taken]

    first = decisions(7)
    assert first == decisions(7) != decisions(8)
    hit = [kind for kind in first if kind]
    assert 120 < len(hit) < 280
    assert set(hit) == {"reset", "status"}


def test_rules_are_counted_bound_to_chats_and_can_skip() -> None:
    plan = FaultPlan()
    plan.add(faults.too_many(9), "send", chat=1, times=2, skip=1)
    plan.add(faults.slow(1), times=None)
    kinds = [fault.kind if (fault := plan.take("send", chat)) else None for chat in (1, 1, 2, 1, 1)]
    assert kinds == ["slow", "status", "slow", "status", "slow"]
    assert [item.chat for item in plan.fired if item.fault.kind == "status"] == ["1", "1"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.too_many(7), TelegramRetryAfter),
        (faults.status(400, "Bad Request: chat not found"), TelegramBadRequest),
        (
            faults.status(400, "Bad Request: x", parameters={"migrate_to_chat_id": -100}),
            TelegramMigrateToChat,
        ),
        (faults.status(401), TelegramUnauthorizedError),
        (faults.status(403), TelegramForbiddenError),
        (faults.status(404), TelegramNotFound),
        (faults.status(500), TelegramServerError),
        (faults.html(502), ClientDecodeError),
        (faults.broken("json"), ClientDecodeError),
        (faults.broken("html"), ClientDecodeError),
        (faults.broken("empty"), ClientDecodeError),
        (faults.broken("result"), ClientDecodeError),
        (faults.reset(), TelegramNetworkError),
        (faults.reset(after=False), TelegramNetworkError),
        (faults.hang(0.05), TelegramNetworkError),
        (faults.hang(9, after=True), TelegramNetworkError),
        (faults.cut(), TelegramNetworkError),
    ],
    ids=lambda item: f"{item.kind}-{item.status}-{item.after}" if isinstance(item, Fault) else "",
)
def test_telegram_faults_as_aiogram_sees_them(telegram: FakeTelegram, fault: Fault, error: type[Exception]) -> None:
    telegram.faults.add(fault, "sendMessage")

    async def work(bot: Bot) -> None:
        with pytest.raises(error):
            await bot.send_message(1, "once", request_timeout=1)
        assert [item.text for item in telegram.sent] == (["once"] if fault.after else [])
        await bot.send_message(1, "again")

    as_bot(telegram, work)
    assert telegram.sent[-1].text == "again"
    assert [item.fault for item in telegram.faults.fired] == [fault]


def test_a_slow_answer_is_an_answer(telegram: FakeTelegram) -> None:
    telegram.faults.add(faults.slow(0.3), "getMe")
    began = time.monotonic()
    assert as_bot(telegram, lambda bot: bot.get_me()).username == "test_bot"
    assert time.monotonic() - began >= 0.3


def test_retry_after_comes_in_header_and_body(telegram: FakeTelegram) -> None:
    telegram.faults.add(faults.too_many(7))
    answer = httpx.get(f"{telegram.url}/bot{telegram.token}/getMe")
    assert answer.headers["Retry-After"] == "7"
    assert answer.json() == {
        "ok": False,
        "error_code": 429,
        "description": "Too Many Requests: retry after 7",
        "parameters": {"retry_after": 7},
    }


# Telegram


def test_aiogram_sends_in_every_form_and_gets_whole_messages(telegram: FakeTelegram) -> None:
    markup = InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(text="Yes", callback_data="y")]])
    asked = telegram.user_says(7, "hi")["message"]["message_id"]

    async def work(bot: Bot) -> None:
        reply = ReplyParameters(message_id=asked)
        sent = await bot.send_message(
            7, "<b>Да</b> &amp; 😀 <a href='https://a.b/?c=1&amp;d'>ссылка</a>", parse_mode=ParseMode.HTML,
            reply_markup=markup, reply_parameters=reply, message_thread_id=3,
        )  # fmt: skip
        assert sent.chat.id == 7
        assert sent.from_user is not None
        assert sent.from_user.is_bot
        assert sent.reply_to_message is not None
        assert sent.reply_to_message.text == "hi"
        assert sent.text == "Да & 😀 ссылка"
        assert [entity.extract_from(sent.text) for entity in sent.entities or []] == ["Да", "ссылка"]
        document = await bot.send_document(7, BufferedInputFile(b"%PDF", "price.pdf"), caption="list")
        assert document.document is not None
        assert document.document.file_name == "price.pdf"
        photo = await bot.send_photo(7, BufferedInputFile(b"jpeg", "a.jpg"))
        assert photo.photo is not None
        stored = await bot.get_file(photo.photo[-1].file_id)
        assert stored.file_path is not None
        content = await bot.download_file(stored.file_path)
        assert content is not None
        assert content.read() == b"jpeg"
        assert await bot.send_chat_action(7, "typing")
        edited = await bot.edit_message_text("better", chat_id=7, message_id=sent.message_id)
        assert not isinstance(edited, bool)
        assert edited.text == "better"
        with pytest.raises(TelegramBadRequest, match="message is not modified"):
            await bot.edit_message_text("better", chat_id=7, message_id=sent.message_id)

    as_bot(telegram, work)
    first = telegram.sent[0]
    assert (first.chat_id, first.text, first.parse_mode) == (7, "Да & 😀 ссылка", "HTML")
    assert first.entities[1] == {"offset": 8, "length": 6, "type": "text_link", "url": "https://a.b/?c=1&d"}
    assert first.reply_markup == {"inline_keyboard": [[{"text": "Yes", "callback_data": "y"}]]}
    assert first.reply_parameters is not None
    assert first.reply_parameters["message_id"] == asked
    assert first.message_thread_id == 3
    assert [item.kind for item in telegram.sent] == ["text", "document", "photo"]
    assert [item.action for item in telegram.chat_actions] == ["typing"]
    assert [item.text for item in telegram.edited] == ["better"]


@pytest.mark.parametrize(
    ("params", "fragment"),
    [
        ({"text": ""}, "message text is empty"),
        ({"text": " <b> </b> ", "parse_mode": "HTML"}, "message text is empty"),
        ({"text": "x" * 4097}, "message is too long"),
        ({"text": "😀" * 2049}, "message is too long"),
        ({"text": "a < b", "parse_mode": "HTML"}, "can't parse entities"),
        ({"text": "<b>open", "parse_mode": "HTML"}, 'end tag corresponding to start tag "b"'),
        ({"text": "<p>no</p>", "parse_mode": "HTML"}, 'Unsupported start tag "p" at byte offset 0'),
        ({"text": "<b>é<i>x</b></i>", "parse_mode": "HTML"}, "Unmatched end tag at byte offset 9"),
        ({"text": "x</b>", "parse_mode": "HTML"}, "Unexpected end tag"),
        ({"text": "*x*", "parse_mode": "MarkdownV2"}, "can't parse entities"),
        ({"text": "x", "parse_mode": "BBCode"}, "unsupported parse_mode"),
        ({"text": "x", "chat_id": "nobody"}, "chat not found"),
        ({"text": "x", "chat_id": ""}, "chat_id is empty"),
        ({"text": "x", "reply_parameters": '{"message_id": 99}'}, "message to be replied not found"),
        (
            {"text": "x", "reply_markup": {"inline_keyboard": [[{"text": "a", "callback_data": "b" * 65}]]}},
            "BUTTON_DATA_INVALID",
        ),
    ],
)
def test_bad_messages_are_refused_and_not_shown(telegram: FakeTelegram, params: JSON, fragment: str) -> None:
    url = f"{telegram.url}/bot{telegram.token}/sendMessage"
    answer = httpx.post(url, json={"chat_id": 1, **params})
    assert answer.status_code == answer.json()["error_code"] == 400
    assert fragment in answer.json()["description"]
    assert telegram.sent == []


def test_the_limit_is_measured_after_parsing(telegram: FakeTelegram) -> None:
    url = f"{telegram.url}/bot{telegram.token}/sendMessage"
    text = "<b>" + "&amp;" * 4096 + "</b>"
    assert httpx.post(url, data={"chat_id": 1, "text": text, "parse_mode": "HTML"}).status_code == 200
    assert telegram.sent[0].text == "&" * 4096


def test_html_entities_are_those_of_telegram() -> None:
    markup = '\n <pre><code class="language-py">x &lt; 1</code></pre> <blockquote expandable>q</blockquote>&nope; '
    text, entities = parse_html(markup)
    assert text == "x < 1 q&nope;"
    assert entities == [
        {"offset": 0, "length": 5, "type": "pre", "language": "py"},
        {"offset": 6, "length": 1, "type": "expandable_blockquote"},
    ]
    nested = parse_html("<b><i>x</i></b>")[1]
    assert [entity["type"] for entity in nested] == ["bold", "italic"]
    with pytest.raises(TelegramError, match="Unclosed start tag"):
        parse_html("<b x='>text")


def test_wrong_token_and_unknown_method(telegram: FakeTelegram) -> None:
    assert httpx.get(f"{telegram.url}/bot1:NO/getMe").status_code == 401
    unknown = httpx.get(f"{telegram.url}/bot{telegram.token}/sendTelepathy")
    assert (unknown.status_code, unknown.json()["description"]) == (404, "Not Found: method not found")
    assert httpx.get(f"{telegram.url}/file/bot{telegram.token}/none.jpg").status_code == 404
    big = telegram.user_sends(1, "video", b"", members={"file_size": 30_000_000})["message"]["video"]
    answer = httpx.get(f"{telegram.url}/bot{telegram.token}/getFile?file_id={big['file_id']}")
    assert answer.json()["description"] == "Bad Request: file is too big"


def test_every_kind_of_update_is_one_aiogram_understands(telegram: FakeTelegram) -> None:
    telegram.user_says(1, "/start now")
    for kind in ("photo", "voice", "audio", "video", "video_note", "document", "animation"):
        telegram.user_sends(1, kind, b"bytes", caption="c")
    telegram.user_sends(1, "sticker", b"webp", members={"emoji": "👍"})
    telegram.user_sends(1, "contact", members={"phone_number": "+7999", "first_name": "A", "user_id": 1})
    telegram.user_sends(1, "location", members={"latitude": 55.7, "longitude": 37.6})
    telegram.user_sends_album(1, [b"1", b"2"], caption="two")
    telegram.user_edits(1, telegram.user_says(1, "tpyo")["message"]["message_id"], "typo")
    press = telegram.user_presses(1, "y")["callback_query"]["id"]
    telegram.user_blocks(1)
    telegram.push({"some_new_kind": {"x": 1}})

    async def work(bot: Bot) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            updates = await bot.get_updates(timeout=0)
        assert len(updates) == 18
        numbers = [update.update_id for update in updates]
        assert numbers == sorted(set(numbers))
        first = updates[0].message
        assert first is not None
        assert first.entities is not None
        assert first.entities[0].type == "bot_command"
        for update in updates[1:8]:
            assert update.message is not None
            assert update.message.caption == "c"
        photo = updates[1].message
        assert photo is not None
        assert photo.photo is not None
        file = await bot.get_file(photo.photo[-1].file_id)
        assert file.file_path is not None
        content = await bot.download_file(file.file_path)
        assert content is not None
        assert content.read() == b"bytes"
        albums = {update.message.media_group_id for update in updates[11:13] if update.message}
        assert len(albums) == 1
        assert None not in albums
        edited = updates[14].edited_message
        assert edited is not None
        assert edited.text == "typo"
        assert edited.edit_date
        assert await bot.answer_callback_query(press)
        with pytest.raises(TelegramBadRequest, match="query is too old"):
            await bot.answer_callback_query(press)
        assert updates[16].my_chat_member is not None
        assert updates[16].my_chat_member.new_chat_member.status == "kicked"

    as_bot(telegram, work)


def test_polling_waits_confirms_by_offset_and_repeats_what_was_not_confirmed(telegram: FakeTelegram) -> None:
    async def work(bot: Bot) -> None:
        assert await bot.get_updates(timeout=0) == []
        waiting = asyncio.create_task(bot.get_updates(timeout=30))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await asyncio.to_thread(telegram.user_says, 1, "one")
        (first,) = await waiting
        assert time.monotonic() - began < 10
        telegram.user_says(1, "two")
        again = await bot.get_updates(limit=1)
        assert [update.update_id for update in again] == [first.update_id]
        rest = await bot.get_updates(offset=first.update_id + 1)
        assert [update.message.text for update in rest if update.message] == ["two"]
        assert await bot.get_updates(offset=rest[-1].update_id + 1, timeout=0) == []
        telegram.redeliver({"update_id": rest[-1].update_id, "message": {}}, 2)
        assert telegram.pending_updates() == 2

    as_bot(telegram, work)


def test_a_second_poller_and_a_webhook_end_the_first(telegram: FakeTelegram) -> None:
    async def work(bot: Bot) -> None:
        for takeover in (bot.get_updates, lambda: bot.set_webhook("http://127.0.0.1:9/hook")):
            first = asyncio.create_task(bot.get_updates(timeout=30))
            await asyncio.sleep(0.1)
            await takeover()
            with pytest.raises(TelegramConflictError, match="terminated by"):
                await first
        with pytest.raises(TelegramConflictError, match="webhook is active"):
            await bot.get_updates()
        info = await bot.get_webhook_info()
        assert info.url == "http://127.0.0.1:9/hook"
        assert info.max_connections == 40
        assert await bot.delete_webhook()
        assert await bot.get_updates(timeout=0) == []
        with pytest.raises(TelegramBadRequest, match="unallowed characters"):
            await bot.set_webhook("https://a.b", secret_token="no spaces")

    as_bot(telegram, work)


def test_allowed_updates_and_dropping(telegram: FakeTelegram) -> None:
    async def work(bot: Bot) -> None:
        await bot.get_updates(timeout=0, allowed_updates=["callback_query"])
        telegram.user_says(1, "not wanted")
        assert telegram.pending_updates() == 0
        telegram.user_presses(1, "wanted")
        assert telegram.pending_updates() == 1
        await bot.delete_webhook(drop_pending_updates=True)
        assert telegram.pending_updates() == 0

    as_bot(telegram, work)


def test_webhook_keeps_order_per_chat_retries_and_blocks_only_its_chat(
    telegram: FakeTelegram, receiver: Receiver
) -> None:
    failures = 2

    def reply(update: JSON) -> Response:
        nonlocal failures
        if update["message"]["chat"]["id"] == 1 and failures:
            failures -= 1
            return Response(status_code=500)
        return Response()

    receiver.reply = reply
    telegram.backoff = (0.2, 0.4)
    for number in range(3):
        telegram.user_says(1, f"a{number}")
    for number in range(3):
        telegram.user_says(2, f"b{number}")
    telegram.set_webhook(f"{receiver.url}/hook", "s3cret")
    telegram.wait_idle()
    texts = [update["message"]["text"] for update in receiver.got]
    assert [text for text in texts if text.startswith("a")] == ["a0", "a0", "a0", "a1", "a2"]
    assert [text for text in texts if text.startswith("b")] == ["b0", "b1", "b2"]
    assert texts.index("b2") < texts.index("a1")
    assert {headers["x-telegram-bot-api-secret-token"] for headers in receiver.headers} == {"s3cret"}
    assert {headers["content-type"] for headers in receiver.headers} == {"application/json"}
    first = [item for item in telegram.deliveries if item.lane == "1"][:3]
    assert [(item.attempt, item.status) for item in first] == [(1, 500), (2, 500), (3, 200)]
    assert first[1].at - first[0].at >= 0.2
    assert first[2].at - first[1].at >= 0.4


def test_webhook_honours_retry_after_and_survives_an_outage(telegram: FakeTelegram, receiver: Receiver) -> None:
    answers = iter([Response(status_code=503, headers={"Retry-After": "1"})])
    receiver.reply = lambda _: next(answers, Response())
    telegram.set_webhook(f"{receiver.url}/hook")
    telegram.user_says(1, "late")
    telegram.wait_idle()
    assert telegram.deliveries[1].at - telegram.deliveries[0].at >= 1
    receiver.stop()
    telegram.user_says(1, "during")
    telegram.wait_for(lambda: telegram.deliveries[-1].error, 5, "failed delivery")
    info = httpx.get(f"{telegram.url}/bot{telegram.token}/getWebhookInfo").json()["result"]
    assert info["pending_update_count"] == 1
    assert "Error" in info["last_error_message"]  # of the connection, not the webhook's answer
    receiver.start()
    telegram.wait_idle()
    assert [update["message"]["text"] for update in receiver.got] == ["late", "late", "during"]


def test_webhook_redelivers_in_turn_or_at_once_within_max_connections(
    telegram: FakeTelegram, receiver: Receiver
) -> None:
    receiver.delay = 0.1
    telegram.set_webhook(f"{receiver.url}/hook", max_connections=4)
    update = telegram.user_says(1, "again")
    telegram.redeliver(update, 2)
    telegram.wait_idle()
    assert (len(receiver.got), receiver.most_busy) == (3, 1)
    telegram.redeliver(update, 8, parallel=True)
    telegram.wait_idle()
    assert {item["update_id"] for item in receiver.got} == {update["update_id"]}
    assert (len(receiver.got), receiver.most_busy) == (11, 4)


def test_webhook_pushes_a_thousand_updates_of_fifty_chats_fast_and_in_order(
    telegram: FakeTelegram, receiver: Receiver
) -> None:
    telegram.set_webhook(f"{receiver.url}/hook")
    began = time.monotonic()
    for number in range(1000):
        telegram.user_says(1 + number % 50, str(number))
    telegram.wait_idle(30)
    assert time.monotonic() - began < 15
    by_chat: dict[int, list[int]] = {}
    for update in receiver.got:
        by_chat.setdefault(update["message"]["chat"]["id"], []).append(int(update["message"]["text"]))
    assert sum(map(len, by_chat.values())) == 1000
    assert all(numbers == sorted(numbers) for numbers in by_chat.values())


def test_a_restarted_fake_goes_on_with_its_webhook(telegram: FakeTelegram, receiver: Receiver) -> None:
    telegram.set_webhook(f"{receiver.url}/hook")
    telegram.stop()
    telegram.user_says(1, "meanwhile")
    telegram.start()
    telegram.wait_idle()
    assert [update["message"]["text"] for update in receiver.got] == ["meanwhile"]


def test_flood_control_is_per_chat() -> None:
    with FakeTelegram(flood=Flood(limit=2, window=1.0)) as fake:

        async def work(bot: Bot) -> None:
            await bot.send_message(1, "1")
            await bot.send_message(1, "2")
            with pytest.raises(TelegramRetryAfter) as caught:
                await bot.send_message(1, "3")
            assert caught.value.retry_after == 1
            await bot.send_message(2, "other chat")
            await asyncio.sleep(1.0)
            await bot.send_message(1, "3")

        as_bot(fake, work)
        assert [item.text for item in fake.wait_sent(3, chat_id=1)] == ["1", "2", "3"]
        with pytest.raises(TimeoutError, match="3 of 4 messages"):
            fake.wait_sent(4, 0.05, chat_id=1)


# The terminal


def answering(fake: FakeTelegram, over: threading.Event, *, silent_on: str) -> threading.Thread:
    """A bot that polls and echoes, except for one text."""

    async def work(bot: Bot) -> None:
        offset = 0
        while not over.is_set():
            with contextlib.suppress(TelegramAPIError):
                for update in await bot.get_updates(offset=offset, timeout=1):
                    offset = update.update_id + 1
                    said = update.message.text if update.message else update.callback_query and "pressed"
                    if said == silent_on:
                        continue
                    await bot.send_chat_action(1, "typing")
                    button = InlineKeyboardButton(text="More", callback_data="more")
                    markup = InlineKeyboardMarkup(inline_keyboard=[[button]])
                    await bot.send_message(1, f"re: {said}", reply_markup=markup)

    thread = threading.Thread(target=lambda: as_bot(fake, work), daemon=True)
    thread.start()
    return thread


def test_terminal_sends_piped_lines_and_prints_the_replies(telegram: FakeTelegram) -> None:
    over, out = threading.Event(), io.StringIO()
    bot = answering(telegram, over, silent_on="anybody?")
    try:
        terminal = Terminal(telegram, out)
        assert terminal.converse(io.StringIO("hello\n\n#1\n"), timeout=10, settle=0.1) is True
        assert terminal.converse(io.StringIO("anybody?\nnot asked\n"), timeout=0.3, settle=0.1) is False
        assert terminal.converse(io.StringIO("#9\n"), timeout=0.3, settle=0.1) is False
    finally:
        over.set()
        bot.join(5)
    lines = out.getvalue().splitlines()
    assert lines[:4] == ["you: hello", "…", "bot: re: hello", "  [1] More"]
    assert lines[4:8] == ["you: #1", "…", "bot: re: pressed", "  [1] More"]
    assert lines[8:] == ["you: anybody?", "no reply within 0.3 s", "you: #9", "no such button"]


def test_terminal_as_a_process_prints_the_environment_and_exits_1_without_a_reply() -> None:
    command = [sys.executable, "-m", "tests.support.telegram_terminal", "--token", "1:A", "--timeout", "0.2"]
    done = subprocess.run(command, cwd=ROOT, input="hi\n", capture_output=True, text=True, timeout=20)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("export TELEGRAM_API_BASE=http://127.0.0.1:")
    assert lines[1:3] == ["export TELEGRAM_BOT_TOKEN=1:A", "export TELEGRAM_MODE=polling"]
    assert (done.returncode, lines[-1], done.stderr) == (1, "no reply within 0.2 s", "")
    quiet = subprocess.run(command, cwd=ROOT, input="", capture_output=True, text=True, timeout=20)
    assert quiet.returncode == 0


# Umnico


def umnico_client(fake: FakeUmnico) -> httpx.Client:
    return httpx.Client(base_url=fake.api_url, headers={"Authorization": f"Bearer {fake.token}"})


def test_umnico_sends_with_strict_checks_and_echoes_to_the_hook(umnico: FakeUmnico, receiver: Receiver) -> None:
    umnico.add_hook(f"{receiver.url}/hook")
    umnico.customer_writes(100, "hi", sa=6)
    good = {"message": {"text": "hello"}, "source": umnico.leads[100].source, "userId": 502, "saId": 6}
    with umnico_client(umnico) as api:
        changes: list[JSON] = [
            {"source": None},
            {"source": "user_100"},
            {"source": 50100},
            {"userId": None},
            {"userId": 999},
            {"message": {}},
            {"message": {"text": ""}},
            {"message": {"text": "x", "attachment": {"type": "photo", "media": {"src": "http://a.b"}}}},
            {"saId": 5},
        ]
        for wrong in changes:
            assert api.post("/messaging/100/send", json={**good, **wrong}).status_code == 422, wrong
        assert api.post("/messaging/100/send", json={**good, "source": "1"}).status_code == 404
        assert api.post("/messaging/999/send", json=good).status_code == 404
        assert umnico.sent == []
        for number in range(20):
            answer = api.post("/messaging/100/send", json={**good, "customId": f"c{number}"})
            assert answer.status_code == 200
        lower = {"Authorization": f"bearer {umnico.token}"}
        assert api.post("/messaging/100/send", json=good, headers=lower).status_code == 401
    sent = umnico.wait_sent(20, lead=100)
    assert (sent[0].source, sent[0].userId, sent[0].saId) == (good["source"], 502, 6)
    assert [item.customId for item in sent] == [f"c{number}" for number in range(20)]
    umnico.wait_idle()
    echoes = [event["message"] for event in receiver.got if event["type"] == "message.outgoing"]
    assert [echo["messageId"] for echo in echoes] == [item.messageId for item in sent]
    assert {echo["userId"] for echo in echoes} == {502}
    assert 0 < sum("customId" in echo for echo in echoes) < 20


def test_umnico_events_have_the_documented_shape_in_all_variants(umnico: FakeUmnico, receiver: Receiver) -> None:
    umnico.add_hook(f"{receiver.url}/hook")
    photo = {"type": "photo", "content": b"jpeg", "mime": "image/jpeg"}
    for number in range(12):
        umnico.customer_writes(100, f"m{number}", attachments=[photo])
    umnico.manager_writes(100, "I take over")
    umnico.wait_idle()
    created, first, *_ = receiver.got
    assert (created["type"], created["lead"]["customer"]["phone"]) == ("lead.created", "79990000100")
    assert (first["type"], first["leadId"], first["isNewLead"]) == ("message.incoming", 100, True)
    message = first["message"]
    assert message["message"]["text"] == "m0"
    assert message["incoming"] is True
    assert message["sa"] == {"id": 5, "type": "whatsapp2", "login": "79001112233"}
    assert message["sender"]["socialId"] == "79990000100"
    assert message["source"]["id"] == "user_100"
    assert message["source"]["realId"].isdigit()
    messages = [event["message"] for event in receiver.got[1:]]
    assert {type(item["datetime"]) for item in messages} == {str, int}
    attached = [item["message"]["attachments"][0] for item in messages[:-1]]
    assert {next(key for key in ("url", "payload", "src") if key in item) for item in attached} == {
        "url",
        "payload",
        "src",
    }
    address = attached[0].get("url") or attached[0].get("src") or attached[0]["payload"]["url"]
    assert httpx.get(address).content == b"jpeg"
    assert (messages[-1]["incoming"], messages[-1]["userId"]) == (False, 501)


def test_umnico_reads_back_what_was_written(umnico: FakeUmnico) -> None:
    for number in range(25):
        umnico.customer_writes(100, f"m{number}")
    umnico.customer_writes(200, "other", sa=6)
    with umnico_client(umnico) as api:
        assert [lead["id"] for lead in api.get("/leads/inbox").json()] == [200, 100]
        assert [lead["id"] for lead in api.get("/leads/all?sa=5&limit=1").json()] == [100]
        assert api.get("/leads/all?limit=201").status_code == 422
        envelopes = set()
        for _ in range(20):
            found = api.get("/messaging/100/sources").json()
            envelopes.add("list" if isinstance(found, list) else next(iter(found)))
            (source,) = found if isinstance(found, list) else next(iter(found.values()))
        assert envelopes == {"list", "data", "sources"}
        history = f"/messaging/100/history/{source['realId']}"
        newest = api.post(history, json={}).json()
        older = api.post(history, json={"cursor": newest["cursor"]}).json()
        texts = [item["message"]["text"] for item in newest["messages"] + older["messages"]]
        assert texts == [f"m{number}" for number in reversed(range(25))]
        assert older["cursor"] is None
        lead = api.get("/leads/100").json()
        assert api.get(f"/customers/{lead['customerId']}/").json()["phone"] == "79990000100"
        assert api.post("/tags/100/vip").json()["tags"] == ["vip"]
        assert [item["role"] for item in api.get("/managers").json()] == ["owner", "manager"]
        assert {item["type"] for item in api.get("/integrations").json()} >= {"whatsapp2", "telebot"}
        assert api.get("/account/me").json()["id"] == 1
        assert api.post("/messaging/check-contact", json={"saId": 5, "chatId": "7999"}).status_code == 200


def test_umnico_uploads_come_back_unchanged_and_first_messages_open_a_lead(umnico: FakeUmnico) -> None:
    umnico.customer_writes(100, "hi")
    with umnico_client(umnico) as api:
        file = {"media": ("price.pdf", b"%PDF", "application/pdf")}
        both = {"saId": "5", "source": "1"}
        assert api.post("/messaging/upload", files=file, data=both).status_code == 422
        upload = api.post("/messaging/upload", files=file, data={"saId": "5"}).json()
        assert upload["type"] == "doc"
        body = {
            "message": {"text": "", "attachment": upload},
            "source": umnico.leads[100].source,
            "userId": 502,
        }
        assert api.post("/messaging/100/send", json=body).status_code == 200
        assert umnico.sent[0].attachment == upload
        first = {"message": {"text": "news"}, "destination": "79990001122", "saId": 5, "customId": "c"}
        lead = api.post("/messaging/post", json=first).json()["leadId"]
        assert api.post("/messaging/post", json=first).json()["leadId"] == lead
    assert (umnico.sent[1].lead, umnico.sent[1].first, umnico.sent[1].customId) == (lead, True, "c")


def test_umnico_switches_off_a_failing_hook_until_it_is_put_on_again(umnico: FakeUmnico, receiver: Receiver) -> None:
    umnico.disable_after, umnico.lead_events = 3, False
    receiver.reply = lambda _: Response(status_code=500)
    with umnico_client(umnico) as api:
        hook = api.post("/webhooks/", json={"url": f"{receiver.url}/hook", "name": "ours"}).json()
        for number in range(5):
            umnico.customer_writes(100, f"m{number}")
            umnico.wait_idle()
        assert len(receiver.got) == 3
        assert api.get("/webhooks/").json()[0]["status"] == 0
        receiver.reply = lambda _: Response()
        assert api.put(f"/webhooks/{hook['id']}", json={"status": 1}).json()["status"] == 1
        umnico.duplicates = 1.0
        umnico.customer_writes(100, "back")
        umnico.wait_idle()
        assert [event["message"]["message"]["text"] for event in receiver.got[3:]] == ["back", "back"]
        assert api.delete(f"/webhooks/{hook['id']}").status_code == 200
        assert api.get("/webhooks/").json() == []


def test_umnico_faults_fit_one_lead_and_a_reset_means_shown(umnico: FakeUmnico) -> None:
    for lead in (1, 2):
        umnico.customer_writes(lead, "hi")
    umnico.faults.add(faults.status(429, retry_after=2), "send", chat=1)
    umnico.faults.add(faults.reset(), "send", chat=2)
    with umnico_client(umnico) as api:
        first, second = (
            {"message": {"text": "x"}, "source": umnico.leads[lead].source, "userId": 502} for lead in (1, 2)
        )
        refused = api.post("/messaging/1/send", json=first)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "2")
        with pytest.raises(httpx.ReadError):
            api.post("/messaging/2/send", json=second)
        assert [item.lead for item in umnico.sent] == [2]
        assert api.post("/messaging/1/send", json=first).status_code == 200


# OpenAI

via_litellm = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def litellm() -> Any:
    """LiteLLM, imported late: it takes seconds, and would look for prices on the network."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import litellm as module
    module.suppress_debug_info = True
    module.telemetry = False
    return module


@pytest.fixture
def complete(litellm: Any, openai: FakeOpenAI) -> Callable[..., Any]:
    """litellm.completion against the fake, one attempt."""

    def call(text: str, **options: Any) -> Any:
        given = {
            "model": "openai/small",
            "api_base": openai.api_base,
            "api_key": openai.api_key,
            "timeout": 5,
        }
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
        return litellm.completion(messages=messages, max_retries=0, **{**given, **options})

    return call


@via_litellm
def test_openai_quotes_the_first_passage_and_counts_tokens(openai: FakeOpenAI, complete: Callable[..., Any]) -> None:
    passages = "Cite <passage> blocks.\n<passage id='1'>\nWe open at 9.\n</passage><passage>No.</passage>"
    answer = complete(f"When? {passages}")
    assert answer.choices[0].message.content == "We open at 9."
    assert complete("Who?").choices[0].message.content == "I do not know."
    first = openai.requests[0]
    assert first.usage.prompt_tokens == len("Be brief.") // 4 + len(f"When? {passages}") // 4
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (first.usage.prompt_tokens, 3)
    assert first.body["messages"][1]["content"].startswith("When?")
    assert first.model == "small"
    assert openai.totals("chat").total_tokens == sum(item.usage.total_tokens for item in openai.requests)


@via_litellm
def test_openai_answers_from_scripts_rules_and_tools(openai: FakeOpenAI, complete: Callable[..., Any]) -> None:
    openai.enqueue("for b", match="b?")
    openai.enqueue("for anyone")
    texts = [complete(text).choices[0].message.content for text in ("a?", "b?")]
    assert texts == ["for anyone", "for b"]
    openai.set_answer("[{passage}] {question}")
    assert complete("<passage>x</passage>").choices[0].message.content == "[x] <passage>x</passage>"
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    openai.enqueue(tool_calls=[call])
    tooled = complete("?").choices[0]
    assert (tooled.finish_reason, tooled.message.tool_calls[0].function.name) == ("tool_calls", "f")
    openai.rule = lambda ask: ask.question.upper()
    assert complete("loud").choices[0].message.content == "LOUD"
    limited = complete("abcdefghijklmnop", max_tokens=2).choices[0]
    assert (limited.finish_reason, limited.message.content) == ("length", "ABCDEFGH")


@via_litellm
def test_openai_streams_with_usage_at_the_end(openai: FakeOpenAI, complete: Callable[..., Any]) -> None:
    openai.enqueue("Мы открываемся в 9.\n Приходите! ")
    chunks = list(complete("?", stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "Мы открываемся в 9.\n Приходите! "
    usage = next(chunk.usage for chunk in chunks if getattr(chunk, "usage", None))
    assert usage.total_tokens == openai.totals().total_tokens
    body = {"model": "small", "stream": True, "messages": [{"role": "user", "content": "?"}]}
    headers = {"Authorization": f"Bearer {openai.api_key}"}
    with httpx.stream("POST", f"{openai.api_base}/chat/completions", json=body, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    parts = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert parts[0]["choices"][0]["delta"]["role"] == "assistant"
    assert parts[-1]["choices"][0]["finish_reason"] == "stop"
    assert not any("usage" in part for part in parts)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.too_many(2), "RateLimitError"),
        (faults.status(429, parameters={"code": "insufficient_quota"}), "RateLimitError"),
        (faults.status(401), "AuthenticationError"),
        (faults.status(403), "APIError|PermissionDeniedError"),
        (
            faults.status(400, "This model's maximum context length is 9 tokens."),
            "ContextWindowExceededError",
        ),
        (
            faults.status(400, "x", parameters={"code": "content_policy_violation"}),
            "ContentPolicyViolationError",
        ),
        (faults.status(500), "InternalServerError"),
        (faults.html(502), "BadGatewayError|InternalServerError|APIError"),
        (faults.status(503), "ServiceUnavailableError|InternalServerError"),
        (faults.hang(9), "Timeout"),
        (faults.hang(0.05), "InternalServerError|APIConnectionError|APIError"),
        (faults.reset(), "InternalServerError|APIConnectionError|APIError"),
        (faults.cut(), "InternalServerError|APIConnectionError|APIError"),
        (faults.broken("html"), "InternalServerError|APIError|APIConnectionError"),
        (faults.broken("json"), "InternalServerError|APIError|APIConnectionError"),
    ],
    ids=lambda item: f"{item.kind}-{item.status}-{item.after}" if isinstance(item, Fault) else "",
)
@via_litellm
def test_openai_faults_as_litellm_sees_them(
    openai: FakeOpenAI, complete: Callable[..., Any], fault: Fault, error: str
) -> None:
    openai.faults.add(fault, "chat", chat="small")
    raised = ""
    try:
        complete("?", timeout=1)
    except Exception as problem:
        raised = type(problem).__name__
    assert raised in error.split("|")
    assert len(openai.calls) == 1
    assert [item.answered for item in openai.requests] == ([False] if fault.after else [])
    assert complete("?").choices[0].message.content == "I do not know."
    assert openai.totals() == openai.requests[-1].usage
    spent = openai.totals(unanswered=True).total_tokens
    assert spent == openai.totals().total_tokens * (2 if fault.after else 1)


@via_litellm
def test_openai_useless_answers_and_cut_streams(openai: FakeOpenAI, litellm: Any, complete: Callable[..., Any]) -> None:
    openai.faults.add(faults.broken("choices"), "chat")
    assert complete("?").choices == []
    openai.faults.add(faults.broken("content"), "chat")
    assert complete("?").choices[0].message.content is None
    openai.enqueue("one two three four five six")
    openai.faults.add(faults.cut(chunks=3), "chat")
    seen: list[str] = []
    with pytest.raises(litellm.exceptions.MidStreamFallbackError):
        seen.extend(chunk.choices[0].delta.content or "" for chunk in complete("?", stream=True))
    assert "".join(seen) == "one two"


@via_litellm
def test_openai_key_and_models(openai: FakeOpenAI, litellm: Any, complete: Callable[..., Any]) -> None:
    with pytest.raises(litellm.AuthenticationError):
        complete("?", api_key="sk-wrong")
    openai.models = ["small"]
    with pytest.raises(litellm.NotFoundError):
        complete("?", model="openai/large")
    assert complete("?").choices
    headers = {"Authorization": f"Bearer {openai.api_key}"}
    listed = httpx.get(f"{openai.api_base}/models", headers=headers).json()
    assert [row["id"] for row in listed["data"]] == ["small"]
    assert httpx.get(f"{openai.api_base}/models").status_code == 401
    assert len(openai.requests) == 1
    assert len(openai.calls) == 5


@via_litellm
def test_openai_embeds_by_meaningful_hashes(openai: FakeOpenAI, litellm: Any) -> None:
    texts = ["delivery to Moscow", "delivery in Moscow?", "return a broken phone"]
    options = {
        "model": "openai/text-embedding-3-small",
        "api_base": openai.api_base,
        "api_key": openai.api_key,
    }
    answer = litellm.embedding(input=texts, **options)
    one, two, three = (row["embedding"] for row in answer.data)
    assert one == pytest.approx(embed(texts[0], 256), abs=1e-6)
    assert len(one) == 256
    assert sum(value * value for value in one) == pytest.approx(1)

    def near(left: list[float], right: list[float]) -> float:
        return sum(a * b for a, b in zip(left, right, strict=True))

    assert near(one, two) > 0.5 > near(one, three) + 0.2
    encoded = litellm.embedding(input=texts[:1], encoding_format="base64", dimensions=8, **options)
    assert encoded.usage.prompt_tokens == len(texts[0]) // 4
    assert openai.totals("embeddings").prompt_tokens == answer.usage.prompt_tokens + len(texts[0]) // 4


@via_litellm
def test_openai_transcribes(openai: FakeOpenAI, litellm: Any) -> None:
    options = {"model": "openai/w", "api_base": openai.api_base, "api_key": openai.api_key, "max_retries": 0}
    openai.enqueue_transcript("где мой заказ")
    first = litellm.transcription(file=("voice.ogg", b"OggS"), response_format="json", **options)
    assert first.text == "где мой заказ"
    assert openai.requests[0].body["file"].content == b"OggS"
    openai.accept_verbose_json = False
    with pytest.raises(Exception, match="verbose_json"):
        litellm.transcription(file=("voice.ogg", b"OggS"), response_format="verbose_json", **options)
    assert len(openai.wait_requests(1, route="transcriptions")) == 1
