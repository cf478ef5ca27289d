"""Durable acceptance for the ways in: what waits together is committed together, then the workers get a hint.

A commit with ``synchronous=FULL`` waits for the disk; one thread commits everything that has queued up
meanwhile in one transaction, so waiting costs nothing under load (group commit).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from pipeline.envelope import Envelope
from ragline.clock import utcnow
from ragline.errors import RaglineError
from ragline.logs import get_logger
from storage import inbox
from storage.inbox import Acceptance, Contended
from storage.session import Database, DatabaseUnavailable

#: Envelopes committed in one transaction at most.
GROUP = 256
#: Deliveries that may wait for the database; beyond it the channel is asked to come back.
BACKLOG = 10_000
log = get_logger(__name__)

#: Tells the workers that conversations (id, channel, account) have something new. Must not raise.
Hint = Callable[[Iterable[tuple[str, str, str]]], None]
#: Is told what became of a delivery, and how many seconds it took.
Observer = Callable[[Sequence[Envelope], Sequence[Acceptance], float], None]


@dataclass
class _Job:
    envelopes: Sequence[Envelope]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[Acceptance]]
    result: list[Acceptance] | RaglineError = field(default_factory=list)

    def settle(self) -> None:
        """Wake who waits; in the loop's thread."""
        if self.future.cancelled():
            return
        if isinstance(self.result, RaglineError):
            self.future.set_exception(self.result)
        else:
            self.future.set_result(self.result)


def _settle(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        job.settle()


class Acceptor:
    """Accepts envelopes. One thread writes; any number of requests wait for it."""

    def __init__(
        self,
        database: Database,
        hint: Hint,
        clock: Callable[[], datetime] = utcnow,
        observe: Observer | None = None,
    ) -> None:
        self._database = database
        self._hint = hint
        self._clock = clock
        self._observe = observe
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
            if len(self._jobs) >= BACKLOG:
                raise DatabaseUnavailable("too many messages wait for the database; send it again")
            self._jobs.append(job)
            self._wake.notify()
        begun = time.perf_counter()
        results = await job.future
        if self._observe:
            self._observe(envelopes, results, time.perf_counter() - begun)
        return results

    async def quarantine(self, channel: str, account: str, body: bytes, error: str) -> None:
        """Keep an authentic delivery nobody could parse, and say so in the log."""

        def store() -> None:
            now = self._clock()
            self._database.commit(
                lambda connection: inbox.quarantine(
                    connection, channel=channel, account=account, body=body, error=error, now=now
                )
            )

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
            # This thread must outlive any surprise: without it every delivery would wait for ever.
            try:
                self._store(group)
            except Exception as error:
                log.error("group_not_accepted", messages=size, error=type(error).__name__)
                self._refuse(group, error)
            for loop, jobs in groupby(group, key=lambda job: job.loop):
                # The loop may be closed by now; the rows are committed and the sweeper finds them.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(_settle, list(jobs))
            try:
                self._announce(group)
            except Exception:
                log.exception("group_not_announced", messages=size)

    def _refuse(self, group: Sequence[_Job], error: Exception) -> None:
        reason = str(error) if isinstance(error, DatabaseUnavailable) else type(error).__name__
        for job in group:
            job.result = DatabaseUnavailable(f"the message could not be stored: {reason}")

    def _store(self, group: list[_Job]) -> None:
        everything = [envelope for job in group for envelope in job.envelopes]
        now = self._clock()
        try:
            results = self._database.commit(lambda connection: inbox.accept(connection, everything, now))
        except DatabaseUnavailable as error:
            # Each further try would cost its whole time-out; the channels come back.
            self._refuse(group, error)
        except Exception as error:
            # Whatever it was, one bad row must not refuse its neighbours.
            if not isinstance(error, Contended):
                log.warning("group_not_accepted", messages=len(everything), error=type(error).__name__)
            for position, job in enumerate(group):
                if not self._store_one(job):
                    self._refuse(group[position:], DatabaseUnavailable("the database does not answer"))
                    return
        else:
            for job in group:
                job.result, results = results[: len(job.envelopes)], results[len(job.envelopes) :]

    def _store_one(self, job: _Job) -> bool:
        """Store one delivery by itself. False: the database does not answer, so no other need be tried."""
        now = self._clock()
        try:
            job.result = self._database.commit(lambda connection: inbox.accept(connection, job.envelopes, now))
        except DatabaseUnavailable:
            return False
        except Exception as error:
            # The name alone: the text of a database's error holds the row.
            log.error("message_not_accepted", channel=job.envelopes[0].channel, error=type(error).__name__)
            self._refuse([job], error)
        return True

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
