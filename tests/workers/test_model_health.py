"""What workers tell of their models reaches the metrics of the ingress, over a real Redis."""

from __future__ import annotations

import asyncio
import time

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from ingress.model_metrics import ModelMetrics
from pipeline.health import process_health
from pipeline.routes import Deployment
from workers.model_health import KEY, publish


@pytest.fixture
def redis(redis_url: str) -> Redis:
    client = Redis.from_url(redis_url)
    client.flushall()
    return client


def metrics(url: str) -> str:
    async def take() -> str:
        registry = CollectorRegistry()
        shown = ModelMetrics(registry)
        async with AsyncRedis.from_url(url) as client:
            await shown.take(client)
        return generate_latest(registry).decode()

    return asyncio.run(take())


def test_counts_of_every_worker_are_shown_and_those_of_the_dead_are_not(redis: Redis, redis_url: str) -> None:
    process_health.cache_clear()
    with redis:
        pipe = redis.pipeline()
        publish(pipe, "io@one")
        assert len(pipe) == 0, "who asked no model tells nothing"
        health, one = process_health(), Deployment("openai/gpt-4.1-mini")
        health.succeeded(one, began=health.now() - 1.5)
        health.failed(one, "rate_limit", began=health.now(), retry_after=40)
        publish(pipe, "io@one")
        pipe.execute()
        redis.zadd(KEY, {"io@gone": time.time()})
        text = metrics(redis_url)
        own = 'model="openai/gpt-4.1-mini",worker="io@one"'
        assert f"ragline_model_calls_total{{{own}}} 2.0" in text
        assert f'ragline_model_failures_total{{kind="rate_limit",{own}}} 1.0' in text or (
            f'ragline_model_failures_total{{{own},kind="rate_limit"}} 1.0' in text
        )
        assert f"ragline_model_seconds_total{{{own}}} 1.5" in text
        assert f"ragline_model_cooldown_seconds{{{own}}} 39." in text or "cooldown_seconds{" + own + "} 40.0" in text
        assert "io@gone" not in text
    process_health.cache_clear()
    assert "ragline_model_calls_total{" not in metrics("redis://127.0.0.1:9/0"), "nothing old is shown for new"
