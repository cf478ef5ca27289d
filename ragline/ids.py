"""Identifiers. UUIDv7 (RFC 9562) keeps index pages warm; it is no order across processes."""

from __future__ import annotations

import uuid_utils


def new_id() -> str:
    """A fresh UUIDv7 as 36 characters."""
    return str(uuid_utils.uuid7())
