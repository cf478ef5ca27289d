"""The columns of a knowledge file, and the options of a command, that say who sees an item and when."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ragline.channels import channel_specs
from storage.visibility import STATUSES, Visibility

FIELDS = ("status", "valid_from", "valid_until", "channels", "languages")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z0-9]{2,8})*", re.IGNORECASE)


def read_visibility(row: Mapping[str, Any]) -> Visibility | None:
    """The visibility a row asks for; None where it says nothing of it.

    Raises :class:`ValueError` with the reason.
    """
    given = {name: row.get(name) for name in FIELDS if row.get(name) not in (None, "", [])}
    if not given:
        return None
    since, until = read_moment(given.get("valid_from"), "valid_from"), read_end(given.get("valid_until"))
    if since and until and since >= until:
        raise ValueError("is valid until before it is valid from")
    return Visibility(
        status=read_status(given.get("status")),
        valid_from=since,
        valid_until=until,
        channels=read_channels(given.get("channels")),
        languages=read_languages(given.get("languages")),
    )


def write_visibility(visibility: Visibility | None) -> dict[str, Any]:
    """The columns that :func:`read_visibility` reads the same from."""
    if visibility is None:
        return dict.fromkeys(FIELDS)
    return {
        "status": visibility.status,
        "valid_from": visibility.valid_from and visibility.valid_from.isoformat(),
        "valid_until": visibility.valid_until and visibility.valid_until.isoformat(),
        "channels": list(visibility.channels),
        "languages": list(visibility.languages),
    }


def read_status(value: Any) -> str:
    """A status; active where nothing is said."""
    status = str(value or "active").strip().lower()
    if status not in STATUSES:
        raise ValueError(f"has the status '{status}', which is none of {', '.join(STATUSES)}")
    return status


def read_moment(value: Any, name: str) -> datetime | None:
    """The moment of a date (its beginning) or a time, in UTC where it names no zone."""
    return _moment(value, name)[0]


def read_end(value: Any) -> datetime | None:
    """The first moment at which something is over: the day after a date, or the time itself."""
    moment, is_day = _moment(value, "valid_until")
    return moment + timedelta(days=1) if moment and is_day else moment


def _moment(value: Any, name: str) -> tuple[datetime | None, bool]:
    if value is None or value == "":
        return None, False
    if isinstance(value, datetime):
        found = value
        is_day = value.tzinfo is None and (value.hour, value.minute, value.second, value.microsecond) == (0, 0, 0, 0)
    elif isinstance(value, date):
        found, is_day = datetime(value.year, value.month, value.day, tzinfo=UTC), True
    else:
        text = str(value).strip()
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"has a {name} that is no date such as 2026-12-31 or 2026-12-31T18:00+03:00") from None
        is_day = len(text) <= 10
    return (found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)), is_day


def read_channels(value: Any) -> tuple[str, ...]:
    """Names of channels; empty for all."""
    names = tuple(name.lower() for name in _names(value, "channels"))
    if unknown := sorted(set(names) - set(channel_specs())):
        raise ValueError(f"names the channel '{unknown[0]}'; known: {', '.join(sorted(channel_specs()))}")
    return names


def read_languages(value: Any) -> tuple[str, ...]:
    """Language tags such as ru or pt-BR; empty for all."""
    tags = tuple(tag.replace("_", "-") for tag in _names(value, "languages"))
    for tag in tags:
        if not _LANGUAGE.fullmatch(tag):
            raise ValueError(f"names the language '{tag}', which is no tag such as ru or pt-BR")
    return tags


def _names(value: Any, name: str) -> list[str]:
    if isinstance(value, str):
        value = re.split(r"[,;\n]", value)
    if not isinstance(value, list | tuple | None):
        raise ValueError(f"has {name} that are neither a list nor names with commas between")
    return list(dict.fromkeys(part.strip() for part in map(str, value or ()) if part.strip()))
