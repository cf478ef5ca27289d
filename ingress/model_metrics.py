"""What the workers say of their models, as metrics. The model and the worker are labels: counts begin anew with a
worker's process, which Prometheus takes into account."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ragline.logs import get_logger

#: Where the workers tell: names in a sorted set, the counts of each under its name.
KEY = "ragline:models"
log = get_logger(__name__)


class ModelMetrics(Collector):
    """The counts of the workers' models as they were last taken."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rows: list[tuple[str, dict[str, Any]]] = []
        registry.register(self)

    async def take(self, redis: Redis | None) -> None:
        """Read what the workers told; nothing is shown where it cannot be read."""
        self._rows = []
        if redis is None:
            return
        try:
            found: Any = await redis.zrange(KEY, 0, -1)
            names = [name.decode() for name in found]
            told = await redis.mget([f"{KEY}:{name}" for name in names]) if names else []
        except (RedisError, OSError) as error:
            log.debug("model_counts_unavailable", error=type(error).__name__)
            return
        self._rows = [
            (name, row) for name, text in zip(names, told, strict=True) if text is not None for row in json.loads(text)
        ]

    def collect(self) -> Iterator[Metric]:
        """The families, one sample a model and worker."""
        labels = ("model", "worker")
        calls = CounterMetricFamily("ragline_model_calls", "Calls of a model, failed ones too.", labels=labels)
        failures = CounterMetricFamily(
            "ragline_model_failures", "Calls that gave no answer, by the kind of failure.", labels=(*labels, "kind")
        )
        seconds = CounterMetricFamily("ragline_model_seconds", "Seconds its answers took in all.", labels=labels)
        cooldown = GaugeMetricFamily(
            "ragline_model_cooldown_seconds", "Seconds for which a model is still left alone.", labels=labels
        )
        for worker, row in self._rows:
            own = (row["model"], worker)
            calls.add_metric(own, row["calls"])
            seconds.add_metric(own, row["seconds"])
            cooldown.add_metric(own, row["cooldown"])
            for kind, count in row["failures"].items():
                failures.add_metric((*own, kind), count)
        yield from (calls, failures, seconds, cooldown)
