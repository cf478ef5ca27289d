"""What a Telegram chat shows while an answer is written: "typing", and in private chats the growing text as a draft.

A draft is a preview that Telegram drops after 30 seconds or at the message itself
(https://core.telegram.org/bots/api#sendmessagedraft). It is a courtesy: whatever goes wrong with one, "typing" is shown
from there on, and the answer is sent as a message in any case.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from pipeline.senders import telegram_text
from ragline.logs import get_logger

if TYPE_CHECKING:
    from pipeline.senders.telegram_bot import TelegramBot

#: Telegram shows the typing indicator for five seconds; quick answers go without one.
TYPING_PERIOD, TYPING_DELAY = 4.5, 0.3
#: Seconds between two drafts in a chat (messages are limited to about one), and after which an unchanged one is sent
#: again, as it would disappear.
DRAFT_PERIOD, DRAFT_KEPT = 1.0, 20.0
#: Seconds between two looks whether there is a text to show.
LOOK = 0.25
#: Drafts of one bot a second and process. About 30 messages a second are allowed: those come first.
DRAFTS_PER_SECOND = 10
#: Seconds without drafts of a bot after a 429 that names no time.
UNNAMED_WAIT = 30.0
log = get_logger(__name__)


class Pace:
    """The drafts of one bot: how many a second, and none while Telegram asks to wait. To be used in one event loop."""

    def __init__(self) -> None:
        self._next = 0.0

    def admits(self) -> bool:
        """Whether a draft may go out now; its place is taken."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + 1 / DRAFTS_PER_SECOND
        return True

    def wait(self, seconds: float) -> None:
        """No draft for so long."""
        self._next = max(self._next, time.monotonic() + seconds)


class Progress:
    """What one chat is shown during one block. :meth:`show` may be called from any thread, the rest in the loop."""

    def __init__(self, pace: Pace, target: dict[str, Any]) -> None:
        self._pace, self._target = pace, target
        self._draft_id = random.randint(1, 2**31 - 1)  # noqa: S311
        self._text: str | None = None
        self._ended = asyncio.Event()
        self._drafts, self._types = is_private(target), True
        #: Whether a draft went out, or was about to.
        self.drafted = False

    def show(self, text: str) -> None:
        """``text`` is all that is written so far; an empty one stands for thinking."""
        self._text = text

    def end(self) -> None:
        """Show nothing more. :meth:`run` returns when a call on its way has arrived, so that no draft comes late."""
        self._ended.set()

    async def run(self, connect: Callable[[], TelegramBot]) -> None:
        """Show it until :meth:`end`."""
        if await self._ends_within(TYPING_DELAY):
            return
        bot = await asyncio.to_thread(connect)
        typed = drafted = -1e9
        sent: str | None = None
        while self._drafts or self._types:
            now, text = time.monotonic(), self._text
            if self._drafts and text is not None:
                if (text != sent or now - drafted > DRAFT_KEPT) and self._pace.admits():
                    sent, drafted = text, now
                    await self._draft(bot, text)
                    if not self._drafts:
                        continue
            elif self._types and now - typed > TYPING_PERIOD:
                typed = now
                self._types = await self._made(bot.show_typing(self._target))
            if await self._ends_within(self._period):
                return

    @property
    def _period(self) -> float:
        if not self._drafts:
            return TYPING_PERIOD
        return LOOK if self._text is None else DRAFT_PERIOD

    async def _ends_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._ended.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _draft(self, bot: TelegramBot, text: str) -> None:
        body = next(iter(telegram_text.split(text)), {"text": ""})
        self.drafted = True
        self._drafts = await self._made(bot.send_draft({**self._target, **body, "draft_id": self._draft_id}))

    async def _made(self, call: Coroutine[Any, Any, None]) -> bool:
        """Whether Telegram took it."""
        from pipeline.senders.telegram_bot import Answered, ConnectionLost, Malformed, NeverConnected

        try:
            await call
        except Answered as answer:
            if answer.status == 429:
                wait = answer.parameters.get("retry_after")
                self._pace.wait(float(wait) if isinstance(wait, int | float) else UNNAMED_WAIT)
            log.debug("telegram_courtesy_refused", status=answer.status)
        except (ConnectionLost, Malformed, NeverConnected) as error:
            log.debug("telegram_courtesy_failed", error=type(error).__name__)
        else:
            return True
        return False


def is_private(target: dict[str, Any]) -> bool:
    """Whether drafts can be shown there: in private chats with the bot, and nowhere else."""
    elsewhere = target.get("business_connection_id") or target.get("direct_messages_topic_id")
    return isinstance(target["chat_id"], int) and target["chat_id"] > 0 and not elsewhere
