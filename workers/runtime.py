"""What the tasks of one worker process share, each made at its first use."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from functools import cached_property

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from pipeline.llm import LanguageModel, count_embeddings, listed_price, make_language_model
from pipeline.metering import Spending
from pipeline.run import make_policy
from pipeline.search import Searcher
from pipeline.senders import make_sender
from pipeline.senders.base import Sender
from pipeline.steps.generate import Policy
from ragline.clock import utcnow
from ragline.logs import get_logger
from ragline.settings import Settings, get_settings
from storage.session import Database, get_database
from storage.spending import Payer
from workers.leases import LeaseKeeper
from workers.load import Load

#: The Redis channel on which the ways in listen for news of a conversation.
NEWS = "ragline:news"
log = get_logger(__name__)


class Runtime:
    """Database, models and senders of a worker process."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = utcnow) -> None:
        self.settings = settings
        self.clock = clock
        self._senders: dict[tuple[str, str], Sender] = {}
        self._lock = threading.RLock()

    @cached_property
    def database(self) -> Database:
        return get_database(durable=False)

    @cached_property
    def leases(self) -> LeaseKeeper:
        return LeaseKeeper(self.database, self.settings.turn.lease, self.clock)

    @cached_property
    def policy(self) -> Policy:
        return make_policy(self.settings)

    @cached_property
    def load(self) -> Load:
        return Load(self.database, self.settings)

    @cached_property
    def model(self) -> LanguageModel | None:
        return make_language_model(self.settings)

    @cached_property
    def spending(self) -> Spending:
        return Spending(self.database, self.settings, listed_price, self.clock)

    @property
    def searcher(self) -> Searcher:
        """The search over the live index; the embedding model is loaded once."""
        with self._lock:
            return self._searcher

    @cached_property
    def _searcher(self) -> Searcher:
        from pipeline.search import make_searcher

        return make_searcher(self.settings, self.database)

    @cached_property
    def redis(self) -> Redis:
        url = self.settings.redis_url or "redis://127.0.0.1:6379/0"
        # Hints and counts only: better missed than waited for.
        never = Retry(NoBackoff(), 0)
        return Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, health_check_interval=15, retry=never)

    def sender(self, channel: str, account: str) -> Sender:
        """The sender of an account, one a process. Raises ``PermanentError`` for an account nobody configured."""
        with self._lock:
            if (channel, account) not in self._senders:
                self._senders[channel, account] = make_sender(channel, account, self.settings)
            return self._senders[channel, account]

    def announce(self, conversation_id: str) -> None:
        """Wake whoever waits for news of a conversation. They poll SQL too, so a failure costs them time only."""
        try:
            self.redis.publish(NEWS, conversation_id)
        except RedisError as error:
            log.warning("news_not_announced", conversation_id=conversation_id, error=type(error).__name__)

    def close(self) -> None:
        for sender in self._senders.values():
            sender.close()


_runtime: Runtime | None = None
_runtime_lock = threading.Lock()


def get_runtime() -> Runtime:
    """The runtime of this process."""
    global _runtime
    with _runtime_lock:
        if _runtime is None:
            _runtime = Runtime(get_settings())
            # Not bound by budgets: without a search there would be no stored answer either.
            count_embeddings(_runtime.spending.meter(Payer(), binding=False))
        return _runtime
