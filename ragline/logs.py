"""Structured logs: one static event name, ids as keywords, never a customer's text or a secret."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, Literal, TextIO

import structlog

from ragline.errors import safe_text
from ragline.redaction import mask, redacted


def _redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        # structlog's own, which the formatter takes out again
        if not key.startswith("_"):
            event[key] = redacted(key, value)
    return event


def _traceback(exc_info: tuple[Any, ...]) -> str:
    """Where it happened and the class of each error, without the text of foreign ones: it may quote its input."""
    told: list[str] = []
    error: BaseException | None = exc_info[1]
    while error is not None:
        frames = "".join(traceback.format_tb(error.__traceback__))
        name = type(error).__name__
        said = safe_text(error)
        told.append(f"{frames}{name}" + ("" if said == name else f": {mask(said)}"))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\nwhich led to\n\n".join(reversed(told))


def configure_logging(
    level: str = "INFO", style: Literal["console", "json"] = "console", out: TextIO | None = None
) -> None:
    """Send structlog and the standard library's loggers through one chain to ``out`` (default: standard output)."""
    out = out or sys.stdout
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.ExceptionRenderer(_traceback),
        _redact_event,
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if style == "json"
        else structlog.dev.ConsoleRenderer(
            colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=28
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        # What the level leaves out is dropped before any of it is put together.
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Request lines of clients hold tokens in their paths; access lines of the server hold webhook secrets.
    for noisy in (
        "httpx",
        "httpcore",
        "uvicorn.access",
        "aiogram.event",
        "LiteLLM",
        "openai",
        "chromadb",
        "kombu",
        "celery.app.trace",  # the steps' own lines say more
        "celery.worker.strategy",
        "celery.beat",
        "alembic",
    ):
        logging.getLogger(noisy).setLevel("WARNING")


def log_uncaught() -> None:
    """Log what nobody catches, and warnings: Python itself would print their texts, which may quote a customer.

    For processes that serve; called once.
    """
    logging.captureWarnings(True)
    log = get_logger(__name__)

    def crashed(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        log.critical("process_crashed", exc_info=(kind, error, where))

    def thread_died(died: threading.ExceptHookArgs) -> None:
        if died.exc_value is not None:
            name = died.thread.name if died.thread else None
            log.error("thread_died", thread=name, exc_info=(died.exc_type, died.exc_value, died.exc_traceback))

    sys.excepthook, threading.excepthook = crashed, thread_died


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger named after its module."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
