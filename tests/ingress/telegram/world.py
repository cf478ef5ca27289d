"""What the tests of the channel share: a real acceptor on SQLite, and what it stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlmodel import SQLModel, select

from ingress.accept import Acceptor
from ingress.channels.base import Inlet
from ingress.wakeups import Wakeups
from ragline.settings import Settings, load_settings
from storage.models import Message, Quarantine
from storage.session import Database, make_engine

SECRET = "s3cret_of-the-webhook"
TOKEN = "123456:TEST"


@dataclass
class World:
    """One ingress without its HTTP application."""

    settings: Settings
    database: Database
    inlet: Inlet
    hints: list[tuple[str, str, str]] = field(default_factory=list)

    def messages(self) -> list[Message]:
        with self.database.read() as session:
            return list(session.exec(select(Message).order_by(Message.received_at, Message.id)))  # type: ignore[arg-type]

    def quarantine(self) -> list[Quarantine]:
        with self.database.read() as session:
            return list(session.exec(select(Quarantine)))


@contextmanager
def world(folder: Path, **environ: str) -> Iterator[World]:
    """A database in ``folder``; keywords are environment names."""
    environ = {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_WEBHOOK_SECRET": SECRET,
        "TELEGRAM_API_BASE": "http://127.0.0.1:9",
        **environ,
    }
    settings = load_settings({**environ, "RAGLINE_DATA": str(folder)})
    database = Database(make_engine(settings.database))
    SQLModel.metadata.create_all(database.engine)
    hints: list[tuple[str, str, str]] = []

    def hint(news: Iterable[tuple[str, str, str]]) -> None:
        hints.extend(news)

    acceptor = Acceptor(database, hint)
    try:
        inlet = Inlet(settings, acceptor, database, Wakeups("redis://127.0.0.1:9"))
        yield World(settings, database, inlet, hints)
    finally:
        acceptor.close()
        database.close()
