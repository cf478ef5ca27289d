"""What the tests of the channel share: its routes over a real acceptor on SQLite, and what they stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
from sqlmodel import SQLModel, col, select

from ingress.accept import Acceptor
from ingress.channels.base import Inlet
from ingress.channels.umnico import mount
from ingress.wakeups import Wakeups
from ingress.webhooks import Application, Webhooks
from ragline.clock import utcnow
from ragline.settings import load_settings
from storage.models import Conversation, Message, Outbox, Quarantine, Turn
from storage.session import Database, make_engine

PAYLOADS = Path(__file__).parent / "payloads"
SECRET = "a_secret-of_32_characters_in_all"
PATH = f"/umnico/default/{SECRET}/webhook"
BOT, PERSON = 502, 501
Answer = TypeVar("Answer")


@dataclass
class World:
    """One ingress that holds this channel alone, over a database of its own."""

    database: Database
    inlet: Inlet
    hints: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        webhooks = Webhooks(lambda *_: None)
        webhooks.add(mount(self.inlet).webhooks)
        app = Application(webhooks)
        self._runner = asyncio.Runner()
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ragline.test")

    def post(self, path: str = PATH, **request: Any) -> httpx.Response:
        return self._runner.run(self._http.post(path, **request))

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return self._runner.run(work)

    def messages(self) -> list[Message]:
        with self.database.read() as session:
            return list(session.exec(select(Message).order_by(col(Message.received_at), col(Message.id))))

    def quarantine(self) -> list[Quarantine]:
        with self.database.read() as session:
            return list(session.exec(select(Quarantine)))

    def conversation(self, message: Message) -> Conversation:
        with self.database.read() as session:
            return session.get_one(Conversation, message.conversation_id)

    def stored(self) -> tuple[int, int]:
        return len(self.messages()), len(self.quarantine())

    def wrote(self, message: Message, text: str, **fields: Any) -> Outbox:
        """A row of the outbox in the message's conversation, sent just now."""
        with self.database.write() as session:
            turn = Turn(conversation_id=message.conversation_id, status="answered")
            session.add(turn)
            session.flush()
            values = {"kind": "answer", "status": "sent", "sent_at": utcnow(), **fields}
            row = Outbox(turn_id=turn.id, conversation_id=message.conversation_id, body={"text": text}, **values)
            session.add(row)
        return row

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._http.aclose())
        self._runner.close()


@contextmanager
def world(folder: Path, **environ: str) -> Iterator[World]:
    """A database in ``folder``; keywords are environment names."""
    environ = {
        "UMNICO_API_TOKEN": "token-of-the-test",
        "UMNICO_API_BASE": "http://127.0.0.1:9",
        "UMNICO_WEBHOOK_SECRET": SECRET,
        "UMNICO_USER_ID": str(BOT),
        **environ,
    }
    found = load_settings({**environ, "RAGLINE_DATA": str(folder)})
    database = Database(make_engine(found.database))
    SQLModel.metadata.create_all(database.engine)
    hints: list[tuple[str, str, str]] = []

    def hint(news: Iterable[tuple[str, str, str]]) -> None:
        hints.extend(news)

    acceptor = Acceptor(database, hint)
    try:
        with World(database, Inlet(found, acceptor, database, Wakeups(None)), hints) as made:
            yield made
    finally:
        acceptor.close()
        database.close()


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def incoming(number: str, text: str = "hello", *, lead: int = 100, sa: int = 5, source: str = "555") -> dict[str, Any]:
    event = load("text") | {"leadId": lead}
    event["message"]["sa"]["id"] = event["message"]["source"]["saId"] = sa
    event["message"]["source"]["realId"] = source
    event["message"] |= {"messageId": number, "message": {"text": text, "attachments": []}}
    return event


def outgoing(number: str, text: str, user: int | None = PERSON, source: str = "555", **fields: Any) -> dict[str, Any]:
    event = load("outgoing_by_person")
    del event["message"]["userId"]
    event["message"]["source"]["realId"] = source
    event["message"] |= {"messageId": number, "message": {"text": text, "attachments": []}, **fields}
    event["message"] |= {} if user is None else {"userId": user}
    return event


def accepted(here: World, event: dict[str, Any]) -> None:
    response = here.post(content=json.dumps(event, default=datetime.isoformat).encode())
    assert (response.status_code, response.content) == (200, b"")
