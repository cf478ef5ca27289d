"""Durable acceptance for the ways in: what waits together is committed together, then the workers get a hint.

A commit with ``synchronous=FULL`` waits for the disk; one thread commits everything that has queued up
meanwhile in one transaction, so waiting costs nothing under load (group commit).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from pipeline.envelope import Envelope
from ragline.clock import utcnow
from ragline.errors import RaglineError
from ragline.logs import get_logger
from storage import inbox
from storage.inbox import Acceptance
from storage.session import Database, DatabaseUnavailable

#: Envelopes committed in one transaction at most.
GROUP = 256
log = get_logger(__name__)

#: Tells the workers that conversations (id, channel, account) have something new. Must not raise.
Hint = Callable[[Iterable[tuple[str, str, str]]], None]


@dataclass
class _Job:
    envelopes: Sequence[Envelope]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[Acceptance]]
    result: list[Acceptance] | RaglineError = field(default_factory=list)

    def settle(self) -> None:
        def deliver() -> None:
            if self.future.cancelled():
                return
            if isinstance(self.result, RaglineError):
                self.future.set_exception(self.result)
            else:
                self.future.set_result(self.result)

        # The loop may be closed by now; the row is committed and the sweeper finds it.
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(deliver)


class Acceptor:
    """Accepts envelopes. One thread writes; any number of requests wait for it."""

    def __init__(self, database: Database, hint: Hint, clock: Callable[[], datetime] = utcnow) -> None:
        self._database = database
        self._hint = hint
        self._clock = clock
        self._jobs: list[_Job] = []
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="acceptor", daemon=True)
        self._thread.start()

    async def accept(self, envelopes: Sequence[Envelope]) -> list[Acceptance]:
        """Commit the envelopes and return one result each, in order.

        Raises :class:`~storage.session.DatabaseUnavailable` when nothing could be stored: the channel must
        hear 503, not 200.
        """
        if not envelopes:
            return []
        loop = asyncio.get_running_loop()
        job = _Job(envelopes, loop, loop.create_future())
        with self._wake:
            if self._closed:
                raise DatabaseUnavailable("the ingress is stopping; send it again")
            self._jobs.append(job)
            self._wake.notify()
        return await job.future

    async def quarantine(self, channel: str, account: str, body: bytes, error: str) -> None:
        """Keep an authentic delivery nobody could parse, and say so in the log."""

        def store() -> None:
            with self._database.write() as session:
                inbox.quarantine(session, channel=channel, account=account, body=body, error=error, now=self._clock())

        await asyncio.to_thread(store)
        log.warning("delivery_quarantined", channel=channel, account=account, size=len(body), reason=error)

    def close(self) -> None:
        """Finish what is queued and stop."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._jobs and not self._closed:
                    self._wake.wait()
                if not self._jobs:
                    return
                group: list[_Job] = []
                size = 0
                while self._jobs and (not group or size + len(self._jobs[0].envelopes) <= GROUP):
                    job = self._jobs.pop(0)
                    group.append(job)
                    size += len(job.envelopes)
            self._store(group)
            for job in group:
                job.settle()
            self._announce(group)

    def _store(self, group: list[_Job]) -> None:
        everything = [envelope for job in group for envelope in job.envelopes]
        try:
            with self._database.write() as session:
                results = inbox.accept(session, everything, self._clock())
        except Exception as error:
            # Whatever it was, one bad row must not refuse its neighbours.
            if not isinstance(error, DatabaseUnavailable | IntegrityError):
                log.exception("group_not_accepted", messages=len(everything))
            for job in group:
                self._store_one(job)
            return
        for job in group:
            job.result, results = results[: len(job.envelopes)], results[len(job.envelopes) :]

    def _store_one(self, job: _Job) -> None:
        try:
            with self._database.write() as session:
                job.result = [inbox.accept_one(session, envelope, self._clock()) for envelope in job.envelopes]
        except RaglineError as error:
            job.result = error
        except Exception as error:
            log.exception("message_not_accepted", channel=job.envelopes[0].channel)
            job.result = DatabaseUnavailable(f"the message could not be stored ({type(error).__name__})")

    def _announce(self, group: list[_Job]) -> None:
        news: dict[str, tuple[str, str, str]] = {}
        for job in group:
            if isinstance(job.result, RaglineError):
                continue
            for envelope, accepted in zip(job.envelopes, job.result, strict=True):
                if accepted.outcome == "new":
                    log.info(
                        "message_accepted",
                        message_id=accepted.message_id,
                        conversation_id=accepted.conversation_id,
                        channel=envelope.channel,
                        account=envelope.account,
                        kind=envelope.kind,
                    )
                if accepted.answerable:
                    news[accepted.conversation_id] = (accepted.conversation_id, envelope.channel, envelope.account)
        if news:
            self._hint(news.values())
