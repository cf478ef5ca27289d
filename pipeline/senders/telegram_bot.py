"""The one module that imports aiogram (170 MB, seconds): loaded at the first message, not with the worker."""

from __future__ import annotations

import json
from typing import Any, cast

from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import AiogramError, TelegramNetworkError
from aiogram.methods import (
    AnswerCallbackQuery,
    Response,
    SendChatAction,
    SendMessage,
    SendMessageDraft,
    TelegramMethod,
)
from aiogram.methods.base import TelegramType
from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup, LinkPreviewOptions, MessageEntity, ReplyParameters
from aiohttp import ClientConnectorError, ClientTimeout, ConnectionTimeoutError, InvalidURL, NonHttpUrlClientError
from pydantic import ValidationError

#: Seconds for a call, and for its connection alone, which is over before a byte of the request is written.
TIMEOUT, CONNECT_TIMEOUT = 15.0, 5.0


class Answered(Exception):
    """Telegram, or what stands in its place, answered with something else than a result aiogram can read."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"answered with {status}")
        self.status = status
        try:
            read = json.loads(body)
        except (ValueError, RecursionError):
            read = None
        self.json: dict[str, Any] = read if isinstance(read, dict) else {}
        #: An answer of the Bot API, and not of a proxy or a gateway on the way.
        self.genuine = isinstance(self.json.get("ok"), bool)
        #: Done, as far as can be seen: the answer may be cut off, or of a form newer than aiogram.
        self.done = 200 <= status < 300 and body.replace(" ", "").startswith('{"ok":true')
        self.description = str(self.json.get("description") or "")
        parameters = self.json.get("parameters")
        self.parameters: dict[str, Any] = parameters if isinstance(parameters, dict) else {}

    @property
    def message_id(self) -> int | None:
        """Of the message that was sent, where the answer tells it."""
        result = self.json.get("result")
        found = result.get("message_id") if isinstance(result, dict) else None
        return found if isinstance(found, int) else None


class NeverConnected(Exception):
    """The request was not written: refused, unknown host, TLS, or no connection in time."""


class ConnectionLost(Exception):
    """No answer, although the request was written, or may have been."""


class Malformed(Exception):
    """The call cannot be made from what was given."""


class _Session(AiohttpSession):
    """aiogram's session, telling how an answer came: aiogram's own errors leave out the HTTP status, and some
    of them (an unreadable 5xx, a 5xx without a description) are not even of its own family."""

    def check_response(
        self, bot: Bot, method: TelegramMethod[TelegramType], status_code: int, content: str
    ) -> Response[TelegramType]:
        try:
            return super().check_response(bot, method, status_code, content)
        except (AiogramError, TypeError):
            raise Answered(status_code, content) from None


def _keyboard(buttons: list[dict[str, str]]) -> InlineKeyboardMarkup | None:
    """A button a row, so that its title has the whole width."""
    rows = [[InlineKeyboardButton(text=button["title"], callback_data=button["data"])] for button in buttons]
    return InlineKeyboardMarkup(inline_keyboard=rows) if rows else None


def _entities(params: dict[str, Any]) -> list[MessageEntity] | None:
    return [MessageEntity.model_validate(entity) for entity in params.get("entities") or []] or None


class TelegramBot:
    """The calls a sender makes. To be used in one event loop.

    Raises :class:`Answered`, :class:`NeverConnected`, :class:`ConnectionLost` or :class:`Malformed`. None of them
    names the address called, which holds the token, and none has aiogram's or aiohttp's error as its cause.
    """

    def __init__(self, token: str, api_base: str) -> None:
        # aiogram hands the time-out through to aiohttp, which takes more than the number aiogram asks for.
        timeout = cast(float, ClientTimeout(total=TIMEOUT, connect=CONNECT_TIMEOUT))
        self._bot = Bot(token, session=_Session(api=TelegramAPIServer.from_base(api_base.rstrip("/")), timeout=timeout))

    async def send_message(self, params: dict[str, Any]) -> int | None:
        """Send a text message; the id of the message where the answer tells it."""
        try:
            reply = params.get("reply_to")
            method = SendMessage(
                chat_id=params["chat_id"],
                text=params["text"],
                entities=_entities(params),
                message_thread_id=params.get("message_thread_id"),
                direct_messages_topic_id=params.get("direct_messages_topic_id"),
                business_connection_id=params.get("business_connection_id"),
                reply_parameters=reply and ReplyParameters(message_id=reply, allow_sending_without_reply=True),
                reply_markup=_keyboard(params.get("buttons") or []),
                link_preview_options=LinkPreviewOptions(is_disabled=True),
            )
        except (ValidationError, KeyError) as error:
            raise Malformed(type(error).__name__) from None
        try:
            return (await self._call(method)).message_id
        except Answered as answer:
            if answer.done:
                return answer.message_id
            raise

    async def show_typing(self, params: dict[str, Any]) -> None:
        """The typing indicator, for about five seconds."""
        await self._call(
            SendChatAction(
                chat_id=params["chat_id"],
                action="typing",
                message_thread_id=params.get("message_thread_id"),
                business_connection_id=params.get("business_connection_id"),
            )
        )

    async def send_draft(self, params: dict[str, Any]) -> None:
        """Show a preview of a message for some 30 seconds, or change it (same ``draft_id``); an empty text stands for
        thinking. In private chats only."""
        try:
            method = SendMessageDraft(
                chat_id=params["chat_id"],
                draft_id=params["draft_id"],
                text=params["text"],
                entities=_entities(params),
                message_thread_id=params.get("message_thread_id"),
            )
        except (ValidationError, KeyError) as error:
            raise Malformed(type(error).__name__) from None
        await self._call(method)

    async def acknowledge(self, callback_id: str, note: str = "") -> None:
        """End the waiting indicator on a button that was pressed; ``note`` (200 characters) is shown for a moment."""
        await self._call(AnswerCallbackQuery(callback_query_id=callback_id, text=note[:200] or None))

    async def close(self) -> None:
        """Close the connections."""
        await self._bot.session.close()

    async def _call(self, method: TelegramMethod[TelegramType]) -> TelegramType:
        try:
            return await self._bot(method)
        except TelegramNetworkError as error:
            cause = error.__cause__
            name = type(cause).__name__
            if isinstance(cause, InvalidURL | NonHttpUrlClientError):
                raise Malformed(f"api_base is no address of a server ({name})") from None
            if isinstance(cause, ClientConnectorError | ConnectionTimeoutError):
                raise NeverConnected(name) from None
            raise ConnectionLost(name) from None
