"""The way in from Telegram: a webhook for every account, and a poller for those in polling mode."""

from __future__ import annotations

from ingress.channels.base import Inlet, Mounted
from ingress.channels.telegram.intake import Intake
from ingress.channels.telegram.normalise import CHANNEL
from ingress.channels.telegram.poller import Poller
from ingress.channels.telegram.routes import make_webhook
from ragline.channels import TelegramAccount


def mount(inlet: Inlet) -> Mounted:
    """The channel's part of the ingress."""
    accounts = {
        name: (account, Intake(name, account, inlet))
        for name, account in inlet.settings.accounts(CHANNEL, TelegramAccount).items()
    }
    pollers = [
        Poller(name, account, inlet, intake)
        for name, (account, intake) in accounts.items()
        if account.mode == "polling"
    ]
    return Mounted(webhooks=[make_webhook(accounts)], background=tuple(poller.run for poller in pollers))
