"""Structured logs: one static event name, ids as keywords, never a customer's text or a secret."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog

from ragline.errors import safe_text

#: Keys whose values are secrets or a customer's words; a slip is masked instead of written.
_MASKED_KEYS = frozenset({"text", "token", "password", "secret", "key", "authorization", "question", "answer", "body"})
#: A Telegram bot token or a bearer key inside any string, e.g. in the text of an HTTP client's exception.
_SECRET_SHAPES = re.compile(
    r"(?<!\d)\d{5,}:[A-Za-z0-9_-]{4,}|(?i:bearer)\s+[\w.~+/=-]{6,}|sk-[\w-]{6,}|(?<=/umnico/)[^/\s]+/[^/\s]+"
)


def mask(text: str) -> str:
    """``text`` with everything shaped like a credential replaced by ``***``."""
    return _SECRET_SHAPES.sub("***", text)


def _mask_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key in _MASKED_KEYS:
            event[key] = "***"
        elif isinstance(value, str):
            event[key] = mask(value)
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
        _mask_event,
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


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger named after its module."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
