"""The application for tests: in-process for plain requests, on a socket for streams."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from redis import Redis

from ingress.app import create_app
from ragline.clock import utcnow
from ragline.settings import Settings, load_settings
from storage.models import Conversation, Message, Outbox, StepRun, Turn
from storage.rows import TurnRow
from storage.session import Database
from workers.live import Live, LiveDraft

KEY = "test-key-of-the-api"


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """A client of a Redis emptied for this test; the server is one for the whole run."""
    client = Redis.from_url(redis_url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def make_settings(database_url: str, redis_url: str, redis: Redis) -> Callable[..., Settings]:
    """Settings of a stack whose database and Redis are real; keywords are environment names."""

    def make(**environ: str) -> Settings:
        found = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "RAGLINE_API_KEY": KEY, **environ}
        return load_settings({name: value for name, value in found.items() if value})

    return make


@pytest.fixture
def opened() -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[httpx.AsyncClient]]:
    """``async with opened(app) as client``: the application running in this loop, without a socket."""

    @contextlib.asynccontextmanager
    async def enter(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app, client=("203.0.113.7", 4711))
            headers = {"Authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(
                transport=transport, base_url="http://ragline.test", headers=headers
            ) as client:
                yield client

    return enter


class Workers:
    """Plays the workers: writes what they would write, and says so over Redis as they do."""

    def __init__(self, database: Database, redis_url: str) -> None:
        self.database = database
        self._redis = Redis.from_url(redis_url)
        self._live = Live(lambda: self._redis, "ragline:news", timedelta(milliseconds=10))

    def close(self) -> None:
        self._live.close()
        self._redis.close()

    def wake(self, conversation_id: str) -> None:
        self._redis.publish("ragline:news", conversation_id)

    def take(self, message_id: str, step: str | None = "classify") -> Turn:
        """Open a turn for the message."""
        with self.database.write() as session:
            message = session.get_one(Message, message_id)
            turn = Turn(conversation_id=message.conversation_id, step=step)
            session.add(turn)
            session.flush()
            message.turn_id = turn.id
            session.add(message)
        self.wake(turn.conversation_id)
        return turn

    def writes(self, turn: Turn, *, attempt: int = 1) -> LiveDraft:
        """The text of a model's answer to a turn, which grows by ``write``."""
        self.wake(turn.conversation_id)
        return self._live.begin(TurnRow(turn.id, turn.conversation_id, "processing", "generate", 1, 0, 0), attempt, 1)

    def run(self, turn: Turn, step: str, outcome: str = "ok", **fields: Any) -> None:
        """A row of the ledger."""
        with self.database.write() as session:
            session.add(StepRun(turn_id=turn.id, step=step, attempt=1, outcome=outcome, ms=1.0, **fields))

    def send(
        self, turn: Turn, text: str, *, kind: str = "answer", part: int = 0, status: str = "sent", **body: Any
    ) -> int:
        """A row of the outbox, numbered as a sent one is; returns the number."""
        with self.database.write() as session:
            conversation = session.get_one(Conversation, turn.conversation_id)
            conversation.last_seq += 1
            session.add(conversation)
            session.add(
                Outbox(
                    turn_id=turn.id,
                    conversation_id=turn.conversation_id,
                    kind=kind,
                    part=part,
                    body={"text": text, **body},
                    status=status,
                    seq=conversation.last_seq if status == "sent" else None,
                    sent_at=utcnow() if status == "sent" else None,
                )
            )
        self.wake(turn.conversation_id)
        return conversation.last_seq

    def close_turn(self, turn: Turn, status: str = "answered", **fields: Any) -> None:
        """End the turn."""
        with self.database.write() as session:
            found = session.get_one(Turn, turn.id)
            for name, value in {"status": status, "closed_at": utcnow(), "step": None, **fields}.items():
                setattr(found, name, value)
            session.add(found)
        self.wake(turn.conversation_id)

    def answer(self, message_id: str, text: str, *, mode: str = "direct", **body: Any) -> Turn:
        """The whole way of a message."""
        turn = self.take(message_id)
        result = {"text": text, "mode": mode, "confidence": 0.93, "citations": [{"id": "k1", "title": "Delivery"}]}
        self.run(turn, "classify")
        self.run(turn, "generate", result=result, tokens_in=120, tokens_out=30, cost=Decimal("0.00183"))
        self.send(turn, text, **body)
        self.close_turn(turn)
        return turn


@pytest.fixture
def workers(database: Database, redis_url: str) -> Iterator[Workers]:
    """Stands for the worker processes."""
    played = Workers(database, redis_url)
    yield played
    played.close()


class Served:
    """The application on a socket of loopback, in a thread of its own."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=20)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    def _run(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            await self._server.serve([self._listener])

        with asyncio.Runner() as runner:
            runner.run(serve())

    def start(self) -> Served:
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            threading.Event().wait(0.01)
        assert self._server.started
        return self

    def stop(self) -> None:
        """What a signal does in a process: tell the streams, then the server."""
        if self._thread.is_alive() and self._loop:
            self._loop.call_soon_threadsafe(self.app.state.wakeups.stop)
        self._server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture
def served(make_settings: Callable[..., Settings]) -> Iterator[Callable[..., Served]]:
    """``served(**environ)`` starts an application on a socket; it is stopped after the test."""
    running: list[Served] = []

    def start(settings: Settings | None = None, **environ: Any) -> Served:
        running.append(Served(create_app(settings or make_settings(**environ))).start())
        return running[-1]

    yield start
    for server in running:
        server.stop()
