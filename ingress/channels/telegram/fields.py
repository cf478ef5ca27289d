"""Reading Telegram's JSON: what is needed must have the right shape, the rest may be anything."""

from __future__ import annotations

import re
from typing import Any

from ingress.channels.base import Unreadable

Json = dict[str, Any]

#: PostgreSQL takes neither NUL nor a lone surrogate in a text. One for one, so that offsets stay right.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean(text: str) -> str:
    """``text`` as any database and encoding takes it, of the same length."""
    return _UNSTORABLE.sub("\ufffd", text)


def words(value: object, limit: int | None = None) -> str:
    """``value`` if it is a string, cleaned and cut to ``limit`` characters; otherwise empty."""
    return clean(value)[:limit] if isinstance(value, str) else ""


def whole(value: object) -> int | None:
    """``value`` if it is an integer of at most 64 bits; otherwise None."""
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return value
    return None


def record(value: object) -> Json:
    """``value`` if it is an object; otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def needed_record(value: object, where: str) -> Json:
    """``value``, an object; raises :class:`Unreadable` naming ``where`` otherwise."""
    if not isinstance(value, dict):
        raise Unreadable(f"{where} is not an object")
    return value


def needed_id(value: object, where: str) -> int:
    """``value``, an integer of at most 64 bits; raises :class:`Unreadable` naming ``where`` otherwise."""
    found = whole(value)
    if found is None:
        raise Unreadable(f"{where} is not a 64-bit integer")
    return found


def needed_key(value: object, where: str, limit: int = 100) -> str:
    """``value``, a short non-empty string (a file id may be longer than a key: see ``limit``)."""
    if not isinstance(value, str) or not 0 < len(value) <= limit:
        raise Unreadable(f"{where} is not a string of 1 to {limit} characters")
    return clean(value)


def entity_text(text: str, entity: Json) -> str:
    """The part of ``text`` an entity marks; its offset and length count UTF-16 code units."""
    offset, length = whole(entity.get("offset")), whole(entity.get("length"))
    if offset is None or length is None or offset < 0 or length < 0:
        return ""
    units = text.encode("utf-16-le", "replace")
    return units[2 * offset : 2 * (offset + length)].decode("utf-16-le", "ignore")
