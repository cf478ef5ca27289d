"""The way in from Umnico: a webhook for every account, and a reader of its inbox for what the webhook missed."""

from __future__ import annotations

from ingress.channels.base import Inlet, Mounted
from ingress.channels.umnico.normalise import CHANNEL
from ingress.channels.umnico.reconcile import Reconciler
from ingress.channels.umnico.routes import Intake, make_webhook
from ragline.channels import UmnicoAccount


def mount(inlet: Inlet) -> Mounted:
    """The channel's part of the ingress."""
    accounts = inlet.settings.accounts(CHANNEL, UmnicoAccount)
    intakes = {name: Intake(name, account, inlet) for name, account in accounts.items()}
    reconcilers = [
        Reconciler(name, account, inlet, intakes[name]).run
        for name, account in accounts.items()
        if account.reconcile_every
    ]
    return Mounted(webhooks=[make_webhook(intakes)], background=reconcilers)
