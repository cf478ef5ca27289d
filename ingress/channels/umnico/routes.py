"""The webhook: verify, read, leave out what the engine wrote itself, accept, 200.

Umnico signs nothing: the secret in the path is the whole proof, so no path is logged here, and an account
without a secret takes nothing. A hook that fails is switched off, and whether a refused event comes again is
not known: an authentic one that cannot be read is kept and answered with 200.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from fastapi import HTTPException, Request
from pydantic import SecretStr, ValidationError
from sqlmodel import Session, and_, col, or_, select

from ingress.channels.base import Inlet, Unreadable, Webhook, secret_matches
from ingress.channels.umnico.normalise import CHANNEL, custom_id, event_type, normalise
from ingress.webhooks import read_delivery
from pipeline.envelope import Envelope
from ragline.channels import UmnicoAccount
from ragline.clock import utcnow
from ragline.logs import get_logger
from storage.models import Conversation, Outbox

#: An outgoing message with the words of one the engine sent this long before or after is an echo of it.
ECHO_WINDOW = timedelta(minutes=2)
log = get_logger(__name__)


def make_webhook(intakes: Mapping[str, Intake]) -> Webhook:
    """``POST /umnico/{account}/{secret}/webhook`` for the accounts of ``intakes``."""

    async def take(request: Request) -> None:
        """One event from Umnico. 404: no such account; 403: the secret is wrong, or none is set."""
        account, secret = request.path_params["account"], request.path_params["secret"]
        intake = intakes.get(account)
        if intake is None:
            raise HTTPException(404, "no such account")
        if intake.secret is None:
            log.error("umnico_webhook_secret_missing", account=account, advice="set UMNICO_WEBHOOK_SECRET")
            raise HTTPException(403, "this account takes no webhooks")
        if not secret_matches(secret, intake.secret):
            log.warning("umnico_webhook_refused", account=account)
            raise HTTPException(403, "wrong secret")

        if read := await read_delivery(request, intake.quarantine):
            await intake.take(*read)

    return Webhook("/umnico/{account}/{secret}/webhook", take)


class Intake:
    """Reads and accepts the events of one account."""

    def __init__(self, name: str, account: UmnicoAccount, inlet: Inlet, clock: Callable[[], datetime] = utcnow) -> None:
        self.name = name
        self._account = account
        self._inlet = inlet
        self._clock = clock

    @property
    def secret(self) -> SecretStr | None:
        """What the path must hold; None admits nobody."""
        return self._account.webhook_secret

    async def take(self, event: object, raw: bytes) -> bool:
        """Accept what ``event`` means; one that cannot be read is kept in quarantine. Whether a message was stored.

        Raises :class:`~storage.session.DatabaseUnavailable` when it could not be stored.
        """
        try:
            envelopes = normalise(
                event, account_name=self.name, bot_user_id=self._account.user_id, received_at=self._clock()
            )
        except Unreadable as error:
            await self.quarantine(raw, str(error))
            return False
        except ValidationError as error:
            # The values are a customer's: only the names of the fields are told.
            fields = ", ".join(sorted({".".join(map(str, issue["loc"])) for issue in error.errors()}))
            await self.quarantine(raw, f"no envelope could be made of it: {fields}")
            return False
        except Exception as error:
            # A mistake of ours must not get the hook switched off: the event is kept, to be replayed after the fix.
            log.exception("event_not_normalised", channel=CHANNEL, account=self.name)
            await self.quarantine(raw, f"reading it failed ({type(error).__name__})")
            return False
        envelopes = [envelope for envelope in envelopes if not await self._is_echo(envelope, custom_id(event))]
        if not envelopes:
            log.debug("event_ignored", channel=CHANNEL, account=self.name, type=event_type(event))
            return False
        results = await self._inlet.acceptor.accept(envelopes)
        for result in results:
            if result.outcome == "conflict":
                await self.quarantine(raw, "another message is stored under the same messageId")
        return any(result.outcome == "new" for result in results)

    async def quarantine(self, raw: bytes, reason: str) -> None:
        """Keep what nobody could read."""
        await self._inlet.acceptor.quarantine(CHANNEL, self.name, raw, reason)

    async def _is_echo(self, envelope: Envelope, custom: str | None) -> bool:
        if envelope.kind != "outgoing":
            return False

        def look() -> bool:
            with self._inlet.database.read() as session:
                return is_echo(session, envelope, custom)

        return await asyncio.to_thread(look)


def is_echo(session: Session, envelope: Envelope, custom: str | None) -> bool:
    """Whether the engine itself sent this outgoing message.

    It did if the custom id is that of an outbox row, or the message's id that of a sent one, or if a row of
    the same conversation with the same words is on its way or was sent within :data:`ECHO_WINDOW`: Umnico
    does not always return the custom id, nor the employee.
    """
    here = and_(
        col(Conversation.id) == Outbox.conversation_id,
        Conversation.channel == envelope.channel,
        Conversation.account == envelope.account,
    )
    rows = select(Outbox.body).join(Conversation, here)
    if custom is not None and session.exec(rows.where(Outbox.id == custom)).first() is not None:
        return True
    rows = rows.where(Conversation.key == envelope.conversation)
    if session.exec(rows.where(Outbox.external_id == envelope.external_id)).first() is not None:
        return True
    sent = or_(*(col(Outbox.sent_at).between(at - ECHO_WINDOW, at + ECHO_WINDOW) for at in _moments(envelope)))
    # A row that may have gone out: its time is set anew whenever it is claimed or its outcome is in doubt.
    open_ = or_(col(Outbox.status).in_(("sending", "ambiguous")), and_(Outbox.status == "pending", col(Outbox.resent)))
    doubtful = and_(open_, Outbox.due_at >= envelope.received_at - ECHO_WINDOW)
    words = _words(envelope.text)
    return any(_words(body.get("text")) == words for body in session.exec(rows.where(or_(sent, doubtful))))


def _moments(envelope: Envelope) -> list[datetime]:
    """When it came, and when it was written unless Umnico's clock is far off."""
    moments = [envelope.received_at]
    if envelope.sent_at is not None and abs(envelope.sent_at - envelope.received_at) < timedelta(days=1):
        moments.append(envelope.sent_at)
    return moments


def _words(text: object) -> str:
    """``text`` but for white space, which messengers rearrange."""
    return " ".join(text.split()) if isinstance(text, str) else ""
