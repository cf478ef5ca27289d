"""What the webhook missed: Umnico may not repeat a delivery, and switches off hooks that fail.

At start and on a schedule the inbox is read back to where everything is known, and what is not stored goes the way of
a webhook. The hook is switched on again where Umnico switched it off. One reader an account, by a lease in SQL.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
from sqlalchemy import func
from sqlmodel import col, select

from ingress.channels.base import Inlet
from ingress.channels.umnico.normalise import CHANNEL
from ingress.channels.umnico.routes import Intake
from pipeline.envelope import parse_time
from ragline.channels import UmnicoAccount
from ragline.clock import utcnow
from ragline.errors import TransientError
from ragline.logs import get_logger
from storage import poll_lease
from storage.models import Message
from storage.session import DatabaseUnavailable

Json = dict[str, Any]

#: A delivery may be under way for this long; before it is over nothing is missed.
GRACE = timedelta(seconds=20)
#: How far the reading goes back beyond what is known, for deliveries that came out of order.
OVERLAP = timedelta(minutes=10)
#: Leads without news in a row after which the rest of the inbox, which is sorted by news, is old.
QUIET_LEADS = 5
#: Leads a page and messages of a source that are looked at most.
PAGE, DEEPEST = 50, 500
#: Seconds a call may take, and between calls.
TIMEOUT, PACE = 10.0, 0.2
log = get_logger(__name__)


class InboxUnreadable(TransientError):
    """Umnico does not answer, or not in a form that can be read."""


class Reconciler:
    """Reads one account's inbox on a schedule."""

    def __init__(
        self,
        name: str,
        account: UmnicoAccount,
        inlet: Inlet,
        intake: Intake,
        clock: Callable[[], datetime] = utcnow,
        grace: timedelta = GRACE,
    ) -> None:
        self._name, self._account, self._inlet, self._intake = name, account, inlet, intake
        self._clock, self._grace = clock, grace
        self._owner = poll_lease.new_owner()
        self._since: datetime | None = None

    async def run(self) -> None:
        """For ever: read, wait. Cancelling stops it and frees the lease."""
        period = self._account.reconcile_every
        try:
            while True:
                try:
                    if await asyncio.to_thread(self._take_lease):
                        await self.reconcile()
                except (InboxUnreadable, DatabaseUnavailable) as error:
                    log.warning("umnico_not_reconciled", account=self._name, error=str(error))
                await asyncio.sleep(period.total_seconds())
        finally:
            await asyncio.to_thread(self._free_lease)

    async def reconcile(self) -> int:
        """Read back to what is known; returns how many messages had been missed.

        Raises :class:`InboxUnreadable` or ``DatabaseUnavailable``; the next reading then begins where this one did.
        """
        begun = self._clock()
        since = self._since or await asyncio.to_thread(self._last_known) or begun
        missed = 0
        async with self._client() as api:
            me = await _ask(api, "GET", "/account/me")
            account_id = me.get("id") if isinstance(me, dict) else None
            if account_id is None:
                raise InboxUnreadable("Umnico does not say which account the token is for")
            await self._watch_hook(api)
            async for event in self._news(api, account_id, since - OVERLAP, begun - self._grace):
                missed += await self._accept(event)
        self._since = begun
        if missed:
            log.warning("umnico_messages_missed", account=self._name, messages=missed)
        return missed

    async def _news(
        self, api: httpx.AsyncClient, account_id: object, since: datetime, until: datetime
    ) -> AsyncIterator[Json]:
        """Events of the messages written between the two, oldest first within a source."""
        quiet, offset = 0, 0
        while True:
            leads = _rows(await _ask(api, "GET", f"/leads/inbox?limit={PAGE}&offset={offset}"), "leads")
            for lead in leads:
                lead_id = lead.get("id")
                found: list[Json] = []
                for source in _rows(await _ask(api, "GET", f"/messaging/{_path(lead_id)}/sources"), "sources"):
                    found += [
                        {
                            "type": "message.incoming" if message.get("incoming", True) else "message.outgoing",
                            "accountId": account_id,
                            "leadId": lead_id,
                            "message": message,
                        }
                        for message in await self._messages(api, lead_id, source, since)
                    ]
                quiet = 0 if found else quiet + 1
                for event in found:
                    at = _written(event["message"])
                    if at is not None and at <= until:
                        yield event
                if quiet >= QUIET_LEADS:
                    return
            if len(leads) < PAGE:
                return
            offset += PAGE

    async def _messages(self, api: httpx.AsyncClient, lead: object, source: Json, since: datetime) -> list[Json]:
        """A source's messages since then, oldest first. One without a readable time is not news."""
        real, cursor = source.get("realId"), None
        if real is None:
            return []
        found: list[Json] = []
        while len(found) < DEEPEST:
            body: Json = {"cursor": cursor} if cursor else {}
            page = await _ask(api, "POST", f"/messaging/{_path(lead)}/history/{_path(real)}", body)
            messages = _rows(page, "messages")
            new = [message for message in messages if (at := _written(message)) is not None and at >= since]
            found += [_with_source(message, source) for message in new]
            cursor = page.get("cursor") if isinstance(page, dict) else None
            if len(new) < len(messages) or not messages or not cursor:
                break
        return found[::-1]

    async def _accept(self, event: Json) -> bool:
        """Hand one event on unless its message is stored; whether it was missed."""
        message_id = str(event["message"].get("messageId") or "")

        def known() -> bool:
            with self._inlet.database.read() as session:
                stored = select(Message.id).where(
                    Message.channel == CHANNEL, Message.account == self._name, Message.update_key == message_id
                )
                return session.exec(stored).first() is not None

        if not message_id or await asyncio.to_thread(known):
            return False
        return await self._intake.take(event, json.dumps(event, ensure_ascii=False).encode())

    async def _watch_hook(self, api: httpx.AsyncClient) -> None:
        """Switch our hook on again where Umnico switched it off."""
        secret = self._account.webhook_secret
        if secret is None:
            return
        ending = f"/umnico/{self._name}/{secret.get_secret_value()}/webhook"
        for hook in _rows(await _ask(api, "GET", "/webhooks/"), "webhooks"):
            off = str(hook.get("status", 1)).lower() in ("0", "false", "disabled", "inactive")
            if off and str(hook.get("url", "")).rstrip("/").endswith(ending):
                await _ask(api, "PUT", f"/webhooks/{_path(hook.get('id'))}", {"status": 1})
                log.warning("umnico_hook_switched_on", account=self._name)

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._account.api_base.rstrip("/"),
            headers={"Authorization": f"Bearer {self._account.token.get_secret_value()}", "User-Agent": "Ragline"},
            timeout=TIMEOUT,
        )

    def _last_known(self) -> datetime | None:
        """When this account's newest message came. None: it never had one, and old conversations stay unanswered."""
        with self._inlet.database.read() as session:
            newest = select(func.max(Message.received_at)).where(
                col(Message.channel) == CHANNEL, col(Message.account) == self._name
            )
            return session.exec(newest).one()

    def _take_lease(self) -> bool:
        lease = 3 * self._account.reconcile_every + timedelta(minutes=1)
        with self._inlet.database.write() as session:
            return poll_lease.acquire(
                session, channel=CHANNEL, account=self._name, owner=self._owner, now=self._clock(), lease=lease
            )

    def _free_lease(self) -> None:
        try:
            with self._inlet.database.write() as session:
                poll_lease.release(session, channel=CHANNEL, account=self._name, owner=self._owner)
        except DatabaseUnavailable:
            log.info("umnico_lease_not_released", account=self._name)  # it runs out


async def _ask(api: httpx.AsyncClient, method: str, path: str, body: Json | None = None) -> Any:
    await asyncio.sleep(PACE)
    try:
        answer = await api.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json()
    except httpx.HTTPStatusError as error:
        raise InboxUnreadable(f"Umnico answers {error.response.status_code}") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise InboxUnreadable(f"Umnico does not answer ({type(error).__name__}); check UMNICO_API_BASE") from None


def _rows(answer: object, name: str) -> list[Json]:
    """The objects of a list, which comes bare or under a name."""
    if isinstance(answer, dict):
        answer = next((answer[key] for key in (name, "data", "items") if isinstance(answer.get(key), list)), None)
    if not isinstance(answer, list):
        raise InboxUnreadable(f"Umnico's answer holds no list of {name}")
    return [row for row in answer if isinstance(row, dict)]


def _with_source(message: Json, source: Json) -> Json:
    """The message as a webhook brings it, which also says whose it is."""
    own = message.get("source") if isinstance(message.get("source"), dict) else {}
    sender = message.get("sender") or source.get("sender")
    return {**message, "source": {**source, **(own or {})}, **({"sender": sender} if sender else {})}


def _written(message: Json) -> datetime | None:
    value = message.get("datetime")
    return parse_time(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None


def _path(value: object) -> str:
    return quote(str(value), safe="")
