"""What every group of settings is made of."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Group(BaseModel):
    """One group of settings; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _seconds(value: object) -> object:
    """A bare number, also as text from the environment, is seconds."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return timedelta(seconds=value)
    if isinstance(value, str):
        try:
            return timedelta(seconds=float(value))
        except ValueError:
            return value
    return value


def _on_off(value: object) -> object:
    return {"on": True, "off": False}.get(str(value).lower(), value)


#: A time span; seconds as a number, or ISO 8601 ("PT1M").
Duration = Annotated[timedelta, BeforeValidator(_seconds)]
#: on | off (or true | false).
Switch = Annotated[bool, BeforeValidator(_on_off)]
