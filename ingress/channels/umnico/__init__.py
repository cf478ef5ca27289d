"""The way in from Umnico: a webhook for every account."""

from __future__ import annotations

from ingress.channels.base import Inlet, Mounted
from ingress.channels.umnico.normalise import CHANNEL
from ingress.channels.umnico.routes import Intake, make_router
from ragline.channels import UmnicoAccount


def mount(inlet: Inlet) -> Mounted:
    """The channel's part of the ingress."""
    accounts = inlet.settings.accounts(CHANNEL, UmnicoAccount)
    return Mounted(make_router({name: Intake(name, account, inlet) for name, account in accounts.items()}))
