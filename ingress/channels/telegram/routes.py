"""The webhook: verify, read, accept, 200.

Telegram repeats an update until it hears 2xx and holds back the chat's later ones meanwhile. So an authentic
update that cannot be read is kept and answered with 200; only a database that is down is worth a retry (503).
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import HTTPException, Request

from ingress.channels.base import Webhook, secret_matches
from ingress.channels.telegram.intake import Intake
from ingress.webhooks import read_delivery
from ragline.channels import TelegramAccount
from ragline.logs import get_logger

HEADER = "X-Telegram-Bot-Api-Secret-Token"
log = get_logger(__name__)


def make_webhook(accounts: Mapping[str, tuple[TelegramAccount, Intake]]) -> Webhook:
    """``POST /telegram/{account}/webhook`` for ``accounts``."""

    async def take(request: Request) -> None:
        """One update from Telegram. 404: no such account; 401 and 403: the secret is missing or wrong."""
        account = request.path_params["account"]
        if account not in accounts:
            raise HTTPException(404, "no such account")
        settings, intake = accounts[account]
        given = request.headers.get(HEADER)
        if settings.webhook_secret is None:
            log.error("telegram_webhook_secret_missing", account=account, advice="set TELEGRAM_WEBHOOK_SECRET")
            raise HTTPException(403, "this account takes no webhooks")
        if given is None:
            raise HTTPException(401, f"the header {HEADER} is missing")
        if not secret_matches(given, settings.webhook_secret):
            log.warning("telegram_webhook_refused", account=account)
            raise HTTPException(403, "wrong secret")

        if read := await read_delivery(request, intake.quarantine):
            await intake.accept([await intake.read(*read)])

    return Webhook("/telegram/{account}/webhook", take)
