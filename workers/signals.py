"""What happens around the life of a worker: logging, warm-up before it takes work, and the sign that it consumes."""

from __future__ import annotations

import threading
from typing import Any

from celery import signals
from redis.exceptions import RedisError

from pipeline.prompt_check import accounts_of, check_folder
from ragline import garbage
from ragline.errors import ConfigurationError
from ragline.logs import configure_logging, get_logger, log_uncaught
from ragline.settings import get_settings
from workers.model_health import publish

#: Seconds a readiness key lives; renewed by the worker's heartbeat every few seconds.
READY_TTL = 30
log = get_logger(__name__)


@signals.setup_logging.connect
def _logging(**_: Any) -> None:
    settings = get_settings()
    configure_logging(settings.log.level, settings.log.format)
    log_uncaught()


@signals.worker_init.connect
def _warm_up(sender: Any = None, **_: Any) -> None:
    """Load what its tasks need before the first one comes: a row claimed for sending must not wait for an import."""
    _logging()  # Celery does so only later
    from workers.runtime import get_runtime

    queues, runtime = _queues(sender), get_runtime()
    try:
        check_folder(runtime.settings.prompts.folder, accounts_of(runtime.settings.channels))
        searcher = runtime.searcher if "cpu" in queues else None
    except ConfigurationError as error:
        raise SystemExit(str(error)) from error  # Celery would log any other error and go on
    if searcher is not None:
        searcher.warm_up()
    if "io" in queues:
        for channel, accounts in runtime.settings.channels.items():
            for account in accounts:
                runtime.sender(channel, account).warm_up()


@signals.worker_ready.connect
def _ready(sender: Any = None, **_: Any) -> None:
    """Say in Redis, for as long as this worker consumes, that its queues are served."""
    garbage.settle()
    consumer = sender
    stop = threading.Event()

    def renew() -> None:
        from workers.runtime import get_runtime

        names = [f"ragline:ready:{queue}" for queue in _queues(consumer)]
        names.append(f"ragline:ready:{consumer.hostname}")
        while not stop.is_set():
            try:
                if _consumes(consumer):
                    pipe = get_runtime().redis.pipeline(transaction=False)
                    for name in names:
                        pipe.set(name, consumer.hostname, ex=READY_TTL)
                    publish(pipe, consumer.hostname)
                    pipe.execute()
            except RedisError as error:
                log.warning("readiness_not_written", error=type(error).__name__)
            stop.wait(READY_TTL / 6)

    def goodbye(**_: Any) -> None:
        stop.set()

    signals.worker_shutting_down.connect(goodbye, weak=False)
    threading.Thread(target=renew, name="readiness", daemon=True).start()


@signals.worker_shutdown.connect
def _close(**_: Any) -> None:
    from workers.runtime import get_runtime

    get_runtime().close()


def _queues(worker: Any) -> set[str]:
    """The queues a worker (or its consumer) was started for."""
    return set(worker.app.amqp.queues.consume_from)


def _consumes(consumer: Any) -> bool:
    """Whether the worker is connected and has consumers on its queues, not merely a process."""
    connection = getattr(consumer, "connection", None)
    tasks = getattr(consumer, "task_consumer", None)
    return bool(connection is not None and connection.connected and tasks is not None and tasks.queues)
