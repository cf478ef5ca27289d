"""The way out to Umnico, over httpx. Text is plain: Umnico passes it on to messengers of every kind."""

from __future__ import annotations

import uuid
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import IO, Any
from urllib.parse import quote

from pipeline.envelope import MediaRef, parse_time
from pipeline.errors import AmbiguousSend, FloodWait, NotSent, SendRefused, Undeliverable
from pipeline.senders import plain_text
from pipeline.senders.base import Downloads, Outgoing
from pipeline.senders.umnico_api import Answer, ConnectionLost, NeverConnected, UmnicoApi, Unmakeable
from ragline.channels import UmnicoAccount
from ragline.errors import PermanentError, RaglineError, TransientError
from ragline.redaction import mask
from ragline.settings import Settings

#: Longest message, in UTF-16 code units: Instagram's, and that of the other messengers.
SHORT, LONG = 1000, 4096
#: Seconds to wait after a 429 that names no time.
UNNAMED_WAIT = 5.0
#: Pages of a dialogue read back in search of a message, 20 messages or so each.
HISTORY_PAGES = 5
#: How far Umnico's clock may be behind.
SKEW = timedelta(seconds=2)


@dataclass(frozen=True)
class _Target:
    lead: str
    source: str | None
    sa: int | str | None
    source_type: str | None

    @property
    def path(self) -> str:
        return f"/messaging/{quote(self.lead, safe='')}"


class UmnicoSender:
    """Sends to the customers of one Umnico account, in the name of its bot employee."""

    pull = False
    #: Its messengers differ, and its API has no buttons that all of them show.
    button_width = 0

    def __init__(self, name: str, account: UmnicoAccount, settings: Settings) -> None:
        self.name = name
        self._account = account
        self._api = UmnicoApi(account)
        self._downloads = Downloads(settings)

    def warm_up(self) -> None:
        """There is nothing to load."""

    def split(self, text: str, address: dict[str, Any]) -> list[dict[str, Any]]:
        """``{"text"}`` for each message, Markdown as plain text.

        One account reaches messengers of every kind. Where ``address`` tells that it is none of Instagram's,
        a message may have 4096 characters; otherwise 1000, which every messenger takes.
        """
        messenger = address.get("type")
        known = isinstance(messenger, str) and messenger and not messenger.lower().startswith("instagram")
        return [{"text": part} for part in plain_text.split(text, LONG if known else SHORT)]

    def send(self, outgoing: Outgoing) -> str | None:
        """See :class:`pipeline.senders.base.Sender`. A 404 is tried once more at the lead's present source."""
        target = _target(outgoing)
        answer = None if target.source is None else self._post(target, outgoing)
        if answer is None or answer.status == 404:
            source = self._present_source(target)
            if source is None or source == target.source:
                raise Undeliverable("Umnico knows no such lead, or no source of it to write to")
            answer = self._post(replace(target, source=source), outgoing)
        if not answer.ok:
            raise self._refusal(answer, outgoing.body["text"])
        if answer.page:
            raise AmbiguousSend(f"a {answer.status} that is no answer of Umnico's API; check UMNICO_API_BASE")
        return _message_id(answer.body)

    def already_sent(self, outgoing: Outgoing) -> bool | None:
        """Whether the customer has this part, by the history of the dialogue: a message with the row's id, or
        with its words, ours, and newer than the row. None where that cannot be told. Never raises.

        For use before an ambiguous send is repeated, some seconds later: the history may lag behind.
        """
        try:
            target = _target(outgoing)
            if target.source is None:
                return None
            path, since = f"{target.path}/history/{quote(target.source, safe='')}", _made_at(outgoing.key)
            cursor: Any = None
            for _ in range(HISTORY_PAGES):
                answer = self._api.call("POST", path, {} if cursor is None else {"cursor": cursor})
                page = _record(answer.body) if answer.ok else {}
                page = page if "messages" in page else _record(page.get("data"))
                messages, cursor = page.get("messages"), page.get("cursor")
                if not isinstance(messages, list):
                    return None
                found = [message for message in messages if isinstance(message, dict)]
                if any(self._is(message, outgoing, since) for message in found):
                    return True
                if not cursor or (since is not None and any(_older(message, since) for message in found)):
                    return False
        except (RaglineError, NeverConnected, ConnectionLost, Unmakeable):
            return None
        return None

    def acknowledge(self, press: str, note: str = "") -> None:
        """There are no buttons."""

    def working(self, address: dict[str, Any]) -> AbstractContextManager[None]:
        """Umnico shows nobody typing."""
        return nullcontext()

    def download(self, media: MediaRef, into: IO[bytes]) -> None:
        """The messengers' files stand at addresses of their own."""
        self._downloads.fetch(media.url, into)

    def close(self) -> None:
        """Close the connections; the next send opens new ones."""
        self._api.close()

    def _post(self, target: _Target, outgoing: Outgoing) -> Answer:
        request: dict[str, Any] = {
            "message": {"text": outgoing.body["text"]},
            "source": target.source,
            "userId": self._account.user_id,
            "customId": outgoing.key,
        }
        if target.sa is not None:
            request["saId"] = target.sa
        if target.source_type == "comment" and outgoing.part == 0 and outgoing.reply_to:
            request["replyId"] = outgoing.reply_to  # among comments the answer shows whom it is for
        try:
            return self._api.call("POST", f"{target.path}/send", request)
        except NeverConnected as error:
            raise NotSent(f"no connection to Umnico ({error})") from None
        except ConnectionLost as error:
            raise AmbiguousSend(f"the connection broke after the message was written ({error})") from None
        except Unmakeable as error:
            raise SendRefused(f"no request can be made ({error}); check UMNICO_API_BASE and the token") from None

    def _present_source(self, target: _Target) -> str | None:
        """The lead's source at the same connected messenger, and of the same kind: an answer to a private
        message is never put under a public post. None if there is none."""
        try:
            answer = self._api.call("GET", f"{target.path}/sources")
        except (NeverConnected, ConnectionLost) as error:
            raise NotSent(f"Umnico does not tell the lead's sources ({error})") from None
        except Unmakeable as error:
            raise SendRefused(f"no request can be made ({error}); check UMNICO_API_BASE and the token") from None
        if answer.status == 404:
            return None
        if not answer.ok:
            raise self._refusal(answer, "")
        kind = target.source_type or "message"
        # A source without a realId is named by its id (https://api.umnico.com/docs/ru/apiMethods/messages.html).
        found = [
            source
            for entry in _entries(answer.body, "sources")
            if str(entry.get("saId")) == str(target.sa) and str(entry.get("type") or kind) == kind
            if (source := _text(entry.get("realId")) or _text(entry.get("id"))) is not None
        ]
        return next((source for source in found if source != target.source), found[0] if found else None)

    def _refusal(self, answer: Answer, words: str) -> RaglineError:
        """The answer as one of our errors. Unknown 4xx are permanent: the same message fails the same way."""
        reason = answer.said if not words or words[:20] not in answer.said else ""
        said = f"Umnico: {answer.status} {reason}".rstrip()
        if answer.status == 429:
            return FloodWait(said, answer.retry_after or UNNAMED_WAIT, "account")
        if answer.status >= 500 or answer.status in (408, 425):
            return NotSent(said, answer.retry_after)
        if answer.status in (401, 403):
            return SendRefused(f"{said}; check UMNICO_API_TOKEN (channels.umnico.{self.name}.token)")
        if answer.status == 404:
            return Undeliverable(f"{said}; the lead or its source is gone")
        if answer.status < 400:
            return SendRefused(f"{said}; Umnico's API answers elsewhere, check UMNICO_API_BASE")
        return SendRefused(f"{said}; if it is about userId, check UMNICO_USER_ID")

    def _is(self, message: dict[str, Any], outgoing: Outgoing, since: datetime | None) -> bool:
        custom, author = _text(message.get("customId")), _text(message.get("userId"))
        if custom is not None:
            return custom == outgoing.key
        when = parse_time(message.get("datetime"))
        if message.get("incoming") is not False or since is None or when is None or when < since:
            return False
        ours = author in (None, str(self._account.user_id))
        return ours and _words(_record(message.get("message")).get("text")) == _words(outgoing.body.get("text"))


def register_webhook(account: UmnicoAccount, url: str) -> str:
    """See that Umnico posts its events to ``url``: make the webhook, or switch it on again.

    Returns a line on what was done, without the address, which holds the secret. Raises
    :class:`~ragline.errors.TransientError` or :class:`~ragline.errors.PermanentError`.
    """
    api = UmnicoApi(account)
    try:
        hooks = _entries(_asked(api, url, "GET", "/webhooks/"), "webhooks")
        mine = [hook for hook in hooks if str(hook.get("url")).rstrip("/") == url.rstrip("/")]
        if any(_on(hook) for hook in mine):
            done = "the webhook is there and on"
        elif mine:
            _asked(api, url, "PUT", f"/webhooks/{quote(str(mine[0].get('id')), safe='')}", {"status": 1})
            done = "the webhook was off and is on again"
        else:
            _asked(api, url, "POST", "/webhooks/", {"url": url, "name": "Ragline"})
            done = "the webhook is made"
    finally:
        api.close()
    place = url.rsplit("/", 2)[0] + "/"
    old = sum(str(hook.get("url")).startswith(place) for hook in hooks if hook not in mine)
    return done + (f"; {old} with an old secret can be removed in Umnico" if old else "")


def _asked(api: UmnicoApi, url: str, method: Any, path: str, body: dict[str, Any] | None = None) -> Any:
    try:
        answer = api.call(method, path, body)
    except (NeverConnected, ConnectionLost) as error:
        raise TransientError(f"Umnico does not answer ({error}); check UMNICO_API_BASE and try again") from None
    except Unmakeable as error:
        raise PermanentError(f"no request can be made ({error}); check UMNICO_API_BASE and the token") from None
    if answer.ok and not answer.page:
        return answer.body
    said = mask(f"Umnico: {answer.status} {answer.said}".rstrip().replace(url, "***"))
    if answer.status in (401, 403):
        raise PermanentError(f"{said}; check UMNICO_API_TOKEN")
    if answer.status == 429 or answer.status >= 500:
        raise TransientError(f"{said}; try again later", answer.retry_after)
    raise PermanentError(f"{said}; check UMNICO_API_BASE, and that the account has fewer than ten webhooks")


def _on(hook: dict[str, Any]) -> bool:
    return hook.get("status") in (1, "1", "active")


# Fields


def _target(outgoing: Outgoing) -> _Target:
    address = outgoing.address
    lead, text = _text(address.get("lead")), outgoing.body.get("text")
    if lead is None or not isinstance(text, str) or not text.strip():
        raise SendRefused("this reply has no Umnico lead or no text; the conversation's address is incomplete")
    sa, source_type = address.get("sa"), address.get("source_type")
    return _Target(
        lead=lead,
        source=_text(address.get("source")),
        sa=sa if isinstance(sa, int | str) else None,
        source_type=source_type if isinstance(source_type, str) and source_type else None,
    )


def _message_id(body: Any) -> str | None:
    """Of the message that was sent, where the answer tells it; its form is not documented."""
    outer = _record(body)
    for holder in (outer, _record(outer.get("message")), _record(outer.get("data"))):
        found = _text(holder.get("messageId")) or _text(holder.get("id"))
        if found is not None and len(found) <= 200:
            return found
    return None


def _entries(body: Any, name: str) -> list[dict[str, Any]]:
    """A list that comes as it is, or under ``data``, or under its ``name``."""
    holder = _record(body)
    found = body if isinstance(body, list) else holder.get("data", holder.get(name))
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _record(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value).strip() or None


def _words(text: Any) -> str:
    """``text`` but for white space, which messengers rearrange."""
    return " ".join(text.split()) if isinstance(text, str) else ""


def _older(message: dict[str, Any], since: datetime) -> bool:
    when = parse_time(message.get("datetime"))
    return when is not None and when < since


def _made_at(key: str) -> datetime | None:
    """When an outbox row was made, a little early: its id is a UUIDv7, whose first 48 bits are milliseconds."""
    try:
        found = uuid.UUID(key)
        return datetime.fromtimestamp((found.int >> 80) / 1000, UTC) - SKEW if found.version == 7 else None
    except (ValueError, OverflowError, OSError):
        return None
