"""The registry of channels: what an account needs, where its way in is and where its way out is.

A channel is one folder in ``ingress/channels``, one file in ``pipeline/senders`` and one entry here.
Modules are named, not imported: the ingress never loads a sender, a worker never loads a route.
An installed package adds channels through the entry point group ``ragline.channels``, whose objects
are :class:`ChannelSpec`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from ragline.setting_types import Duration, Group, Switch


class Account(Group):
    """What every account (a bot, a site, a connected inbox) of every channel can set."""

    quiet_window: Duration | None = Field(None, description="Own quiet window; else turn.quiet_window.")
    ambiguous: Literal["resend", "hold"] = Field(
        "resend",
        description="What to do with a send nobody can say arrived: resend once, or keep for a person.",
    )
    memory: Switch = Field(
        True, description="Models are shown the earlier conversation; off: each message stands alone."
    )


class TelegramAccount(Account):
    token: SecretStr = Field(description="Bot token from @BotFather.")
    mode: Literal["polling", "webhook"] = Field("polling", description="How updates arrive.")
    webhook_secret: SecretStr | None = Field(
        None,
        description="Secret token Telegram returns in a header; without it the webhook refuses everything.",
    )
    api_base: str = Field("https://api.telegram.org", description="Bot API server.")
    groups: Switch = Field(
        False, description="Answer every message in groups. Off: only replies to the bot and mentions of it."
    )


class UmnicoAccount(Account):
    token: SecretStr = Field(description="API token from Umnico, Settings -> API.")
    webhook_secret: SecretStr | None = Field(
        None,
        description="Path secret of the webhook, 128 bits or more; without it the webhook refuses everything.",
    )
    user_id: int = Field(description="Id of the employee in whose name the engine writes.")
    api_base: str = Field("https://api.umnico.com/v1.3", description="Umnico API.")
    reconcile_every: Duration = Field(
        timedelta(seconds=60), description="How often the inbox is read for what the webhook missed; 0: never."
    )

    @field_validator("webhook_secret")
    @classmethod
    def _strong(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret and len(secret.get_secret_value()) < 22:
            raise ValueError(
                "too short: use at least 128 bits, for example the output of "
                "`python -c 'import secrets; print(secrets.token_urlsafe(24))'`"
            )
        return secret


class WidgetAccount(Account):
    origins: list[str] = Field(
        default_factory=list,
        description="Origins of the pages that may embed the widget, as https://shop.example; own pages always may.",
    )
    files: Switch = Field(True, description="Visitors may attach files, of the kinds in media.kinds.")
    title: dict[str, str] = Field(default_factory=dict, description="Window title by language.")
    greeting: dict[str, str] = Field(default_factory=dict, description="First line shown, by language.")


class ApiAccount(Account):
    quiet_window: Duration | None = Field(0, validate_default=True, description="The API waits for no more.")
    key: SecretStr = Field(description="Bearer key of the generic JSON channel.")


@dataclass(frozen=True)
class ChannelSpec:
    """One channel. ``inlet`` is a module with ``mount(inlet)``; ``sender`` is ``module:Class``."""

    account: type[Account]
    inlet: str
    sender: str
    credential: str | None = None  # the field without which an account is taken as not configured


CHANNELS: dict[str, ChannelSpec] = {
    "telegram": ChannelSpec(
        TelegramAccount, "ingress.channels.telegram", "pipeline.senders.telegram:TelegramSender", "token"
    ),
    "umnico": ChannelSpec(UmnicoAccount, "ingress.channels.umnico", "pipeline.senders.umnico:UmnicoSender", "token"),
    "widget": ChannelSpec(WidgetAccount, "ingress.channels.widget", "pipeline.senders.widget:WidgetSender"),
    "api": ChannelSpec(ApiAccount, "ingress.channels.api", "pipeline.senders.api:ApiSender", "key"),
}


@lru_cache(maxsize=1)
def channel_specs() -> dict[str, ChannelSpec]:
    """The built-in channels and those of installed packages; a built-in name cannot be replaced."""
    plugged = {point.name: point.load() for point in entry_points(group="ragline.channels")}
    return {**plugged, **CHANNELS}
