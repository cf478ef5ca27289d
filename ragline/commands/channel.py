"""``ragline channel``: the accounts of all channels, and where they send their webhooks."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from ingress.channels.telegram.bot_api import BotApi, BotApiError
from ingress.channels.telegram.normalise import ALLOWED_UPDATES
from ragline.channels import Account, TelegramAccount, UmnicoAccount
from ragline.commands.output import AsJson, plain_errors, print_json, print_table
from ragline.errors import ConfigurationError
from ragline.redaction import mask
from ragline.settings import Settings, get_settings

app = typer.Typer(help="Channel accounts and their webhooks.", no_args_is_help=True)

#: What Telegram takes as a secret token (https://core.telegram.org/bots/api#setwebhook).
_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")


class WithWebhooks(StrEnum):
    """Channels whose webhooks are registered with a call."""

    telegram = "telegram"
    umnico = "umnico"


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """The accounts of all channels, how they receive, and the state of their webhooks. Never shows a secret."""
    with plain_errors():
        rows = [
            _row(channel, name, account)
            for channel, accounts in sorted(get_settings().channels.items())
            for name, account in sorted(accounts.items())
        ]
    if as_json:
        print_json(rows)
        return
    cells = ((row["channel"], row["account"], row["mode"], _shown(row["webhook"])) for row in rows)
    print_table(("channel", "account", "mode", "webhook"), cells, empty="No channel has an account.")


@app.command("set-webhook")
def set_webhook(
    channel: Annotated[WithWebhooks | None, typer.Argument(help="Default: both.")] = None,
    account: Annotated[str | None, typer.Option(help="Default: every account of the channel.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell the channel where to send messages: RAGLINE_PUBLIC_URL and the account's own path."""
    with plain_errors():
        settings = get_settings()
        done = [_register(settings, name, key) for name, key in _chosen(settings, channel, account)]
    if as_json:
        print_json(done)
        return
    for row in done:
        typer.echo(f"{row['channel']}.{row['account']}: {row['url']} ({row['done']})")


def _chosen(settings: Settings, channel: WithWebhooks | None, account: str | None) -> list[tuple[str, str]]:
    channels = [channel.value] if channel else [item.value for item in WithWebhooks]
    found = [
        (name, key)
        for name in channels
        for key in sorted(settings.channels.get(name, {}))
        if account is None or key == account
    ]
    if not found:
        wanted = ".".join(filter(None, (channel.value if channel else None, account))) or "telegram or umnico"
        raise ConfigurationError(
            f"no account {wanted} is configured; set TELEGRAM_BOT_TOKEN or UMNICO_API_TOKEN, "
            "or channels.<name>.<account> in ragline.yaml (`ragline channel list` shows what there is)"
        )
    return found


def _register(settings: Settings, channel: str, name: str) -> dict[str, str]:
    account = settings.channels[channel][name]
    if isinstance(account, TelegramAccount):
        url = f"{_public_url(settings)}/telegram/{name}/webhook"
        asyncio.run(_set_telegram(name, account, url))
        return {"channel": channel, "account": name, "url": url, "done": "the webhook is set"}
    assert isinstance(account, UmnicoAccount)
    if account.webhook_secret is None:
        raise ConfigurationError(f"channels.umnico.{name} has no webhook_secret; set UMNICO_WEBHOOK_SECRET")
    from pipeline.senders.umnico import register_webhook

    start = f"{_public_url(settings)}/umnico/{name}"
    done = register_webhook(account, f"{start}/{account.webhook_secret.get_secret_value()}/webhook")
    return {"channel": channel, "account": name, "url": f"{start}/***/webhook", "done": done}


def _public_url(settings: Settings) -> str:
    if not settings.public_url:
        raise ConfigurationError(
            "no public address is set; set RAGLINE_PUBLIC_URL, such as https://support.example.com"
        )
    if not re.match(r"https?://[^/\s]", settings.public_url):
        raise ConfigurationError("RAGLINE_PUBLIC_URL is no web address; it begins with https://")
    return settings.public_url.rstrip("/")


async def _set_telegram(name: str, account: TelegramAccount, url: str) -> None:
    secret = account.webhook_secret.get_secret_value() if account.webhook_secret else ""
    if not secret:
        raise ConfigurationError(
            f"channels.telegram.{name} has no webhook_secret, and a webhook without one is refused; "
            "set TELEGRAM_WEBHOOK_SECRET"
        )
    if not _SECRET.fullmatch(secret):
        raise ConfigurationError(
            f"channels.telegram.{name}.webhook_secret: Telegram takes 1 to 256 characters of A-Z, a-z, 0-9, _ and -"
        )
    if account.mode == "polling":
        typer.echo(
            f"Warning: channels.telegram.{name} is in polling mode, and its poller removes webhooks; "
            "set TELEGRAM_MODE=webhook and restart.",
            err=True,
        )
    async with BotApi(account) as api:
        params = {"url": url, "secret_token": secret, "allowed_updates": list(ALLOWED_UPDATES)}
        await api.call("setWebhook", params)


def _row(channel: str, name: str, account: Account) -> dict[str, Any]:
    if isinstance(account, TelegramAccount):
        return {
            "channel": channel,
            "account": name,
            "mode": account.mode,
            "secret": account.webhook_secret is not None,
            "webhook": asyncio.run(_telegram_state(account)),
        }
    if isinstance(account, UmnicoAccount):
        has_secret = account.webhook_secret is not None
        return {"channel": channel, "account": name, "mode": "webhook", "secret": has_secret, "webhook": None}
    return {"channel": channel, "account": name, "mode": "http", "webhook": None}


async def _telegram_state(account: TelegramAccount) -> dict[str, Any]:
    try:
        async with BotApi(account) as api:
            info = await api.call("getWebhookInfo", timeout=5.0)
    except BotApiError as error:
        return {"error": str(error)}
    info = info if isinstance(info, dict) else {}
    failed_at = info.get("last_error_date")
    return {
        "url": mask(str(info.get("url") or "")),
        "pending": info.get("pending_update_count"),
        "last_error": info.get("last_error_message"),
        "last_error_at": datetime.fromtimestamp(failed_at, UTC).isoformat() if isinstance(failed_at, int) else None,
    }


def _shown(state: dict[str, Any] | None) -> str:
    if state is None:
        return "–"
    if "error" in state:
        return f"unknown: {state['error']}"
    parts = [state["url"] or "none", f"{state['pending']} waiting"]
    if state["last_error"]:
        parts.append(f"last error {state['last_error_at'] or ''}: {state['last_error']}")
    return ", ".join(parts)
