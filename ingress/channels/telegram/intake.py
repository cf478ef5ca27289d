"""From a raw update to accepted messages: the same for the webhook and for the poller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from ingress.channels.base import Inlet, Unreadable
from ingress.channels.telegram.bot_api import Identity
from ingress.channels.telegram.fields import record
from ingress.channels.telegram.normalise import CHANNEL, normalise
from pipeline.envelope import Envelope
from ragline.channels import TelegramAccount
from ragline.clock import utcnow
from ragline.logs import get_logger
from storage import inbox
from storage.inbox import Acceptance
from storage.session import DatabaseUnavailable

log = get_logger(__name__)


@dataclass(frozen=True)
class Arrival:
    """One update that could be read, and as it came."""

    raw: bytes
    envelopes: Sequence[Envelope]


class Intake:
    """Reads and accepts the updates of one account."""

    def __init__(
        self, name: str, account: TelegramAccount, inlet: Inlet, clock: Callable[[], datetime] = utcnow
    ) -> None:
        self.name = name
        self._account = account
        self._inlet = inlet
        self._clock = clock
        self._identity = Identity(account)

    async def read(self, update: object, raw: bytes) -> Arrival:
        """What ``update`` means; one that cannot be read is kept in quarantine and means nothing.

        Raises :class:`~storage.session.DatabaseUnavailable` when it could not be kept.
        """
        bot = await self._identity.get() if _in_group(update) else self._identity.known
        try:
            envelopes = normalise(
                update,
                account=self.name,
                received_at=self._clock(),
                bot=bot,
                all_groups=self._account.groups,
            )
        except Unreadable as error:
            await self.quarantine(raw, str(error))
            return Arrival(raw, ())
        except ValidationError as error:
            # The values are a customer's: only the names of the fields are told.
            fields = ", ".join(sorted({".".join(map(str, issue["loc"])) for issue in error.errors()}))
            await self.quarantine(raw, f"no envelope could be made of it: {fields}")
            return Arrival(raw, ())
        except Exception as error:
            # A mistake of ours must not hold up the chat: the update is kept, to be replayed after the fix.
            log.exception("update_not_normalised", channel=CHANNEL, account=self.name)
            await self.quarantine(raw, f"reading it failed ({type(error).__name__})")
            return Arrival(raw, ())
        if not envelopes:
            log.debug("update_ignored", channel=CHANNEL, account=self.name, kinds=sorted(record(update))[:5])
        return Arrival(raw, envelopes)

    async def accept(self, arrivals: Sequence[Arrival]) -> None:
        """Commit all of them. Nothing that Telegram is told to forget may be lost: an update whose numbers
        are taken by another one (``update_id`` may start anew after a week of silence) goes into quarantine.

        Raises :class:`~storage.session.DatabaseUnavailable` when they could not be stored.
        """
        flat = [(arrival, envelope) for arrival in arrivals for envelope in arrival.envelopes]
        results = await self._inlet.acceptor.accept([envelope for _, envelope in flat])
        for (arrival, _), result in zip(flat, results, strict=True):
            await self._keep_conflict(arrival, result)

    async def settle(self, arrival: Arrival) -> None:
        """The last resort for an update that was refused again and again: store it past the acceptor (the sweeper
        finds it), or, when it is the database that does not take this very update, keep it in quarantine.

        Raises :class:`~storage.session.DatabaseUnavailable` when neither is possible now.
        """

        def store() -> list[Acceptance]:
            now = self._clock()
            return self._inlet.database.commit(lambda connection: inbox.accept(connection, arrival.envelopes, now))

        try:
            results = await asyncio.to_thread(store)
        except DatabaseUnavailable:
            raise
        except Exception as error:
            await self.quarantine(arrival.raw, f"the database refuses it ({type(error).__name__})")
            return
        for result in results:
            await self._keep_conflict(arrival, result)

    async def _keep_conflict(self, arrival: Arrival, result: Acceptance) -> None:
        if result.outcome == "conflict":
            await self.quarantine(arrival.raw, "another update is stored under the same message or update number")

    async def quarantine(self, raw: bytes, reason: str) -> None:
        """Keep what nobody could read."""
        await self._inlet.acceptor.quarantine(CHANNEL, self.name, raw, reason)


def _in_group(update: object) -> bool:
    """Whether reading it may need the bot's name, by which it is called in groups."""
    return any(
        record(record(body).get("chat")).get("type") in ("group", "supergroup") for body in record(update).values()
    )
