"""What every group of settings is made of."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

LONGEST = timedelta(days=365)
SHORTEST = timedelta(milliseconds=10)


class Group(BaseModel):
    """One group of settings; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _seconds(value: object) -> object:
    """A bare number, also as text from the environment, is seconds."""
    if isinstance(value, bool):
        raise ValueError("must be a number of seconds")
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    if isinstance(value, int | float):
        if not abs(value) <= LONGEST.total_seconds():
            raise ValueError(f"must be a number of seconds, {LONGEST.days} days at most")
        return timedelta(seconds=value)
    return value


def _forward(value: timedelta) -> timedelta:
    if not timedelta(0) <= value <= LONGEST:
        raise ValueError(f"must not be negative, nor longer than {LONGEST.days} days")
    return value


def _positive(value: timedelta) -> timedelta:
    if value < SHORTEST:
        raise ValueError(f"must be {SHORTEST.total_seconds():g} seconds or more")
    return value


def _on_off(value: object) -> object:
    return {"on": True, "off": False}.get(str(value).lower(), value)


def switch_word(value: object) -> object:
    """YAML reads a bare ``on`` or ``off`` as true or false."""
    return ("on" if value else "off") if isinstance(value, bool) else value


#: A time span; seconds as a number, or ISO 8601 ("PT1M").
Duration = Annotated[timedelta, BeforeValidator(_seconds), AfterValidator(_forward)]
#: A time span that something waits for in a loop.
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
#: on | off (or true | false).
Switch = Annotated[bool, BeforeValidator(_on_off)]
