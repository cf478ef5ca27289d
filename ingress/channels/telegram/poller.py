"""Polling: getUpdates, commit the batch, then offset = last + 1.

The offset lives in this loop only. Telegram keeps what was not confirmed, so a process that dies between the
two gets the batch again, and acceptance knows it already. One poller a bot, by a lease in SQL.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from ingress.channels.base import Inlet
from ingress.channels.telegram.bot_api import BotApi, BotApiError
from ingress.channels.telegram.fields import record, whole
from ingress.channels.telegram.intake import Arrival, Intake
from ingress.channels.telegram.normalise import ALLOWED_UPDATES, CHANNEL
from ragline.channels import TelegramAccount
from ragline.clock import utcnow
from ragline.errors import RaglineError
from ragline.logs import get_logger
from storage import poll_lease
from storage.session import DatabaseUnavailable

#: Seconds Telegram holds a getUpdates open while there is nothing new (its limit is 50).
LONG_POLL = 25
#: A poller that died is followed after this time, at once on the same host.
LEASE = timedelta(seconds=30)
#: After so many refusals of an update it is settled whether the update is at fault or the database is away.
MAX_REFUSALS = 5
log = get_logger(__name__)


class LeaseLost(RaglineError):
    """Another process polls this bot now."""


class Poller:
    """Polls one account for as long as :meth:`run` runs. ``pause`` waits between attempts that fail."""

    def __init__(
        self,
        name: str,
        account: TelegramAccount,
        inlet: Inlet,
        intake: Intake,
        *,
        long_poll: int = LONG_POLL,
        lease: timedelta = LEASE,
        clock: Callable[[], datetime] = utcnow,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._name = name
        self._account = account
        self._inlet = inlet
        self._intake = intake
        self._long_poll = long_poll
        self._lease = lease
        self._clock = clock
        self._pause = pause
        self._owner = poll_lease.new_owner()
        self._log = log.bind(channel=CHANNEL, account=name)

    async def run(self) -> None:
        """Wait for the lease, poll while it holds, and so on for ever. Cancelling stops it and frees the lease."""
        while True:
            if await self._acquire():
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._keep_lease())
                        group.create_task(self._poll())
                except* LeaseLost:
                    self._log.warning("telegram_poll_lease_lost")
                finally:
                    await self._release()
            await asyncio.sleep(self._lease.total_seconds() / 3)

    # The lease

    async def _acquire(self) -> bool:
        try:
            return await asyncio.to_thread(self._take_lease)
        except DatabaseUnavailable as error:
            self._log.warning("telegram_poll_lease_unreachable", reason=str(error))
            return False

    def _take_lease(self) -> bool:
        with self._inlet.database.write() as session:
            return poll_lease.acquire(
                session,
                channel=CHANNEL,
                account=self._name,
                owner=self._owner,
                now=self._clock(),
                lease=self._lease,
            )

    async def _keep_lease(self) -> None:
        renewed = self._clock()
        while True:
            await asyncio.sleep(self._lease.total_seconds() / 3)
            try:
                if not await asyncio.to_thread(self._take_lease):
                    raise LeaseLost("another process polls this bot")
                renewed = self._clock()
            except DatabaseUnavailable as error:
                if self._clock() - renewed >= self._lease:
                    raise LeaseLost("the lease ran out while the database did not answer") from error

    async def _release(self) -> None:
        def release() -> None:
            with self._inlet.database.write() as session:
                poll_lease.release(session, channel=CHANNEL, account=self._name, owner=self._owner)

        try:
            await asyncio.to_thread(release)
        except DatabaseUnavailable as error:
            self._log.warning("telegram_poll_lease_kept", reason=str(error))  # it runs out by itself

    # The loop

    async def _poll(self) -> None:
        offset: int | None = None
        failures, ready = 0, False
        async with BotApi(self._account) as api:
            while True:
                try:
                    if not ready:
                        await api.call("deleteWebhook", {"drop_pending_updates": False})
                        ready = True
                        self._log.info("telegram_polling")
                    updates = await self._get_updates(api, offset)
                except BotApiError as error:
                    failures += 1
                    if error.status == 409 and "webhook" in error.description.lower():
                        ready = False
                    await self._back_off(error, failures)
                    continue
                failures = 0
                await self._take(updates)
                numbers = [number for update in updates if (number := _number(update)) is not None]
                offset = max(numbers) + 1 if numbers else offset
                if updates and not numbers:
                    await self._back_off(BotApiError("getUpdates: the updates have no numbers"), 1)

    async def _get_updates(self, api: BotApi, offset: int | None) -> list[Any]:
        params: dict[str, Any] = {
            "timeout": self._long_poll,
            "limit": 100,
            "allowed_updates": list(ALLOWED_UPDATES),
        }
        if offset is not None:
            params["offset"] = offset
        updates = await api.call("getUpdates", params, timeout=self._long_poll + 10.0)
        if not isinstance(updates, list):
            raise BotApiError("getUpdates: the result is not a list of updates")
        return updates

    async def _back_off(self, error: BotApiError, failures: int) -> None:
        advice, shortest = _advice(error)
        delay = error.retry_after
        if delay is None:
            delay = max(shortest, min(60.0, 2.0 ** min(failures - 1, 6))) * random.uniform(1.0, 1.2)  # noqa: S311
        write = self._log.error if error.status in (401, 404) else self._log.warning
        write("telegram_poll_failed", reason=str(error), advice=advice, retry_in=round(delay, 1))
        await self._pause(delay)

    async def _take(self, updates: Sequence[Any]) -> None:
        """Return when every update is stored, accepted or in quarantine; until then nothing is confirmed."""
        left, refusals = list(updates), 0
        while left:
            # After a failure one by one and in order, so that a single bad update shows itself.
            some = left[:1] if refusals else left
            try:
                arrivals = [await self._read(update) for update in some]
                if refusals < MAX_REFUSALS:
                    await self._intake.accept(arrivals)
                else:
                    await self._intake.settle(arrivals[0])
            except DatabaseUnavailable as error:
                delay = min(30.0, 2.0 ** min(refusals, 5))
                refusals += 1
                self._log.error("telegram_updates_not_stored", waiting=len(left), reason=str(error), retry_in=delay)
                await self._pause(delay)
                continue
            refusals = min(refusals, 1)
            left = left[len(some) :]

    async def _read(self, update: object) -> Arrival:
        return await self._intake.read(update, _raw(update))


def _number(update: object) -> int | None:
    return whole(record(update).get("update_id"))


def _raw(update: object) -> bytes:
    return json.dumps(update).encode()


def _advice(error: BotApiError) -> tuple[str, float]:
    """What a person can do about it, and the seconds to wait at least."""
    if error.status in (401, 404):
        return "the token is refused: check TELEGRAM_BOT_TOKEN and TELEGRAM_API_BASE", 60.0
    if error.status == 409 and "webhook" in error.description.lower():
        return "a webhook was set for this bot; polling removes it. Use TELEGRAM_MODE=webhook to keep it", 5.0
    if error.status == 409:
        return "another program polls with this token: stop it, or give it a bot of its own", 10.0
    if error.status == 429:
        return "nothing: Telegram asks to wait", 1.0
    return "if it lasts, check TELEGRAM_API_BASE and the network", 1.0
