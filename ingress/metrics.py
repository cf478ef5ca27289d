"""``/metrics``: what Prometheus reads. Counters of this process, and gauges of what SQL and Redis hold."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import get_args

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from ingress.health import QUEUES, Health
from ingress.model_metrics import ModelMetrics
from pipeline.envelope import Envelope
from ragline.clock import utcnow
from ragline.logs import get_logger
from ragline.spending_settings import BudgetSettings
from storage.health import Counts, counts
from storage.inbox import Acceptance
from storage.load import Level
from storage.session import Database, DatabaseUnavailable
from storage.spending import limits_of
from storage.spending_report import budgets

#: Seconds for which the counts of SQL are not taken again, and for which a scrape waits for them.
CACHED, PATIENCE = 5.0, 2.0
log = get_logger(__name__)
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_TURNS = ("processing", "answered", "failed", "undeliverable", "suggested")
_OUTBOX = ("pending", "sending", "sent", "failed", "ambiguous")


class Metrics:
    """All metrics of one process."""

    def __init__(self, database: Database, health: Health, budget: BudgetSettings) -> None:
        self._database, self._budget = database, budget
        self._health = health
        self._taken_at = float("-inf")
        self._taking: asyncio.Task[Counts] | None = None
        self.registry = registry = CollectorRegistry()

        def gauge(name: str, what: str, *labels: str) -> Gauge:
            return Gauge(f"ragline_{name}", what, labels, registry=registry)

        self._accepted = Counter(
            "ragline_accepted",
            "Inbound events by channel and outcome (new, duplicate, conflict).",
            ("channel", "outcome"),
            registry=registry,
        )
        self._seconds = Histogram(
            "ragline_accept_seconds",
            "From a delivery's normalisation to its commit.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=registry,
        )
        self._requests = Counter(
            "ragline_http_requests", "HTTP requests.", ("method", "route", "status"), registry=registry
        )
        self._up = gauge("part_up", "1 when the part answers.", "part")
        self._ready = gauge("worker_ready", "1 when a worker consumes the queue.", "queue")
        self._queue = gauge("queue_length", "Tasks that wait in the broker.", "queue")
        self._load = gauge("load_level", "0 normal, 1 short_history, 2 direct_only.")
        self._backlog = gauge("backlog", "Messages and turns that wait, counted up to the last load level.")
        self._waiting = gauge("messages_waiting", "Messages no turn has taken up.")
        self._active = gauge("turns_active", "Turns at work.")
        self._turns = gauge("turns", "Turns by status.", "status")
        self._outbox = gauge("outbox", "Rows of the outbox by status.", "status")
        self._flags = gauge("red_flags_open", "Red flags nobody has closed.")
        self._used = gauge("budget_used", "Share of the budget of everything that is spent or set aside.", "period")
        self._quarantined = gauge("quarantined", "Authentic deliveries kept because nobody could parse them.")
        self._models = ModelMetrics(registry)

    def accepted(self, envelopes: Sequence[Envelope], results: Sequence[Acceptance], seconds: float) -> None:
        """Count a delivery."""
        for envelope, result in zip(envelopes, results, strict=True):
            self._accepted.labels(envelope.channel, result.outcome).inc()
        self._seconds.observe(seconds)

    def request(self, method: str, route: str | None, status: int) -> None:
        """Count an HTTP request under its route's template."""
        self._requests.labels(method if method in _METHODS else "other", route or "(none)", str(status)).inc()

    async def render(self) -> bytes:
        """The exposition. What cannot be read now is left as it was last; ``ragline_part_up`` says so."""
        parts, *_ = await asyncio.gather(
            self._health.parts(), self._queues(), self._counts(), self._models.take(self._health.redis)
        )
        for name, part in parts.items():
            kind, _, queue = name.partition(".")
            if kind == "workers":
                self._ready.labels(queue).set(part.up)
            else:
                self._up.labels(name).set(part.up)
        backlog, level = self._health.load
        self._backlog.set(backlog)
        self._load.set(get_args(Level).index(level))
        return generate_latest(self.registry)

    async def close(self) -> None:
        """Let an open count end."""
        if self._taking:
            await asyncio.wait([self._taking], timeout=PATIENCE)

    async def _queues(self) -> None:
        if self._health.redis is None:
            return
        try:
            async with self._health.redis.pipeline(transaction=False) as pipe:
                for queue in QUEUES:
                    pipe.llen(queue)
                lengths = await pipe.execute()
        except (RedisError, OSError):
            self._queue.clear()  # an old length would look like a quiet queue
            return
        for queue, length in zip(QUEUES, lengths, strict=True):
            self._queue.labels(queue).set(length)

    async def _counts(self) -> None:
        if time.monotonic() - self._taken_at < CACHED:
            return
        if self._taking is None:
            self._taking = asyncio.create_task(asyncio.to_thread(self._count))
        done, _ = await asyncio.wait([self._taking], timeout=PATIENCE)
        if not done:
            return
        task, self._taking = self._taking, None
        if task is None:
            return  # another scrape has read it
        try:
            found = task.result()
        except (DatabaseUnavailable, SQLAlchemyError) as error:
            log.warning("counts_unavailable", error=type(error).__name__)
            return
        self._taken_at = time.monotonic()
        self._waiting.set(found.waiting)
        self._active.set(found.turns.get("processing", 0))
        for status in _TURNS:
            self._turns.labels(status).set(found.turns.get(status, 0))
        for status in _OUTBOX:
            self._outbox.labels(status).set(found.outbox.get(status, 0))
        self._flags.set(found.open_flags)
        self._quarantined.set(found.quarantined)

    def _count(self) -> Counts:
        with self._database.read() as session:
            together = [limit for limit in limits_of(self._budget, utcnow()) if limit.scope == "all"]
            for one in budgets(session.connection(), together):
                self._used.labels("day" if len(one.counter.period) == 10 else "month").set(one.share)
            return counts(session)


def routes(metrics: Metrics) -> APIRouter:
    """``/metrics``."""
    router = APIRouter(tags=["operations"])

    @router.get("/metrics", response_class=Response, response_model=None)
    async def exposition() -> Response:
        """Counters and gauges in Prometheus' text format."""
        return Response(await metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router
