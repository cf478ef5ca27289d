"""The one clock. Functions that depend on time take ``now`` as an argument; this is its default."""

from __future__ import annotations

from datetime import UTC, datetime


def utcnow() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)
