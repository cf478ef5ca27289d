"""How this worker's models fare, told to Redis, where the ingress reads it for ``/metrics``."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from pipeline.health import process_health

if TYPE_CHECKING:
    from redis.client import Pipeline

#: A sorted set of workers by the time they last told, and a key for each one's counts.
KEY = "ragline:models"
#: Seconds after which a worker that tells nothing more is forgotten.
TTL = 60


def publish(pipe: Pipeline, worker: str) -> None:
    """Add the writes to ``pipe``; none where no model was asked."""
    counts = process_health().snapshot()
    if not counts:
        return
    now = time.time()
    pipe.set(f"{KEY}:{worker}", json.dumps(counts), ex=TTL)
    pipe.zadd(KEY, {worker: now})
    pipe.zremrangebyscore(KEY, 0, now - TTL)
