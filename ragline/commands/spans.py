"""Times as commands take them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from ragline.clock import utcnow
from ragline.errors import ConfigurationError

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def since_time(text: str) -> datetime:
    """The time that ``--since`` means: a span before now (30m, 2h, 7d), or a date and time, by default local."""
    try:
        if span := _SPAN.fullmatch(text.strip()):
            return utcnow() - timedelta(**{_UNITS[span[2]]: float(span[1])})
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise ConfigurationError(f"--since {text}: neither a span such as 2h nor a date such as 2026-11-23") from None
