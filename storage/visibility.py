"""Who sees an item of the knowledge base, and when. Search keeps to it in :mod:`storage.visible_rows`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

STATUSES = ("draft", "active", "archived")


@dataclass(frozen=True)
class Scope:
    """For whom is searched. ``channel`` or ``locale`` (BCP 47) None: whatever it is limited to is seen."""

    channel: str | None = None
    locale: str | None = None


#: What is limited to a channel or a language is seen too, what is not valid now is not.
EVERYWHERE = Scope()


class Restricted(Protocol):
    """What the rule needs of an item. Empty ``channels`` or ``languages``: all of them."""

    @property
    def status(self) -> str: ...
    @property
    def valid_from(self) -> datetime | None: ...
    @property
    def valid_until(self) -> datetime | None: ...
    @property
    def channels(self) -> Sequence[str]: ...
    @property
    def languages(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Visibility:
    """What is limited of an item; the default is nothing."""

    status: str = "active"
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    channels: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()


def visible(item: Restricted, *, channel: str | None, locale: str | None, now: datetime) -> bool:
    """Whether a customer of this channel and language sees the item at ``now``.

    ``valid_from`` is the first moment, ``valid_until`` the first one after. A language covers its regions: ``ru``
    is seen by ``ru-RU``.
    """
    if item.status != "active":
        return False
    if item.valid_from is not None and now < item.valid_from:
        return False
    if item.valid_until is not None and now >= item.valid_until:
        return False
    if item.channels and channel is not None and channel not in item.channels:
        return False
    return not item.languages or locale is None or any(covers(language, locale) for language in item.languages)


def covers(language: str, locale: str) -> bool:
    """Whether a locale is of a language: ``ru`` covers ``ru`` and ``ru-RU``, ``pt-BR`` covers itself only."""
    wanted, asked = (tag.lower().replace("_", "-") for tag in (language, locale))
    return asked == wanted or asked.startswith(f"{wanted}-")
