"""The few calls the way in and the commands make to the Bot API, without aiogram (see ``normalise``)."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx

from ingress.channels.telegram.chats import Bot
from ingress.channels.telegram.fields import record, whole, words
from ragline.channels import TelegramAccount
from ragline.errors import TransientError
from ragline.logs import get_logger
from ragline.redaction import mask

#: Seconds after which a failed getMe is tried again.
IDENTITY_RETRY = 60.0
log = get_logger(__name__)


class BotApiError(TransientError):
    """A call failed. ``status`` is the HTTP status, None when there was no answer; ``description`` Telegram's words."""

    def __init__(
        self, message: str, retry_after: float | None = None, status: int | None = None, description: str = ""
    ) -> None:
        super().__init__(message, retry_after)
        self.status = status
        self.description = description

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.args[0], self.retry_after, self.status, self.description)


class BotApi:
    """The Bot API of one account. Use as an async context manager."""

    def __init__(self, account: TelegramAccount) -> None:
        self._base = f"{account.api_base.rstrip('/')}/bot{account.token.get_secret_value()}"
        self._client = httpx.AsyncClient()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self._client.aclose()

    async def call(self, method: str, params: dict[str, Any] | None = None, timeout: float = 10.0) -> Any:
        """The call's ``result``. ``timeout`` in seconds, of which connecting may take five.

        Raises :class:`BotApiError`, whose text never holds the token.
        """
        try:
            response = await self._client.post(
                f"{self._base}/{method}", json=params or {}, timeout=httpx.Timeout(timeout, connect=5.0)
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # From None: the client's exception names the address, and the address holds the token.
            raise BotApiError(f"{method}: the Bot API does not answer ({type(error).__name__})") from None
        try:
            answer = record(response.json())
        except (ValueError, RecursionError):
            answer = {}
        if response.is_success and answer.get("ok") is True and "result" in answer:
            return answer["result"]
        description = mask(words(answer.get("description"), 300)) or "no answer of the Bot API's form"
        retry_after = whole(record(answer.get("parameters")).get("retry_after"))
        raise BotApiError(
            f"{method}: {response.status_code} {description}",
            retry_after=None if retry_after is None else float(max(retry_after, 0)),
            status=response.status_code,
            description=description,
        )


class Identity:
    """The bot's id and username. The id is part of the token; the username is asked once, when it is needed."""

    def __init__(self, account: TelegramAccount, clock: Callable[[], float] = time.monotonic) -> None:
        number = account.token.get_secret_value().partition(":")[0]
        self._account = account
        self._clock = clock
        self._asked_at: float | None = None
        self.known = Bot(id=int(number) if number.isascii() and number.isdigit() and len(number) < 20 else None)

    async def get(self) -> Bot:
        """With the username, unless Telegram does not tell it now; a message is not held up for it for long."""
        recently = self._asked_at is not None and self._clock() - self._asked_at < IDENTITY_RETRY
        if self.known.username is not None or recently:
            return self.known
        self._asked_at = self._clock()
        try:
            async with BotApi(self._account) as api:
                me = record(await api.call("getMe", timeout=3.0))
        except BotApiError as error:
            log.warning("telegram_identity_unknown", reason=str(error), bot=self.known.id)
            return self.known
        self.known = Bot(id=whole(me.get("id")) or self.known.id, username=words(me.get("username"), 64) or None)
        return self.known
