"""A fake Telegram Bot API server: calls, files, polling and a webhook pusher.

As a process: `python -m tests.support.fake_telegram --port 8081`. It holds to what the real server does where
a support bot can notice: errors always carry a `description`, texts are measured after HTML is parsed,
answers are complete Message objects, updates wait in order, and a failing webhook blocks its own chat only.
Only `parse_mode=HTML` is read; the Markdown modes are refused, so that nothing unproven passes.
"""

from __future__ import annotations

import asyncio
import html
import json
import math
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any, ClassVar

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tests.support.faults import Fault
from tests.support.server import JSON, Call, FakeServer, Upload, arguments, content_from, serve_forever

TOKEN = "123456:TEST"
MAX_TEXT, MAX_CAPTION, MAX_DOWNLOAD = 4096, 1024, 20 * 1024 * 1024
NOT_BY_DEFAULT = {"chat_member", "message_reaction", "message_reaction_count"}
CHAT_ACTIONS = {
    *(f"{verb}_{kind}" for verb in ("record", "upload") for kind in ("video", "voice", "video_note")),
    *("typing", "upload_photo", "upload_document", "choose_sticker", "find_location"),
}
_FRAGMENTS = {
    401: "Unauthorized",
    403: "Forbidden: bot was blocked by the user",
    404: "Not Found",
    413: "Request Entity Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
}


class TelegramError(Exception):
    """An answer with `ok: false`."""

    def __init__(self, code: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.code, self.description, self.parameters = code, description, parameters

    def response(self) -> Response:
        body = {"ok": False, "error_code": self.code, "description": self.description}
        if self.parameters:
            body["parameters"] = self.parameters
        retry = self.parameters.get("retry_after")
        return JSONResponse(body, self.code, {"Retry-After": str(retry)} if retry is not None else None)


# Records


@dataclass(frozen=True, slots=True)
class Sent:
    """A message the bot sent. `text` is what the customer sees (of media, the caption)."""

    chat_id: int
    message_id: int
    text: str
    parse_mode: str | None
    entities: list[JSON]
    reply_markup: JSON | None
    reply_parameters: JSON | None
    at: float
    kind: str
    message_thread_id: int | None
    file_id: str | None


@dataclass(frozen=True, slots=True)
class Action:
    """A sendChatAction or a draft (`action` is then `draft`, `text` its text and `draft_id` which one it is)."""

    chat_id: int
    action: str
    at: float
    text: str = ""
    draft_id: int | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt to hand an update to the webhook; `status` is None when there was no answer."""

    update_id: int
    lane: str
    attempt: int
    status: int | None
    at: float
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A file getFile knows; `size` is what is claimed, so that a big file needs no bytes."""

    file_id: str
    path: str
    content: bytes
    size: int

    def json(self) -> JSON:
        return {"file_id": self.file_id, "file_unique_id": f"u{self.file_id}", "file_size": self.size}


@dataclass(frozen=True, slots=True)
class Flood:
    """Flood control: `limit` sends a chat within `window` seconds (and `total` over all chats), then 429.

    `retry_after` is what is answered; None computes the seconds to wait, rounded up as Telegram does.
    """

    limit: int = 1
    window: float = 1.0
    retry_after: int | None = None
    total: int | None = None


# HTML


_TAGS = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "tg-spoiler": "spoiler",
    "span": "spoiler",
    "tg-emoji": "custom_emoji",
    "a": "text_link",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
}
_START = re.compile(r"""<([^\s>/]*)((?:\s+[\w-]+(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s>"']+))?)*)\s*>""")
_ATTRIBUTE = re.compile(r"""([\w-]+)(?:\s*=\s*("[^"]*"|'[^']*'|[^\s>"']+))?""")
_NAMED = re.compile(r"&(?:lt|gt|amp|quot|#\d+|#x[0-9a-fA-F]+);")


def utf16_length(text: str) -> int:
    """Length in UTF-16 code units, the unit of Telegram's limits and entity offsets."""
    return len(text) + sum(1 for char in text if ord(char) > 0xFFFF)


def parse_html(markup: str) -> tuple[str, list[JSON]]:
    """Text and entities of Telegram HTML; TelegramError 400 "can't parse entities: …" for anything else."""

    def bad(why: str) -> TelegramError:
        return TelegramError(400, f"Bad Request: can't parse entities: {why}")

    parts: list[str] = []
    entities: list[JSON] = []
    open_tags: list[tuple[str, JSON, int]] = []
    at = position = 0
    while at < len(markup):
        if markup[at] not in "<&":
            found = re.search("[<&]", markup[at:])
            end = at + found.start() if found else len(markup)
            parts.append(markup[at:end])
            position += utf16_length(markup[at:end])
            at = end
            continue
        if markup[at] == "&":
            named = _NAMED.match(markup, at)
            char = html.unescape(named.group()) if named else "&"
            parts.append(char)
            position += utf16_length(char)
            at = named.end() if named else at + 1
            continue
        offset = len(markup[:at].encode())
        if markup.startswith("</", at):
            end = markup.find(">", at)
            name = markup[at + 2 : end].strip().lower()
            if end < 0 or not open_tags:
                raise bad(f"Unexpected end tag at byte offset {offset}")
            expected, entity, begin = open_tags.pop()
            if name and name != expected:
                raise bad(f'Unmatched end tag at byte offset {offset}, expected "</{expected}>", found "</{name}>"')
            made = {"offset": begin, "length": position - begin, **entity}
            inside = entities[-1] if entities else {}
            doubled = inside == {**made, "language": inside.get("language")}  # code in pre makes one pre
            if position > begin and "type" in made and not doubled:
                entities.append(made)
            at = end + 1
            continue
        match = _START.match(markup, at)
        name = match.group(1).lower() if match else re.split(r"[\s>]", markup[at + 1 :], maxsplit=1)[0].lower()
        if name not in _TAGS:
            raise bad(f'Unsupported start tag "{name}" at byte offset {offset}')
        if match is None:
            raise bad(f'Unclosed start tag "{name}" at byte offset {offset}')
        attributes = {key.lower(): value.strip("\"'") for key, value in _ATTRIBUTE.findall(match.group(2))}
        if name == "span" and attributes.get("class") != "tg-spoiler":
            raise bad(f'Tag "span" must have class "tg-spoiler" at byte offset {offset}')
        open_tags.append((name, _entity(name, attributes, [tag for tag, _, _ in open_tags]), position))
        at = match.end()
    if open_tags:
        raise bad(f'Can\'t find end tag corresponding to start tag "{open_tags[-1][0]}"')
    outer_first = sorted(reversed(entities), key=lambda item: (item["offset"], -item["length"]))
    return _trimmed("".join(parts), outer_first)


def _entity(name: str, attributes: dict[str, str], around: list[str]) -> JSON:
    kind = _TAGS[name]
    if name == "a":
        url = html.unescape(attributes.get("href", ""))
        return {"type": kind, "url": url} if re.match(r"(https?|tg|mailto|tel):", url) else {}
    if name == "tg-emoji":
        return {"type": kind, "custom_emoji_id": attributes.get("emoji-id", "")}
    if name == "blockquote" and "expandable" in attributes:
        return {"type": "expandable_blockquote"}
    if name == "code" and around[-1:] == ["pre"]:
        language = attributes.get("class", "").removeprefix("language-")
        return {"type": "pre", "language": language} if language else {}
    return {"type": kind}


def _trimmed(text: str, entities: list[JSON]) -> tuple[str, list[JSON]]:
    lead = utf16_length(text) - utf16_length(text.lstrip())
    text = text.strip()
    length, kept = utf16_length(text), []
    for entity in entities:
        begin = max(0, entity["offset"] - lead)
        end = min(length, entity["offset"] + entity["length"] - lead)
        if end > begin:
            kept.append({**entity, "offset": begin, "length": end - begin})
    return text, kept


# Parameters


class Params(dict[str, Any]):
    """A call's parameters; the wire's strings are read as the method needs them."""

    def text(self, name: str, default: str = "") -> str:
        value = self.get(name, default)
        return value if isinstance(value, str) else json.dumps(value)

    def integer(self, name: str, default: int = 0) -> int:
        try:
            return int(self.get(name, default))
        except (TypeError, ValueError):
            raise TelegramError(400, f"Bad Request: parameter {name!r} must be an integer") from None

    def flag(self, name: str) -> bool:
        return str(self.get(name, "")).lower() in ("true", "1", "yes")

    def object(self, name: str, kind: type) -> Any:
        """A JSON object or array; None if absent; 400 if it is something else."""
        value = self.get(name)
        if isinstance(value, str):
            try:
                value = json.loads(value) if value else None
            except ValueError:
                raise TelegramError(400, f"Bad Request: can't parse {name} JSON object") from None
        if value is not None and not isinstance(value, kind):
            raise TelegramError(400, f"Bad Request: object expected as {name}")
        return value


async def read_params(request: Request) -> Params:
    """Query, urlencoded, multipart and JSON parameters alike; files as `Upload`."""
    params = Params(request.query_params)
    if "application/json" in request.headers.get("content-type", ""):
        body = await request.json()
        params.update(body if isinstance(body, dict) else {})
    elif request.method == "POST":
        async with request.form() as form:
            for key, value in form.multi_items():
                if isinstance(value, UploadFile):
                    content = await value.read()
                    params[key] = Upload(value.filename or key, value.content_type or "", content)
                else:
                    params[key] = value
    return params


# Updates


@dataclass(slots=True)
class _Waiting:
    seq: int
    update: JSON
    lane: str
    again: bool
    returned: bool = False


@dataclass(slots=True)
class _Webhook:
    url: str
    secret: str | None
    max_connections: int
    slots: asyncio.Semaphore
    lanes: dict[str, deque[_Waiting]] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)


class FakeTelegram(FakeServer):
    """The Bot API of one bot. `token` in the path is checked; wrong ones get 401.

    `backoff` is the webhook's first and longest wait after a failure, in seconds; a Retry-After of the
    webhook's answer counts instead, up to `max_retry_after`. Identifiers start at `first_id`, by default at a
    number that grows with the clock, so that a store which outlives one fake does not take the next one's
    updates for old.
    """

    name: ClassVar[str] = "fake-telegram"

    def __init__(
        self,
        token: str = TOKEN,
        *,
        port: int = 0,
        latency: float = 0.0,
        flood: Flood | None = None,
        backoff: tuple[float, float] = (0.05, 1.0),
        max_retry_after: float = 3600.0,
        webhook_timeout: float = 55.0,
        first_id: int | None = None,
    ) -> None:
        super().__init__(port=port, latency=latency)
        self.token, self.flood = token, flood
        self.backoff, self.max_retry_after, self.webhook_timeout = backoff, max_retry_after, webhook_timeout
        self.bot: JSON = {
            "id": int(token.partition(":")[0]),
            "is_bot": True,
            "first_name": "Test bot",
            "username": "test_bot",
        }
        self.sent: list[Sent] = []
        self.edited: list[Sent] = []
        self.chat_actions: list[Action] = []
        self.answered_callbacks: list[JSON] = []
        self.deliveries: list[Delivery] = []
        self.files: dict[str, File] = {}
        self._next_id = first_id if first_id is not None else int((time.time() - 1_700_000_000) * 4)
        self._chats: dict[int, JSON] = {}
        self._messages: dict[tuple[int, int], JSON] = {}
        self._callbacks: set[str] = set()
        self._sends: dict[int | None, deque[float]] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._allowed: list[str] = []
        self._webhook: _Webhook | None = None
        self._webhook_error: JSON = {}
        self._poll = 0
        methods: dict[str, Callable[[Params], Any]] = {
            "getMe": self._get_me,
            "setWebhook": self._set_webhook,
            "deleteWebhook": self._delete_webhook,
            "getWebhookInfo": self._get_webhook_info,
            "sendMessage": self._send_message,
            "sendPhoto": partial(self._send_media, kind="photo"),
            "sendDocument": partial(self._send_media, kind="document"),
            "sendVoice": partial(self._send_media, kind="voice"),
            "sendVideo": partial(self._send_media, kind="video"),
            "sendChatAction": self._send_chat_action,
            "sendMessageDraft": self._send_draft,
            "editMessageText": self._edit_message_text,
            "answerCallbackQuery": self._answer_callback_query,
            "getFile": self._get_file,
            "setMyCommands": lambda _: True,
        }
        self._methods = {name.lower(): function for name, function in methods.items()}

    # What the bot did

    def wait_sent(self, n: int = 1, timeout: float = 10.0, *, chat_id: int | None = None) -> list[Sent]:
        """All messages sent (to `chat_id`, if given) once there are at least `n`; TimeoutError otherwise."""

        def items() -> list[Sent]:
            return [item for item in self.sent if chat_id is None or item.chat_id == chat_id]

        return self.wait_items(items, n, timeout, "messages")

    def pending_updates(self) -> int:
        """How many updates were neither confirmed by a poller nor taken by the webhook."""
        with self.lock:
            return len(self._waiting)

    def wait_idle(self, timeout: float = 10.0) -> None:
        """Return when no update is waiting; TimeoutError otherwise."""
        self.wait_for(lambda: not self._waiting, timeout, "end of the queue")

    def open_connections(self) -> int:
        """How many connections clients hold now; stopping breaks them all."""
        return len(self._server.server_state.connections) if self._server else 0

    # What the customers do

    def user_says(self, chat_id: int, text: str, *, sender: JSON | None = None, **fields: Any) -> JSON:
        """A text message; `fields` are further members of the message. Returns the update."""
        if text.startswith("/"):
            command = text.split(maxsplit=1)[0]
            fields.setdefault("entities", [{"type": "bot_command", "offset": 0, "length": utf16_length(command)}])
        return self._push_message("message", chat_id, sender, {"text": text, **fields})

    def user_sends(
        self,
        chat_id: int,
        kind: str,
        content: bytes | str = b"",
        *,
        sender: JSON | None = None,
        members: JSON | None = None,
        **fields: Any,
    ) -> JSON:
        """A message of another kind. Returns the update.

        photo, voice, audio, video, video_note, document, animation and sticker have `content`, which getFile
        then serves (base64 if a string); `members` sets file_name, mime_type, file_size, …. For contact,
        location, venue, poll, … `members` is the whole object. `fields` are further members of the message
        (caption, …).
        """
        members = members or {}
        body = dict(_MEDIA.get(kind, {}))
        if kind in _MEDIA:
            suffix = PurePosixPath(members.get("file_name", "")).suffix or _SUFFIXES[kind]
            stored = self.add_file(content_from(content), f"{kind}s/file", suffix, members.get("file_size"))
            body |= stored.json()
        body |= members
        value: Any = body
        if kind == "photo":
            value = [{**body, "width": side, "height": side} for side in (90, 800)]
            value[0] |= {"file_id": f"{body['file_id']}s", "file_unique_id": f"{body['file_unique_id']}s"}
        return self._push_message("message", chat_id, sender, {kind: value, **fields})

    def user_sends_album(self, chat_id: int, photos: Sequence[bytes | str], *, caption: str = "") -> list[JSON]:
        """Photos as one album: a message each, one media_group_id, the caption on the first."""
        group = str(self._take_id())
        updates: list[JSON] = []
        for photo in photos:
            fields: JSON = {"caption": caption} if caption and not updates else {}
            updates.append(self.user_sends(chat_id, "photo", photo, media_group_id=group, **fields))
        return updates

    def user_edits(self, chat_id: int, message_id: int, text: str) -> JSON:
        """The customer edits a message of theirs."""
        with self.lock:
            old = self._messages.get((chat_id, message_id), {})
        kept = {key: value for key, value in old.items() if key not in ("entities", "chat", "from")}
        body = {**kept, "message_id": message_id, "text": text, "edit_date": int(time.time())}
        return self._push_message("edited_message", chat_id, old.get("from"), body)

    def user_presses(self, chat_id: int, data: str, message_id: int | None = None) -> JSON:
        """A button with `data` is pressed, by default on the newest message of the chat that has one."""
        with self.lock:
            if message_id is None:
                marked = [item for item in self.sent if item.chat_id == chat_id and item.reply_markup]
                message_id = marked[-1].message_id if marked else None
            message = self._messages.get((chat_id, message_id or 0))
        callback: JSON = {
            "id": str(self._take_id()),
            "from": self._person(chat_id),
            "chat_instance": str(chat_id),
        }
        if message is not None:
            callback["message"] = message
        return self.push({"callback_query": {**callback, "data": data}})

    def user_blocks(self, chat_id: int, *, unblock: bool = False) -> JSON:
        """The customer blocks (or unblocks) the bot: my_chat_member; sends fail only if a fault says so."""
        member_of: JSON = {"user": self.bot, "status": "member"}
        kicked: JSON = {"user": self.bot, "status": "kicked", "until_date": 0}
        old, new = (kicked, member_of) if unblock else (member_of, kicked)
        member = {"chat": self._chat(chat_id), "from": self._person(chat_id), "date": int(time.time())}
        return self.push({"my_chat_member": {**member, "old_chat_member": old, "new_chat_member": new}})

    def push(self, update: JSON) -> JSON:
        """Queue any update; an update_id is added if there is none. Returns the update."""
        numbered = "update_id" in update
        with self.lock:  # numbers must reach the queue in their order, or a confirmed offset skips one
            update = dict(update) if numbered else {"update_id": self._take_id(), **update}
            for body in update.values():
                if isinstance(body, dict) and "chat" in body and "message_id" in body:
                    self._messages[body["chat"]["id"], body["message_id"]] = body
                    self._chats.setdefault(body["chat"]["id"], body["chat"])
            if "callback_query" in update:
                self._callbacks.add(update["callback_query"]["id"])
            kind = next((key for key in update if key != "update_id"), "")
            wanted = kind in self._allowed if self._allowed else kind not in NOT_BY_DEFAULT
            if wanted:
                self._queue(update, _lane(update), again=numbered)
        return update

    def redeliver(self, update: JSON, times: int = 1, *, parallel: bool = False) -> None:
        """The same update again, behind what its chat has waiting or, if `parallel`, all copies at once."""
        for number in range(times):
            lane = _lane(update)
            self._queue(update, f"{lane}#{self._take_id()}.{number}" if parallel else lane, again=True)

    def add_file(self, content: bytes, path: str = "documents/file", suffix: str = "", size: int | None = None) -> File:
        """A file that getFile and the file route serve."""
        number = self._take_id()
        file = File(f"F{number}", f"{path}_{number}{suffix}", content, len(content) if size is None else size)
        with self.lock:
            self.files[file.file_id] = self.files[f"{file.file_id}s"] = file
        return file

    def set_webhook(
        self,
        url: str,
        secret_token: str | None = None,
        *,
        max_connections: int = 40,
        allowed_updates: Sequence[str] | None = None,
    ) -> None:
        """What the bot's setWebhook does; an empty `url` goes back to polling. Waiting updates are kept."""
        with self.lock:
            if allowed_updates is not None:
                self._allowed = list(allowed_updates)
            self._webhook_error = {}
            self._webhook = None
            if url:
                self._install(url, secret_token, max_connections)
        self.changed()

    # FakeServer

    def on_start(self) -> None:
        with self.lock:
            hook = self._webhook
            if hook is not None:  # a new loop: a new semaphore and new lanes
                self._install(hook.url, hook.secret, hook.max_connections)

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/bot{token}/{method}", self._call, methods=["GET", "POST"]),
            Route("/file/bot{token}/{path:path}", self._download),
        ]

    def records(self) -> dict[str, Sequence[Any]]:
        with self.lock:
            waiting = [item.update for item in self._waiting.values()]
        return {
            **super().records(),
            "sent": self.sent,
            "edited": self.edited,
            "chat_actions": self.chat_actions,
            "answered_callbacks": self.answered_callbacks,
            "deliveries": self.deliveries,
            "waiting": waiting,
        }

    def actions(self) -> dict[str, Callable[..., Any]]:
        functions: list[Callable[..., Any]] = [
            self.user_says,
            self.user_sends,
            self.user_sends_album,
            self.user_edits,
            self.user_presses,
            self.user_blocks,
            self.push,
            self.redeliver,
            self.set_webhook,
        ]
        return {function.__name__: function for function in functions}

    def clear(self) -> None:
        super().clear()
        for records in (self.sent, self.edited, self.chat_actions, self.answered_callbacks, self.deliveries):
            records.clear()

    def error_body(self, fault: Fault) -> JSON:
        code, parameters = fault.status, dict(fault.parameters)
        description = fault.description or _FRAGMENTS.get(code, "Bad Request: scripted fault")
        if code == 429:
            retry = math.ceil(fault.retry_after if fault.retry_after is not None else 1)
            parameters.setdefault("retry_after", retry)
            description = fault.description or f"Too Many Requests: retry after {retry}"
        body = {"ok": False, "error_code": code, "description": description}
        return {**body, "parameters": parameters} if parameters else body

    def broken_response(self, fault: Fault) -> Response:
        if fault.shape == "result":
            return JSONResponse({"ok": True, "result": {"message_id": 1}})
        return super().broken_response(fault)

    # Requests

    async def _call(self, request: Request) -> Response:
        method = request.path_params["method"]
        try:
            params = await read_params(request)
        except ValueError:
            return TelegramError(400, "Bad Request: can't parse request body").response()

        async def answer(_: Call) -> Response:
            try:
                if request.path_params["token"] != self.token:
                    raise TelegramError(401, "Unauthorized")
                if method.lower() == "getupdates":
                    return JSONResponse({"ok": True, "result": await self._get_updates(params)})
                function = self._methods.get(method.lower())
                if function is None:
                    raise TelegramError(404, "Not Found: method not found")
                return JSONResponse({"ok": True, "result": function(params)})
            except TelegramError as error:
                return error.response()

        return await self.perform(method, params, answer, chat=params.get("chat_id"))

    async def _download(self, request: Request) -> Response:
        path, token = request.path_params["path"], request.path_params["token"]

        async def answer(_: Call) -> Response:
            with self.lock:
                found = next((file for file in self.files.values() if file.path == path), None)
            if token != self.token:
                return TelegramError(401, "Unauthorized").response()
            if found is None:
                return TelegramError(404, "Not Found").response()
            return Response(found.content, media_type="application/octet-stream")

        return await self.perform("file", {"path": path}, answer)

    def _get_me(self, _: Params) -> JSON:
        rights = ("can_join_groups", "can_read_all_group_messages", "supports_inline_queries")
        return {**self.bot, **dict.fromkeys(rights, False)}

    def _set_webhook(self, params: Params) -> bool:
        secret, url = params.text("secret_token") or None, params.text("url")
        if secret is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", secret):
            raise TelegramError(400, "Bad Request: secret token contains unallowed characters")
        if url and not re.match(r"https?://", url):
            raise TelegramError(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
        connections = params.integer("max_connections", 40)
        if not 1 <= connections <= 100:
            connections = 40
        if params.flag("drop_pending_updates"):
            self._drop_updates()
        allowed = params.object("allowed_updates", list)
        self.set_webhook(url, secret, max_connections=connections, allowed_updates=allowed)
        return True

    def _delete_webhook(self, params: Params) -> bool:
        if params.flag("drop_pending_updates"):
            self._drop_updates()
        self.set_webhook("")
        return True

    def _get_webhook_info(self, _: Params) -> JSON:
        with self.lock:
            hook = self._webhook
            info = {"url": hook.url if hook else "", "has_custom_certificate": False}
            info["pending_update_count"] = len(self._waiting)
            if hook is not None:
                info |= {
                    "max_connections": hook.max_connections,
                    "ip_address": "127.0.0.1",
                    **self._webhook_error,
                }
            return {**info, "allowed_updates": self._allowed} if self._allowed else info

    async def _get_updates(self, params: Params) -> list[JSON]:
        def taken_over() -> bool:
            return self._webhook is not None or self._poll != mine

        if self._webhook is not None:
            text = "can't use getUpdates method while webhook is active"
            raise TelegramError(409, f"Conflict: {text}; use deleteWebhook to delete the webhook first")
        offset, limit = params.integer("offset"), params.integer("limit", 100)
        limit = limit if 1 <= limit <= 100 else 100
        allowed = params.object("allowed_updates", list)
        with self.lock:
            self._allowed = self._allowed if allowed is None else allowed
            self._poll += 1  # the newer poller wins; the older one is told so
            mine = self._poll
            self._confirm(offset)
        self.changed()
        timeout = min(max(params.integer("timeout"), 0), 50)
        await self.until(lambda: taken_over() or self._waiting, timeout)
        if taken_over():
            other = "setWebhook request" if self._webhook else "other getUpdates request"
            hint = "" if self._webhook else "; make sure that only one bot instance is running"
            raise TelegramError(409, f"Conflict: terminated by {other}{hint}")
        with self.lock:
            batch = list(self._waiting.values())[:limit]
            for item in batch:
                item.returned = True
            return [item.update for item in batch]

    def _confirm(self, offset: int) -> None:
        if offset < 0:  # the last updates only; those before are forgotten
            for seq in list(self._waiting)[:offset]:
                del self._waiting[seq]
        for seq, item in list(self._waiting.items()):
            if item.update["update_id"] < offset and (item.returned or not item.again):
                del self._waiting[seq]

    def _send_message(self, params: Params) -> JSON:
        chat_id = self._addressee(params)
        text, entities = self._formatted(params, "text", "entities", MAX_TEXT, "message is too long")
        if not text:
            raise TelegramError(400, "Bad Request: message text is empty")
        body = {"text": text, "entities": entities} if entities else {"text": text}
        return self._record(params, chat_id, "text", body, None)

    def _send_media(self, params: Params, *, kind: str) -> JSON:
        chat_id = self._addressee(params)
        given = params.get(kind)
        if isinstance(given, str) and given.startswith("attach://"):
            given = params.get(given.removeprefix("attach://"))
        if isinstance(given, Upload):
            suffix = PurePosixPath(given.filename).suffix
            file = self.add_file(given.content, f"{kind}s/file", suffix)
        elif isinstance(given, str) and given in self.files:
            file = self.files[given]
        elif isinstance(given, str) and re.match(r"https?://", given):
            file = self.add_file(b"", f"{kind}s/file")
        else:
            raise TelegramError(400, "Bad Request: wrong file identifier/HTTP URL specified")
        caption, entities = self._formatted(
            params, "caption", "caption_entities", MAX_CAPTION, "message caption is too long"
        )
        part: JSON = {**_MEDIA[kind], **file.json()}
        if isinstance(given, Upload) and kind == "document":
            part["file_name"] = given.filename
        body: JSON = {kind: [{**part, "width": 90, "height": 90}] if kind == "photo" else part}
        body |= {"caption": caption} if caption else {}
        body |= {"caption_entities": entities} if entities else {}
        return self._record(params, chat_id, kind, body, file.file_id)

    def _send_chat_action(self, params: Params) -> bool:
        chat_id, action = self._addressee(params, flood=False), params.text("action")
        if action not in CHAT_ACTIONS:
            raise TelegramError(400, "Bad Request: wrong parameter action in request")
        with self.lock:
            self.chat_actions.append(Action(chat_id, action, time.time()))
        return True

    def _send_draft(self, params: Params) -> bool:
        chat_id = self._addressee(params, flood=False)
        if not params.integer("draft_id") or chat_id < 0:
            raise TelegramError(400, "Bad Request: TEXTDRAFT_PEER_INVALID")
        text, _ = self._formatted(params, "text", "entities", MAX_TEXT, "message is too long")
        with self.lock:
            self.chat_actions.append(Action(chat_id, "draft", time.time(), text, params.integer("draft_id")))
        self.changed()
        return True

    def _edit_message_text(self, params: Params) -> JSON:
        chat_id, message_id = self._addressee(params), params.integer("message_id")
        with self.lock:
            old = self._messages.get((chat_id, message_id))
        if old is None:
            raise TelegramError(400, "Bad Request: message to edit not found")
        if old.get("from", {}).get("id") != self.bot["id"]:
            raise TelegramError(400, "Bad Request: message can't be edited")
        text, entities = self._formatted(params, "text", "entities", MAX_TEXT, "message is too long")
        if not text:
            raise TelegramError(400, "Bad Request: message text is empty")
        markup = self._markup(params)
        now = (text, entities, markup)
        if now == (old.get("text"), old.get("entities", []), old.get("reply_markup")):
            text = "message is not modified: specified new message content is exactly the same"
            raise TelegramError(400, f"Bad Request: {text}")
        kept = {key: value for key, value in old.items() if key not in ("entities", "reply_markup")}
        message: JSON = {**kept, "text": text, "edit_date": int(time.time())}
        message |= {"entities": entities} if entities else {}
        message |= {"reply_markup": markup} if markup else {}
        record = Sent(
            chat_id,
            message_id,
            text,
            params.get("parse_mode"),
            entities,
            markup,
            None,
            time.time(),
            "text",
            message.get("message_thread_id"),
            None,
        )
        with self.lock:
            self._messages[chat_id, message_id] = message
            self.edited.append(record)
        return message

    def _answer_callback_query(self, params: Params) -> bool:
        number = params.text("callback_query_id")
        with self.lock:
            if number not in self._callbacks:
                text = "query is too old and response timeout expired or query ID is invalid"
                raise TelegramError(400, f"Bad Request: {text}")
            if len(params.text("text")) > 200:
                raise TelegramError(400, "Bad Request: MESSAGE_TOO_LONG")
            self._callbacks.discard(number)
            self.answered_callbacks.append({**params, "at": time.time()})
        return True

    def _get_file(self, params: Params) -> JSON:
        with self.lock:
            file = self.files.get(params.text("file_id"))
        if file is None:
            raise TelegramError(400, "Bad Request: wrong file identifier/HTTP URL specified")
        if file.size > MAX_DOWNLOAD:
            raise TelegramError(400, "Bad Request: file is too big")
        return {**file.json(), "file_id": params.text("file_id"), "file_path": file.path}

    # Parts of requests

    def _addressee(self, params: Params, *, flood: bool = True) -> int:
        given = params.text("chat_id")
        if not given:
            raise TelegramError(400, "Bad Request: chat_id is empty")
        if not re.fullmatch(r"-?\d+", given) or not int(given):
            raise TelegramError(400, "Bad Request: chat not found")
        if flood and self.flood is not None:
            self._check_flood(self.flood, int(given))
        return int(given)

    def _check_flood(self, flood: Flood, chat_id: int) -> None:
        now = time.monotonic()
        with self.lock:
            counted: list[deque[float]] = []
            for key, limit in ((chat_id, flood.limit), (None, flood.total)):
                sends = self._sends.setdefault(key, deque())
                while sends and sends[0] <= now - flood.window:
                    sends.popleft()
                if limit is not None and len(sends) >= limit:
                    retry = flood.retry_after or max(1, math.ceil(sends[0] + flood.window - now))
                    raise TelegramError(429, f"Too Many Requests: retry after {retry}", retry_after=retry)
                counted.append(sends)
            for sends in counted:
                sends.append(now)

    def _formatted(self, params: Params, name: str, given: str, limit: int, too_long: str) -> tuple[str, list[JSON]]:
        text, mode = params.text(name), params.text("parse_mode")
        if not mode:
            text, entities = _trimmed(text, params.object(given, list) or [])
        elif mode.lower() == "html":
            text, entities = parse_html(text)
        elif mode.lower() in ("markdown", "markdownv2"):
            raise TelegramError(400, f"Bad Request: can't parse entities: this fake does not read {mode}")
        else:
            raise TelegramError(400, "Bad Request: unsupported parse_mode")
        if utf16_length(text) > limit:
            raise TelegramError(400, f"Bad Request: {too_long}")
        return text, entities

    def _markup(self, params: Params) -> JSON | None:
        markup: JSON | None = params.object("reply_markup", dict)
        for row in (markup or {}).get("inline_keyboard", []):
            for button in row:
                if not button.get("text"):
                    raise TelegramError(400, "Bad Request: can't parse inline keyboard button: Text is empty")
                if "callback_data" in button and not 1 <= len(button["callback_data"].encode()) <= 64:
                    raise TelegramError(400, "Bad Request: BUTTON_DATA_INVALID")
        return markup

    def _record(self, params: Params, chat_id: int, kind: str, body: JSON, file_id: str | None) -> JSON:
        markup, reply = self._markup(params), params.object("reply_parameters", dict)
        thread = params.integer("message_thread_id") or None
        formatting = body.get("entities") or body.get("caption_entities") or []
        message: JSON = {"message_id": self._take_id(), "date": int(time.time()), "from": self.bot}
        message |= {"chat": self._chat(chat_id), **body}
        with self.lock:
            if reply is not None:
                source = self._messages.get((chat_id, int(reply.get("message_id", 0))))
                if source is not None:
                    message["reply_to_message"] = {k: v for k, v in source.items() if k != "reply_to_message"}
                elif not reply.get("allow_sending_without_reply"):
                    raise TelegramError(400, "Bad Request: message to be replied not found")
            if thread is not None:
                message |= {"message_thread_id": thread, "is_topic_message": True}
            if markup and "inline_keyboard" in markup:
                message["reply_markup"] = markup
            self._messages[chat_id, message["message_id"]] = message
            record = Sent(
                chat_id,
                message["message_id"],
                str(body.get("text", body.get("caption", ""))),
                params.get("parse_mode"),
                formatting,
                markup,
                reply,
                time.time(),
                kind,
                thread,
                file_id,
            )
            self.sent.append(record)
        self.changed()
        return message

    # The queue of updates

    def _take_id(self) -> int:
        with self.lock:
            self._next_id += 1
            return self._next_id

    def _chat(self, chat_id: int) -> JSON:
        with self.lock:
            if chat_id not in self._chats:
                kind = "supergroup" if chat_id < -(10**12) else "group" if chat_id < 0 else "private"
                name = {"first_name": f"Customer {chat_id}"} if chat_id > 0 else {"title": f"Group {-chat_id}"}
                self._chats[chat_id] = {"id": chat_id, "type": kind, **name}
            return self._chats[chat_id]

    def _person(self, chat_id: int) -> JSON:
        person = {"id": abs(chat_id), "is_bot": False, "first_name": f"Customer {abs(chat_id)}"}
        return {**person, "language_code": "ru"}

    def _push_message(self, kind: str, chat_id: int, sender: JSON | None, body: JSON) -> JSON:
        head = {"message_id": self._take_id(), "date": int(time.time()), "chat": self._chat(chat_id)}
        return self.push({kind: {**head, "from": sender or self._person(chat_id), **body}})

    def _queue(self, update: JSON, lane: str, *, again: bool) -> None:
        item = _Waiting(self._take_id(), update, lane, again)
        with self.lock:
            self._waiting[item.seq] = item
            hook = self._webhook
            if hook is not None:
                self._enter_lane(hook, [item])
        self.changed()

    def _drop_updates(self) -> None:
        with self.lock:
            self._waiting.clear()
        self.changed()

    # The webhook pusher

    def _install(self, url: str, secret: str | None, max_connections: int) -> None:
        self._webhook = _Webhook(url, secret, max_connections, asyncio.Semaphore(max_connections))
        self._enter_lane(self._webhook, self._waiting.values())

    def _enter_lane(self, hook: _Webhook, items: Iterable[_Waiting]) -> None:
        for item in items:
            hook.lanes.setdefault(item.lane, deque()).append(item)
            if item.lane not in hook.running and self._loop is not None:
                hook.running.add(item.lane)
                self.spawn(partial(self._run_lane, hook, item.lane))

    async def _run_lane(self, hook: _Webhook, lane: str) -> None:
        """Deliver one chat's updates one after the other, each until it is taken."""
        queue = hook.lanes[lane]
        while self._webhook is hook and not self.closing:
            with self.lock:
                if not queue:
                    hook.running.discard(lane)
                    return
                item = queue[0]
            attempt = 0
            while item.seq in self._waiting and self._webhook is hook and not self.closing:
                attempt += 1
                async with hook.slots:
                    wait = await self._deliver(hook, item, attempt)
                if wait is None:
                    with self.lock:
                        self._waiting.pop(item.seq, None)
                else:
                    await self.pause(wait)
            with self.lock:
                if queue and queue[0] is item and item.seq not in self._waiting:
                    queue.popleft()
            self.changed()

    async def _deliver(self, hook: _Webhook, item: _Waiting, attempt: int) -> float | None:
        """One attempt: None when taken, else the seconds to wait before the next."""
        headers = {"X-Telegram-Bot-Api-Secret-Token": hook.secret} if hook.secret else {}
        began = time.time()
        posted = await self.post_json(hook.url, item.update, headers, self.webhook_timeout)
        record = Delivery(
            item.update["update_id"],
            item.lane,
            attempt,
            posted.status,
            began,
            time.time() - began,
            posted.error,
        )
        with self.lock:
            self.deliveries.append(record)
            if not posted.taken:
                text = posted.error or f"Wrong response from the webhook: {posted.status}"
                self._webhook_error = {"last_error_date": int(time.time()), "last_error_message": text}
        self.changed()
        if posted.taken:
            return None
        first, longest = self.backoff
        if posted.retry_after is not None and posted.retry_after.isdecimal():
            return min(float(posted.retry_after), self.max_retry_after)
        return float(min(first * 2 ** min(attempt - 1, 20), longest))


def _lane(update: JSON) -> str:
    """The queue Telegram keeps an update in: its chat, else its user, else the update's kind."""
    for kind, body in update.items():
        if isinstance(body, dict):
            chat = body.get("chat") or body.get("message", {}).get("chat") or body.get("from") or {}
            return str(chat.get("id", kind))
    return "other"


_MEDIA: dict[str, JSON] = {
    "photo": {},
    "voice": {"duration": 3, "mime_type": "audio/ogg"},
    "audio": {"duration": 3, "mime_type": "audio/mpeg"},
    "video": {"width": 640, "height": 480, "duration": 3, "mime_type": "video/mp4"},
    "video_note": {"length": 240, "duration": 3},
    "document": {"mime_type": "application/octet-stream"},
    "animation": {"width": 320, "height": 240, "duration": 3, "mime_type": "video/mp4"},
    "sticker": {"type": "regular", "width": 512, "height": 512, "is_animated": False, "is_video": False},
}
_SUFFIXES = {
    "photo": ".jpg",
    "voice": ".oga",
    "audio": ".mp3",
    "video": ".mp4",
    "video_note": ".mp4",
    "document": "",
    "animation": ".mp4",
    "sticker": ".webp",
}


def main() -> None:
    """Run the fake as a process."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--token", default=TOKEN)
    parser.add_argument("--flood", type=int, metavar="N", help="429 beyond N messages a second to one chat")
    options = parser.parse_args()
    flood = Flood(options.flood) if options.flood else None
    serve_forever(FakeTelegram(options.token, port=options.port, flood=flood), f"token {options.token}")


if __name__ == "__main__":
    main()
