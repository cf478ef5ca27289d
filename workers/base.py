"""The one base task: what every task needs and no task should repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from celery import Task
from celery.exceptions import CeleryError, TaskPredicate

from ragline.errors import RaglineError, TransientError, safe_text
from ragline.logs import get_logger
from workers.runtime import Runtime, get_runtime

log = get_logger(__name__)


class TaskCrashed(RaglineError):
    """A task ended with an error nobody foresaw; the log says where."""


class BaseTask(Task):  # type: ignore[misc]
    """Binds the log context, and tries again after an error that says so (a database or broker away).

    A step's own failures never come here: they are counted in SQL by :mod:`workers.steps`.
    """

    abstract = True
    max_retries = None  # the database is waited for as long as it takes; the row is safe

    @property
    def runtime(self) -> Runtime:
        return get_runtime()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with structlog.contextvars.bound_contextvars(task=self.name.removeprefix("ragline."), task_id=self.request.id):
            try:
                return super().__call__(*args, **kwargs)
            except TransientError as error:
                delay = error.retry_after or min(2.0 ** min(self.request.retries, 4), 15.0)
                log.warning("task_postponed", seconds=delay, error=str(error))
                raise self.retry(exc=error, countdown=delay, throw=False) from None
            except (CeleryError, TaskPredicate):
                raise
            except RaglineError as error:
                # Celery sends the whole chain of a traceback to Flower, and its first link may quote a customer
                if error.__cause__ or error.__context__:
                    log.exception("task_failed")
                raise error from None
            except Exception as error:
                # Celery and Flower show an error's text, and a foreign one may quote a customer
                log.exception("task_crashed")
                raise TaskCrashed(safe_text(error)) from None

    def send_later(self, name: str, args: Sequence[Any], *, countdown: float | None = None) -> None:
        """Enqueue by name. Never raises: what the broker does not get, the sweeper finds in SQL."""
        try:
            self.app.send_task(name, args=list(args), countdown=countdown)
        except Exception as error:  # kombu raises transport errors of several families
            log.warning("task_not_enqueued", name=name, error=type(error).__name__)
