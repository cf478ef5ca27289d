"""Celery settings and nothing else, each with its reason. Facts measured on Celery 5.6 with Redis."""

from __future__ import annotations

from kombu import Exchange, Queue

from ragline.settings import get_settings

_settings = get_settings()

broker_url = _settings.redis_url or "redis://127.0.0.1:6379/0"
# SQL is the truth; nobody waits for a task's return value.
result_backend = None
task_ignore_result = True

# Only JSON crosses the broker: a pickle would run what it holds.
task_serializer = "json"
accept_content = ["json"]

# One queue a kind of work. The default exchange ('') routes by the queue's name alone: a named exchange keeps
# its bindings in Redis, and after FLUSHALL drops messages in silence.
_default = Exchange("", type="direct")
task_queues = [Queue(name, _default, routing_key=name) for name in ("cpu", "io", "control", "jobs")]
task_default_queue = "control"
task_default_exchange = ""
task_default_routing_key = "control"
task_create_missing_queues = False
task_routes = {
    "ragline.understand": {"queue": "io"},
    "ragline.classify": {"queue": "cpu"},
    "ragline.retrieve": {"queue": "cpu"},
    "ragline.generate": {"queue": "io"},
    "ragline.deliver": {"queue": "io"},
    "ragline.send": {"queue": "io"},
    "ragline.open_turns": {"queue": "control"},
    "ragline.sweep": {"queue": "control"},
    "ragline.sync_index": {"queue": "jobs"},
    "ragline.train_head": {"queue": "jobs"},
    "ragline.clean_media": {"queue": "jobs"},
}

# A task is acknowledged when it is done, so a killed worker's task comes back. The attempts are counted in SQL:
# rejection on loss alone would repeat a task that kills its worker without end.
task_acks_late = True
task_reject_on_worker_lost = True
task_acks_on_failure_or_timeout = True

# A task unacknowledged for this long is handed out again. Longer than the longest step (its lease) and than any
# countdown in use; longer delays are `due_at` rows in SQL. The restore options make kombu look every few seconds
# instead of every hundred.
visibility_timeout = max(120, int(_settings.turn.lease.total_seconds() * 2))
broker_transport_options = {
    "visibility_timeout": visibility_timeout,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "socket_timeout": 30,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 25,
    # All work is of one priority, and one list a queue keeps the queue's length readable.
    "priority_steps": [0],
    "queue_order_strategy": "round_robin",
}
broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # a worker waits for its broker as long as it takes
broker_pool_limit = 20

# A publisher tries for seconds, not for ever: what the broker did not get, the sweeper finds in SQL.
task_publish_retry = True
task_publish_retry_policy = {"max_retries": 3, "interval_start": 0.1, "interval_step": 0.3, "interval_max": 1}

# One message a thread: a waiting message is better held by the queue than by a busy worker.
worker_prefetch_multiplier = 1
# On SIGTERM running tasks get this long, then they are handed back to the queue.
worker_soft_shutdown_timeout = 8
worker_enable_soft_shutdown_on_idle = True
worker_cancel_long_running_tasks_on_connection_loss = False  # a step's lease in SQL decides, not the connection

# Flower shows tasks by these events. Arguments are ids, never texts.
worker_send_task_events = True
# What waits is seen by the queues' lengths; an event for it would be two fifths of the cost of handing a task on.
task_send_sent_event = False
task_track_started = False

worker_hijack_root_logger = False  # structlog is set up by workers.signals
timezone = "UTC"

beat_schedule = {
    "sweep": {
        "task": "ragline.sweep",
        "schedule": _settings.turn.sweep_period.total_seconds(),
        # A sweep nobody took before the next one is due is of no use.
        "options": {"expires": _settings.turn.sweep_period.total_seconds()},
    },
    "train": {
        "task": "ragline.train_head",
        "schedule": _settings.knowledge.train_period.total_seconds(),
        "options": {"expires": _settings.knowledge.train_period.total_seconds()},
    },
    # Files are kept by whole days.
    "clean_media": {"task": "ragline.clean_media", "schedule": 3600, "options": {"expires": 3600}},
}
beat_max_loop_interval = 5
