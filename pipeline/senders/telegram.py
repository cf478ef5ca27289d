"""The way out to Telegram, over aiogram, on one event loop a process."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any, TypeVar

from pipeline.envelope import MediaRef
from pipeline.errors import AmbiguousSend, FloodWait, NotSent, SendRefused, Undeliverable
from pipeline.senders import telegram_files, telegram_text
from pipeline.senders.base import Outgoing, Show
from pipeline.senders.telegram_progress import Pace, Progress, is_private
from ragline.channels import TelegramAccount
from ragline.errors import RaglineError
from ragline.logs import get_logger
from ragline.redaction import mask
from ragline.settings import Settings

if TYPE_CHECKING:
    from pipeline.senders.telegram_bot import Answered, TelegramBot

T = TypeVar("T")
#: Seconds a send may take in all: a call takes 15 at most, and a refused one is tried again in another form.
DEADLINE = 30.0
#: Seconds an answer waits for the draft before it to arrive, or it might come after.
LAST_DRAFT = 1.0
#: Seconds to wait after a 429 that names no time.
UNNAMED_WAIT = 5.0

#: What a 400 says when this chat cannot be written to, whatever the message (lower case).
_UNREACHABLE = (
    "chat not found",
    "user not found",
    "user is deactivated",
    "peer_id_invalid",
    "bot was blocked",
    "bot was kicked",
    "bot can't initiate",
    "chat_write_forbidden",
    "chat_restricted",
    "not enough rights to send",
    "have no rights to send",
    "group chat was deactivated",
    "topic_closed",
    "business_peer_invalid",
    "business connection not found",
)
log = get_logger(__name__)


class TelegramSender:
    """Sends to the chats of one bot."""

    pull = False
    #: What a phone shows of a button as wide as the chat; the rest it cuts off.
    button_width = 36

    def __init__(self, name: str, account: TelegramAccount, settings: Settings) -> None:
        self.name = name
        self._account, self._media = account, settings.media
        self._bot: TelegramBot | None = None
        self._pace = Pace()
        self._making = threading.Lock()

    def warm_up(self) -> None:
        """aiogram takes seconds to import."""
        with suppress(SendRefused):  # the first send will say so
            self._connect()

    def split(self, text: str, address: dict[str, Any]) -> list[dict[str, Any]]:
        """``{"text", "entities"}`` for each message of at most 4096 UTF-16 units."""
        return telegram_text.split(text)

    def send(self, outgoing: Outgoing) -> str | None:
        """See :class:`pipeline.senders.base.Sender`."""
        request = _request(outgoing)
        bot = self._connect()
        if outgoing.part == 0 and outgoing.reply_to:
            self.acknowledge(outgoing.reply_to)
        future = _in_loop(self._send(bot, request))
        try:
            message_id = future.result(DEADLINE)
        except RaglineError:
            raise
        except TimeoutError:
            future.cancel()
            raise AmbiguousSend(f"Telegram did not answer within {DEADLINE:g} s") from None
        except Exception as error:
            log.error("telegram_send_broke", account=self.name, error=type(error).__name__)
            raise AmbiguousSend(f"the send broke off ({type(error).__name__})") from None
        return None if message_id is None else str(message_id)

    def already_sent(self, outgoing: Outgoing) -> bool | None:
        """A bot cannot read a chat's history."""
        return None

    def acknowledge(self, press: str, note: str = "") -> None:
        """End the waiting indicator on the button, at best effort; ``note`` is shown over the chat."""
        if press.startswith("c"):
            with suppress(SendRefused):  # the send will say so
                _in_loop(_quietly(self._connect().acknowledge(press[1:], note)))

    @contextmanager
    def working(self, address: dict[str, Any]) -> Iterator[Show | None]:
        """Show "typing", and in a private chat the growing text, at best effort."""
        if "chat_id" not in address:
            yield None
            return
        target = _target(address)
        progress = Progress(self._pace, target)
        showing = _in_loop(_quietly(progress.run(self._connect)))
        try:
            yield progress.show if is_private(target) else None
        finally:
            if progress.drafted:
                _in_loop(_called(progress.end))
                with suppress(TimeoutError):
                    showing.result(LAST_DRAFT)
            showing.cancel()

    def download(self, media: MediaRef, into: IO[bytes]) -> None:
        """By getFile, which Telegram offers for files of at most 20 MB."""
        token, base = self._account.token.get_secret_value(), self._account.api_base
        most, within = self._media.largest * 2**20, self._media.timeout
        telegram_files.download(base, token, media.ref, into, most=most, within=within)

    def close(self) -> None:
        """Close the connections; the next send opens new ones."""
        with self._making:
            bot, self._bot = self._bot, None
        if bot is not None:
            with suppress(TimeoutError):
                _in_loop(_quietly(bot.close())).result(5)

    def _connect(self) -> TelegramBot:
        with self._making:
            if self._bot is None:
                from pipeline.senders.telegram_bot import TelegramBot

                try:
                    self._bot = TelegramBot(self._account.token.get_secret_value(), self._account.api_base)
                except Exception as error:
                    what = f"no bot can be made of this token ({type(error).__name__})"
                    raise SendRefused(f"{what}; check channels.telegram.{self.name}") from None
            return self._bot

    async def _send(self, bot: TelegramBot, request: dict[str, Any]) -> int | None:
        from pipeline.senders.telegram_bot import Answered, ConnectionLost, Malformed, NeverConnected

        amended: set[str] = set()
        while True:
            try:
                return await bot.send_message(request)
            except Answered as answer:
                amendment = _amendment(answer, request)
                if amendment is None or amendment[0] in amended:
                    raise self._converted(answer) from None
                log.info("telegram_send_amended", account=self.name, what=amendment[0])
                amended.add(amendment[0])
                request = {**request, **amendment[1]}
            except NeverConnected as error:
                raise NotSent(f"no connection to the Bot API ({error})") from None
            except ConnectionLost as error:
                raise AmbiguousSend(f"the connection broke after the message was written ({error})") from None
            except Malformed as error:
                raise SendRefused(f"no message can be made of this: {error}") from None

    def _converted(self, answer: Answered) -> RaglineError:
        """The answer as one of our errors. Unknown 4xx are permanent: the same message fails the same way."""
        text = mask(f"Telegram: {answer.status} {answer.description}".rstrip())
        said = answer.description.lower()
        if answer.status == 429 or "retry_after" in answer.parameters:
            wait = answer.parameters.get("retry_after")
            return FloodWait(text, float(wait) if isinstance(wait, int | float) and wait > 0 else UNNAMED_WAIT)
        if answer.status >= 500:
            return NotSent(text)
        if not answer.genuine:
            if 200 <= answer.status < 300:
                return AmbiguousSend(f"a {answer.status} that is no answer of the Bot API; check TELEGRAM_API_BASE")
            return NotSent(f"a {answer.status} that is no answer of the Bot API; check TELEGRAM_API_BASE")
        if answer.status == 403 or any(words in said for words in _UNREACHABLE):
            return Undeliverable(text)
        if answer.status in (401, 404):
            return SendRefused(f"{text}; check channels.telegram.{self.name}.token")
        return SendRefused(text)


def _target(address: dict[str, Any]) -> dict[str, Any]:
    return {
        "chat_id": address["chat_id"],
        "message_thread_id": address.get("thread_id"),
        "direct_messages_topic_id": address.get("direct_topic_id"),
        "business_connection_id": address.get("business_connection_id"),
    }


def _request(outgoing: Outgoing) -> dict[str, Any]:
    address, body = outgoing.address, outgoing.body
    if not isinstance(address.get("chat_id"), int) or not isinstance(body.get("text"), str):
        raise SendRefused("this reply has no Telegram chat or no text; the conversation's address is incomplete")
    request = {**_target(address), "text": body["text"], "entities": body.get("entities") or []}
    if body.get("buttons"):
        request["buttons"] = body["buttons"]
    private = address["chat_id"] > 0 or address.get("direct_topic_id") or address.get("business_connection_id")
    if not private and outgoing.part == 0:  # in a group the answer shows whom it is for
        answered = outgoing.reply_to or ""
        request["reply_to"] = int(answered) if answered.isdecimal() else address.get("reply_to")
    return request


def _amendment(answer: Answered, request: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """What to change so that Telegram takes the message after all; None when there is nothing."""
    moved, said = answer.parameters.get("migrate_to_chat_id"), answer.description.lower()
    if isinstance(moved, int):  # the group became a supergroup; message numbers and topics do not follow
        return "chat", {"chat_id": moved, "reply_to": None, "message_thread_id": None}
    if answer.status != 400:
        return None
    if "can't parse entities" in said and request.get("entities"):
        return "entities", {"entities": []}
    if "thread not found" in said and request.get("message_thread_id"):
        return "thread", {"message_thread_id": None}
    if ("replied not found" in said or "reply message not found" in said) and request.get("reply_to"):
        return "reply", {"reply_to": None}
    return None


# The loop


@lru_cache(maxsize=1)
def _loop(process: int) -> asyncio.AbstractEventLoop:
    """The event loop of this process, in a thread of its own. Keyed by process: no thread survives a fork."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="telegram", daemon=True).start()
    return loop


_starting = threading.Lock()


def _in_loop(work: Coroutine[Any, Any, T]) -> Future[T]:
    with _starting:
        loop = _loop(os.getpid())
    return asyncio.run_coroutine_threadsafe(work, loop)


async def _called(function: Callable[[], None]) -> None:
    function()


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    """Run what nobody waits for: a failure is a line in the log."""
    try:
        await work
    except Exception as error:
        log.debug("telegram_courtesy_failed", error=type(error).__name__)
