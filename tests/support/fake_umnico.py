"""A fake Umnico account, open API v1.3: leads, sending, history and the account's webhooks.

As a process: `python -m tests.support.fake_umnico --port 8082`. The API is at `fake.api_url`. Validation is
strict (401 without `Bearer` spelt so, 422 for what the real one refuses). Where integrators disagree about
the real service the fake varies by a seeded generator: whether an echo carries customId, the envelope of
`sources`, the form of `datetime`, where an attachment's address stands. The bodies of errors and of the
answer to a send are not documented; nothing should depend on their form.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar, Literal

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tests.support.faults import Fault
from tests.support.server import JSON, Call, ControlError, FakeServer, arguments, content_from, serve_forever

TOKEN = "umnico-test-token"
ATTACHMENTS = {"photo", "doc", "video", "audio"}
MAX_HOOKS, MAX_PAGE, HISTORY_PAGE = 10, 200, 20
Envelope = Literal["list", "data", "sources"]
DatetimeForm = Literal["iso", "ms"]
AttachmentForm = Literal["url", "payload", "src"]


class UmnicoError(Exception):
    """An error answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True, slots=True)
class Sent:
    """A message sent over the API. Names are the wire's; `first` marks one sent by /messaging/post."""

    lead: int
    source: str
    userId: int | None
    saId: int
    customId: str | None
    text: str
    messageId: str
    at: float
    attachment: JSON | None = None
    replyId: str | None = None
    first: bool = False


@dataclass(slots=True)
class Lead:
    """A dialogue: a customer at one integration, and what was written, oldest first."""

    id: int
    sa: int
    source: str
    customer: JSON
    tags: list[str] = field(default_factory=list)
    messages: list[JSON] = field(default_factory=list)
    updated: float = 0.0


@dataclass(slots=True)
class Hook:
    """A webhook of the account; status 1 is on, 0 switched off after too many failures in a row."""

    id: int
    url: str
    name: str
    status: int = 1
    failures: int = 0
    running: bool = False
    queue: list[JSON] = field(default_factory=list)

    def json(self) -> JSON:
        return {"id": self.id, "url": self.url, "name": self.name, "status": self.status}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One POST of an event to a hook; `status` is None when there was no answer."""

    hook: int
    type: str
    messageId: str | None
    status: int | None
    at: float
    attempt: int


class FakeUmnico(FakeServer):
    """One account. Events go to each hook in their order, `hook_connections` at a time.

    Probabilities: `echo_custom_id` that an echo carries customId, `duplicates` that an event is posted twice.
    None for an envelope or a form means: vary. A failed delivery is tried `hook_retries` times more; after
    `disable_after` failures in a row the hook is switched off, and what happens then is lost to it.
    """

    name: ClassVar[str] = "fake-umnico"

    def __init__(
        self,
        token: str = TOKEN,
        *,
        port: int = 0,
        latency: float = 0.0,
        seed: int = 0,
        account_id: int = 1,
        echo_custom_id: float = 0.5,
        duplicates: float = 0.0,
        sources_envelope: Envelope | None = None,
        datetime_form: DatetimeForm | None = None,
        attachment_form: AttachmentForm | None = None,
        lead_events: bool = True,
        hook_retries: int = 0,
        hook_timeout: float = 10.0,
        hook_connections: int = 1,
        disable_after: int = 10,
    ) -> None:
        super().__init__(port=port, latency=latency)
        self.token, self.account_id = token, account_id
        self.echo_custom_id, self.duplicates = echo_custom_id, duplicates
        self.sources_envelope, self.datetime_form = sources_envelope, datetime_form
        self.attachment_form, self.lead_events = attachment_form, lead_events
        self.hook_retries, self.hook_timeout = hook_retries, hook_timeout
        self.hook_connections, self.disable_after = hook_connections, disable_after
        self.managers: list[JSON] = [
            {"id": 501, "name": "Owner", "login": "owner@example.com", "role": "owner"},
            {"id": 502, "name": "AI bot", "login": "bot@example.com", "role": "manager"},
        ]
        self.integrations: list[JSON] = [
            _integration(5, "whatsapp2", "79001112233"),
            _integration(6, "telebot", "shop_bot"),
            _integration(7, "instagramV3", "shop"),
        ]
        self.leads: dict[int, Lead] = {}
        self.hooks: dict[int, Hook] = {}
        self.sent: list[Sent] = []
        self.events: list[JSON] = []
        self.deliveries: list[Delivery] = []
        self.uploads: list[JSON] = []
        self._files: dict[str, tuple[bytes, str]] = {}
        self._dice = random.Random(seed)
        self._next_id = int((time.time() - 1_700_000_000) * 4)

    @property
    def api_url(self) -> str:
        """The base address of the API, as `https://api.umnico.com/v1.3` is."""
        return f"{self.url}/v1.3"

    # What happened

    def wait_sent(self, n: int = 1, timeout: float = 10.0, *, lead: int | None = None) -> list[Sent]:
        """All messages sent (to `lead`, if given) once there are at least `n`; TimeoutError otherwise."""

        def items() -> list[Sent]:
            return [item for item in self.sent if lead is None or item.lead == lead]

        return self.wait_items(items, n, timeout, "messages")

    def wait_idle(self, timeout: float = 10.0) -> None:
        """Return when no event is on its way to a hook; TimeoutError otherwise."""
        self.wait_for(lambda: not any(hook.running for hook in self.hooks.values()), timeout, "quiet hooks")

    # What people do

    def add_hook(self, url: str, name: str = "test") -> Hook:
        """A webhook of the account, switched on."""
        with self.lock:
            hook = Hook(self._take_id(), url, name)
            self.hooks[hook.id] = hook
        return hook

    def customer_writes(
        self,
        lead: int,
        text: str,
        *,
        sa: int = 5,
        source: str | None = None,
        attachments: Sequence[JSON] = (),
        sender: JSON | None = None,
        message_id: str | None = None,
        **fields: Any,
    ) -> JSON:
        """message.incoming of a lead, which is opened if new (`sa` and `source`, a realId, count then only).

        An attachment is `{"type": "photo", "content": bytes}` (served by this server; base64 if a string) or
        `{"type": …, "url": …}`. `sender` sets members of the sender, `fields` of the message (replyTo, …).
        Returns the event, which is also kept in the history.
        """
        with self.lock:
            found, new = self._open_lead(lead, sa, source)
            body = self._message(found, text, [self._attachment(item) for item in attachments], message_id)
            body |= {"incoming": True, "sender": {**self._sender(found), **(sender or {})}, **fields}
            event = self._event("message.incoming", found, body)
            event |= {"isNewLead": new, "isNewCustomer": new}
            self._keep(found, body)
            if new and self.lead_events:
                self.emit({"type": "lead.created", **self._about(found), "lead": self._lead_json(found)})
            self.emit(event)
        return event

    def manager_writes(self, lead: int, text: str, *, user_id: int = 501, **fields: Any) -> JSON:
        """message.outgoing typed by a person in Umnico's own window. Returns the event."""
        with self.lock:
            found = self._lead(lead)
            body = {**self._message(found, text, [], None), "incoming": False, "userId": user_id, **fields}
            event = self._event("message.outgoing", found, body)
            self._keep(found, body)
            self.emit(event)
        return event

    def emit(self, event: JSON, *, times: int = 1) -> None:
        """Post any event to the hooks that are on, `times` times (by chance once more, see `duplicates`)."""
        with self.lock:
            again = 1 if self._dice.random() < self.duplicates else 0
            for _ in range(times + again):
                self.events.append(event)
                for hook in self.hooks.values():
                    if hook.status == 1:
                        hook.queue.append(event)
                        self._drive(hook)
        self.changed()

    # FakeServer

    def on_start(self) -> None:
        with self.lock:
            for hook in self.hooks.values():
                hook.running = False
                self._drive(hook)

    def routes(self) -> list[BaseRoute]:
        table: list[tuple[str, str, str, Callable[[Request], Awaitable[Any]]]] = [
            ("GET", "/account/me", "account", self._account),
            ("GET", "/managers", "managers", self._managers),
            ("GET", "/integrations", "integrations", self._integrations),
            ("GET", "/webhooks", "webhooks", self._list_hooks),
            ("POST", "/webhooks", "webhooks", self._create_hook),
            ("PUT", "/webhooks/{id:int}", "webhooks", self._update_hook),
            ("DELETE", "/webhooks/{id:int}", "webhooks", self._delete_hook),
            ("GET", "/leads/all", "leads", self._list_leads),
            ("GET", "/leads/inbox", "inbox", self._list_leads),
            ("GET", "/leads/{lead:int}", "lead", self._get_lead),
            ("GET", "/customers/{id:int}", "customer", self._get_customer),
            ("GET", "/messaging/{lead:int}/sources", "sources", self._sources),
            ("POST", "/messaging/{lead:int}/send", "send", self._send),
            ("POST", "/messaging/post", "post", self._write_first),
            ("POST", "/messaging/{lead:int}/history/{source}", "history", self._history),
            ("POST", "/messaging/upload", "upload", self._upload),
            ("POST", "/messaging/check-contact", "check-contact", self._check_contact),
            ("POST", "/tags/{lead:int}/{tag}", "tags", self._tag),
        ]
        routes: list[BaseRoute] = [Route("/files/{name}", self._file)]
        for verb, path, method, handler in table:
            endpoint = _endpoint(self, method, handler)
            routes += [Route(f"/v1.3{path}{end}", endpoint, methods=[verb]) for end in ("", "/")]
        return routes

    def records(self) -> dict[str, Sequence[Any]]:
        with self.lock:
            hooks = [hook.json() for hook in self.hooks.values()]
        return {
            **super().records(),
            "sent": self.sent,
            "events": self.events,
            "deliveries": self.deliveries,
            "hooks": hooks,
        }

    def actions(self) -> dict[str, Callable[..., Any]]:
        return {
            "customer_writes": self.customer_writes,
            "manager_writes": self.manager_writes,
            "emit": self.emit,
            "add_hook": self.add_hook,
        }

    def clear(self) -> None:
        super().clear()
        for records in (self.sent, self.events, self.deliveries):
            records.clear()

    def error_body(self, fault: Fault) -> JSON:
        return {"message": fault.description or f"Error {fault.status}", **fault.parameters}

    # The account

    async def _account(self, _: Request) -> JSON:
        return {"id": self.account_id, "name": "Test account"}

    async def _managers(self, _: Request) -> list[JSON]:
        return self.managers

    async def _integrations(self, _: Request) -> list[JSON]:
        return self.integrations

    async def _list_hooks(self, _: Request) -> list[JSON]:
        with self.lock:
            return [hook.json() for hook in self.hooks.values()]

    async def _create_hook(self, request: Request) -> JSON:
        body = await _body(request)
        url, name = body.get("url"), body.get("name")
        if not isinstance(url, str) or not re.match(r"https?://", url) or not isinstance(name, str):
            raise UmnicoError(422, "url and name are required")
        if len(self.hooks) >= MAX_HOOKS:
            raise UmnicoError(422, f"at most {MAX_HOOKS} webhooks")
        return self.add_hook(url, name).json()

    async def _update_hook(self, request: Request) -> JSON:
        hook, body = self._hook(request), await _body(request)
        if body.get("status") not in (0, 1):
            raise UmnicoError(422, "status must be 0 or 1")
        with self.lock:
            hook.status, hook.failures = body["status"], 0
        return hook.json()

    async def _delete_hook(self, request: Request) -> JSON:
        with self.lock:
            del self.hooks[self._hook(request).id]
        return {"success": True}

    def _hook(self, request: Request) -> Hook:
        hook = self.hooks.get(request.path_params["id"])
        if hook is None:
            raise UmnicoError(404, "webhook not found")
        return hook

    # Leads and customers

    async def _get_lead(self, request: Request) -> JSON:
        return self._lead_json(self._requested(request))

    async def _list_leads(self, request: Request) -> list[JSON]:
        """Newest activity first; `inbox` can be narrowed by source_types, `all` by sa."""
        query = request.query_params
        try:
            limit, offset, sa = int(query.get("limit", 50)), int(query.get("offset", 0)), query.get("sa")
        except ValueError:
            raise UmnicoError(422, "limit and offset must be integers") from None
        if not 1 <= limit <= MAX_PAGE or offset < 0:
            raise UmnicoError(422, f"limit must be 1 to {MAX_PAGE}")
        kinds = [kind for kind in query.get("source_types", "").split(",") if kind]
        with self.lock:
            leads = sorted(self.leads.values(), key=lambda lead: (lead.updated, lead.id), reverse=True)
            leads = [lead for lead in leads if sa is None or str(lead.sa) == sa]
            leads = [lead for lead in leads if not kinds or self._integration(lead.sa)["type"] in kinds]
            return [self._lead_json(lead) for lead in leads[offset : offset + limit]]

    async def _get_customer(self, request: Request) -> JSON:
        with self.lock:
            for lead in self.leads.values():
                if lead.customer["id"] == request.path_params["id"]:
                    return {**lead.customer, "profiles": [self._sender(lead)]}
        raise UmnicoError(404, "customer not found")

    async def _sources(self, request: Request) -> Any:
        lead = self._requested(request)
        source = {**self._source(lead), "sender": self._sender(lead)}
        envelopes: tuple[Envelope, ...] = ("list", "data", "sources")
        with self.lock:
            envelope = self.sources_envelope or self._dice.choice(envelopes)
        return [source] if envelope == "list" else {envelope: [source]}

    async def _tag(self, request: Request) -> JSON:
        lead = self._requested(request)
        with self.lock:
            lead.tags.append(request.path_params["tag"])
            if self.lead_events:
                self.emit({"type": "lead.changed", **self._about(lead), "lead": self._lead_json(lead)})
        return self._lead_json(lead)

    # Messages

    async def _send(self, request: Request) -> JSON:
        lead, body = self._requested(request), await _body(request)
        source, user, sa = body.get("source"), body.get("userId"), body.get("saId")
        if not isinstance(source, str) or not re.fullmatch(r"\d[\d_]*", source):
            raise UmnicoError(422, "source is required: the realId, as a string of digits")
        if not isinstance(user, int) or user not in [manager["id"] for manager in self.managers]:
            raise UmnicoError(422, "userId is required: the id of a manager")
        if source != lead.source:
            raise UmnicoError(404, "source not found")
        if sa is not None and sa != lead.sa:
            raise UmnicoError(422, "saId is not that of the source")
        return self._say(lead, body, user)

    async def _write_first(self, request: Request) -> JSON:
        body = await _body(request)
        destination, sa = body.get("destination"), body.get("saId")
        if not isinstance(destination, str) or not destination:
            raise UmnicoError(422, "destination is required")
        if not isinstance(sa, int) or sa not in [item["id"] for item in self.integrations]:
            raise UmnicoError(422, "saId is required: the id of an integration")
        self._check_message(body)
        with self.lock:
            known = (lead for lead in self.leads.values() if lead.customer["login"] == destination)
            lead = next((lead for lead in known if lead.sa == sa), None)
            if lead is None:
                lead, _ = self._open_lead(self._take_id(), sa, None)
                lead.customer["login"] = destination
        self._say(lead, body, None, first=True)
        return {"leadId": lead.id}

    def _say(self, lead: Lead, body: JSON, user: int | None, *, first: bool = False) -> JSON:
        text, attachment = self._check_message(body)
        custom, reply = body.get("customId"), body.get("replyId")
        with self.lock:
            shown = [self._attachment({"url": f"{self.url}/files/sent", **attachment})] if attachment else []
            message = {**self._message(lead, text, shown, None), "incoming": False}
            message |= {"userId": user} if user is not None else {}
            message |= {"customId": custom} if custom and self._dice.random() < self.echo_custom_id else {}
            message |= {"replyTo": {"messageId": reply}} if reply else {}
            number = message["messageId"]
            record = Sent(
                lead.id,
                lead.source,
                user,
                lead.sa,
                custom,
                text,
                number,
                time.time(),
                attachment,
                reply,
                first,
            )
            self.sent.append(record)
            self._keep(lead, message)
            self.emit(self._event("message.outgoing", lead, message))
        return message

    def _check_message(self, body: JSON) -> tuple[str, JSON | None]:
        message = body.get("message")
        if not isinstance(message, dict) or not isinstance(message.get("text"), str):
            raise UmnicoError(422, "message.text is required, even if empty")
        attachment = message.get("attachment")
        if attachment is not None:
            kind = attachment.get("type") if isinstance(attachment, dict) else None
            if kind not in ATTACHMENTS or attachment not in self.uploads:
                raise UmnicoError(422, "attachment must be what /messaging/upload returned, unchanged")
        if not message["text"] and attachment is None:
            raise UmnicoError(422, "nothing to send")
        return message["text"], attachment

    async def _history(self, request: Request) -> JSON:
        lead, body = self._requested(request), await _body(request)
        if request.path_params["source"] != lead.source:
            raise UmnicoError(404, "source not found")
        try:
            start = int(body.get("cursor") or 0)
        except (TypeError, ValueError):
            raise UmnicoError(422, "unknown cursor") from None
        with self.lock:
            newest_first = lead.messages[::-1]
        page, end = newest_first[start : start + HISTORY_PAGE], start + HISTORY_PAGE
        return {"messages": page, "cursor": str(end) if end < len(newest_first) else None}

    async def _upload(self, request: Request) -> JSON:
        async with request.form() as form:
            media, source, sa = form.get("media"), form.get("source"), form.get("saId")
            if not isinstance(media, UploadFile) or (source is None) == (sa is None):
                raise UmnicoError(422, "media and either source or saId are required")
            name, mime = media.filename or "file", media.content_type or "application/octet-stream"
            content = await media.read()
        kind = {"image": "photo", "video": "video", "audio": "audio"}.get(mime.split("/")[0], "doc")
        with self.lock:
            where = self._serve(name, content, mime)
            forms: tuple[JSON, ...] = (
                {"path": where, "name": name, "mime": mime},
                {"type": mime, "filename": name, "src": where},
                {"fileId": where.rpartition("/")[2]},
            )
            upload = {"type": kind, "media": self._dice.choice(forms)}
            self.uploads.append(upload)
        return upload

    async def _check_contact(self, request: Request) -> JSON:
        body = await _body(request)
        if body.get("saId") not in [item["id"] for item in self.integrations] or not body.get("chatId"):
            raise UmnicoError(422, "saId and chatId are required")
        return {"exists": True}

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]

        async def answer(_: Call) -> Response:
            content, mime = self._files.get(name, (b"", ""))
            return Response(content, media_type=mime) if mime else Response("Not found", 404)

        return await self.perform("file", {"name": name}, answer)

    # Forms

    def _take_id(self) -> int:
        with self.lock:
            self._next_id += 1
            return self._next_id

    def _lead(self, number: int) -> Lead:
        if number not in self.leads:
            raise ControlError(f"no lead {number}; open it with customer_writes")
        return self.leads[number]

    def _requested(self, request: Request) -> Lead:
        lead = self.leads.get(request.path_params["lead"])
        if lead is None:
            raise UmnicoError(404, "lead not found")
        return lead

    def _open_lead(self, number: int, sa: int, source: str | None) -> tuple[Lead, bool]:
        if number in self.leads:
            return self.leads[number], False
        kind = self._integration(sa)["type"]
        customer = {"id": 9_000_000 + number, "name": f"Customer {number}", "login": f"7999{number:07d}"}
        customer |= {"phone": customer["login"] if kind == "whatsapp2" else None}
        customer |= {"email": None, "avatar": None, "address": None}
        lead = Lead(number, sa, source or str(50_000 + number), customer, updated=time.time())
        self.leads[number] = lead
        return lead, True

    def _integration(self, sa: int) -> JSON:
        for item in self.integrations:
            if item["id"] == sa:
                return item
        raise ControlError(f"no integration {sa}")

    def _about(self, lead: Lead) -> JSON:
        return {"accountId": self.account_id, "leadId": lead.id}

    def _sender(self, lead: Lead) -> JSON:
        kind, login, number = self._integration(lead.sa)["type"], lead.customer["login"], lead.customer["id"]
        sender = {"id": number + 1, "customerId": number, "login": login, "socialId": login, "type": kind}
        return {**sender, "name": lead.customer["name"], "profileUrl": "", "avatar": ""}

    def _source(self, lead: Lead) -> JSON:
        login = self._integration(lead.sa)["login"]
        ours = {"saId": lead.sa, "type": "message", "identifier": login}
        return {"id": f"user_{lead.id}", "realId": lead.source, **ours}

    def _lead_json(self, lead: Lead) -> JSON:
        state = {"statusId": 1, "amount": 0, "tags": list(lead.tags), "details": "", "customFields": []}
        state |= {"items": []}
        return {"id": lead.id, "customerId": lead.customer["id"], "customer": dict(lead.customer), **state}

    def _message(self, lead: Lead, text: str, attachments: list[JSON], message_id: str | None) -> JSON:
        sa = self._integration(lead.sa)
        forms: tuple[DatetimeForm, ...] = ("iso", "ms")
        now, form = time.time(), self.datetime_form or self._dice.choice(forms)
        iso = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {
            "messageId": message_id or f"m{self._take_id()}",
            "datetime": iso if form == "iso" else int(now * 1000),
            "sa": {"id": sa["id"], "type": sa["type"], "login": sa["login"]},
            "message": {"text": text, "attachments": attachments},
            "source": self._source(lead),
        }

    def _event(self, kind: str, lead: Lead, message: JSON) -> JSON:
        return {
            "type": kind,
            **self._about(lead),
            "isNewLead": False,
            "isNewCustomer": False,
            "message": message,
        }

    def _keep(self, lead: Lead, message: JSON) -> None:
        lead.messages.append(message)
        lead.updated = time.time()

    def _attachment(self, item: JSON) -> JSON:
        rest = {key: value for key, value in item.items() if key not in ("content", "url", "media")}
        url = item.get("url", "")
        if "content" in item:
            mime = item.get("mime", "application/octet-stream")
            url = self._serve(item.get("text", "file"), content_from(item["content"]), mime)
        forms: tuple[AttachmentForm, ...] = ("url", "payload", "src")
        form: str = self.attachment_form or self._dice.choice(forms)
        return {**rest, "payload": {"url": url}} if form == "payload" else {**rest, form: url}

    def _serve(self, name: str, content: bytes, mime: str) -> str:
        key = f"{self._take_id()}-{re.sub(r'[^A-Za-z0-9.]', '_', name)}"
        self._files[key] = (content, mime)
        return f"{self.url}/files/{key}"

    # Hooks

    def _drive(self, hook: Hook) -> None:
        """See that somebody posts the hook's queue; called with the lock held."""
        if hook.queue and not hook.running and self._loop is not None:
            hook.running = True
            self.spawn(partial(self._run_hook, hook))

    async def _run_hook(self, hook: Hook) -> None:
        while not self.closing:
            with self.lock:
                if hook.status != 1:
                    hook.queue.clear()
                events = hook.queue[: self.hook_connections]
                del hook.queue[: len(events)]
                if not events:
                    hook.running = False
                    break
            await asyncio.gather(*(self._post(hook, event) for event in events))
        self.changed()

    async def _post(self, hook: Hook, event: JSON) -> None:
        message = event.get("message")
        number = message.get("messageId") if isinstance(message, dict) else None
        for attempt in range(1, self.hook_retries + 2):
            at = time.time()
            posted = await self.post_json(hook.url, event, {}, self.hook_timeout)
            record = Delivery(hook.id, event.get("type", ""), number, posted.status, at, attempt)
            with self.lock:
                self.deliveries.append(record)
                hook.failures = 0 if posted.taken else hook.failures + 1
                if hook.failures >= self.disable_after:
                    hook.status = 0
            self.changed()
            if posted.taken or hook.status == 0:
                return
            await self.pause(0.05)


def _endpoint(
    fake: FakeUmnico, method: str, handler: Callable[[Request], Awaitable[Any]]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        async def answer(_: Call) -> Response:
            try:
                if request.headers.get("authorization") != f"Bearer {fake.token}":
                    raise UmnicoError(401, "Unauthorized")
                return JSONResponse(await handler(request))
            except UmnicoError as error:
                return JSONResponse({"message": error.message}, error.status)

        is_json = request.headers.get("content-type", "").startswith("application/json")
        params: JSON = dict(request.query_params)
        if is_json and await request.body():
            try:
                body = await request.json()
            except ValueError:
                body = {}
            params |= body if isinstance(body, dict) else {}
        return await fake.perform(method, params, answer, chat=request.path_params.get("lead"))

    return endpoint


async def _body(request: Request) -> JSON:
    try:
        body = await request.json() if await request.body() else {}
    except ValueError:
        raise UmnicoError(400, "invalid JSON") from None
    if not isinstance(body, dict):
        raise UmnicoError(422, "an object is expected")
    return body


def _integration(number: int, kind: str, login: str) -> JSON:
    return {"id": number, "type": kind, "login": login, "avatar": "", "externalId": login, "status": "active"}


def main() -> None:
    """Run the fake as a process."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--token", default=TOKEN)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hook", help="address of a webhook to register")
    options = parser.parse_args()
    fake = FakeUmnico(options.token, port=options.port, seed=options.seed)
    if options.hook:
        fake.add_hook(options.hook)
    serve_forever(fake, f"token {options.token}")


if __name__ == "__main__":
    main()
