"""What protects the service and its cost when too much comes in: steps of degradation, and rate limits."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from pipeline.steps.generate import Policy
from ragline.logs import get_logger
from ragline.settings import Settings
from storage.load import Level, load_level
from storage.session import Database

if TYPE_CHECKING:
    from redis import Redis

#: Seconds for which a count of the backlog holds.
FRESH = 1.0
log = get_logger(__name__)


class Load:
    """The level of degradation, read from SQL once a second at most. Thread-safe."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings.load
        self._lock = threading.Lock()
        self._level: Level = "normal"
        self._read_at = -FRESH

    def level(self) -> Level:
        with self._lock:
            if time.monotonic() - self._read_at >= FRESH:
                with self._database.read() as session:
                    backlog, level = load_level(session, self._settings)
                if level != self._level:
                    log.warning("load_level_changed", level=level, backlog=backlog)
                self._level, self._read_at = level, time.monotonic()
            return self._level


def degraded(policy: Policy, level: Level) -> Policy:
    """The answer policy under a load."""
    if level == "normal":
        return policy
    if level == "short_history":
        return replace(policy, history_tokens=0)
    return replace(policy, modes=[mode for mode in policy.modes if mode != "grounded"])


def account_is_over(redis: Redis, settings: Settings, channel: str, account: str) -> bool:
    """Count one more turn of an account; whether that is above its limit. A Redis that is away limits nobody."""
    window = settings.limits.window.total_seconds()
    key = f"ragline:turns:{channel}:{account}:{int(time.time() // window)}"
    try:
        counting = redis.pipeline()
        counting.incr(key)
        counting.expire(key, int(window) + 60)
        count, _ = counting.execute()
    except RedisError as error:
        log.warning("account_not_counted", error=type(error).__name__)
        return False
    return int(count) > settings.limits.per_account
