"""The FastAPI application factory: the ways in, health and metrics, in one process."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from types import FrameType
from typing import Any

from fastapi import FastAPI

from ingress import docs, health, metrics, refusals
from ingress.accept import Acceptor
from ingress.api import admin
from ingress.background import Background
from ingress.channels.base import Inlet, Mounted
from ingress.headers import Frame
from ingress.hints import Hints
from ingress.wakeups import Wakeups
from ingress.webhooks import Application, Webhooks
from ragline import __version__
from ragline.channels import channel_specs
from ragline.logs import configure_logging, get_logger
from ragline.settings import Settings, get_settings
from storage.session import Database, get_database, make_engine

#: Mounted without an account too: its paths are documented, and say 401 rather than 404.
_ALWAYS = frozenset({"api"})
log = get_logger(__name__)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application. ``settings`` None: those of this process.

    Everything that runs (threads, connections, pollers) starts with the application's lifespan and ends with
    it. Nothing has to be up for it to start: a part that is missing shows in ``/readyz``.
    """
    own = settings is None
    settings = settings or get_settings()
    configure_logging(settings.log.level, settings.log.format)
    database = get_database() if own else Database(make_engine(settings.database))
    parts_health = health.Health(settings, database)
    counted = metrics.Metrics(database, parts_health, settings.budget)
    webhooks = Webhooks(counted.request)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        hints = Hints(settings)
        acceptor = Acceptor(database, hints, observe=counted.accepted)
        wakeups = Wakeups(settings.redis_url)
        background = Background()
        app.state.wakeups = wakeups
        try:
            background.start("wakeups", wakeups.run)
            for name, mounted in _mount(Inlet(settings, acceptor, database, wakeups)).items():
                app.include_router(mounted.router)
                webhooks.add(mounted.webhooks)
                for run in mounted.background:
                    background.start(name, run)
            with _first_to_hear(wakeups):
                yield
        finally:
            # In this order: nothing new comes in, what is in is committed, then its hints go out.
            wakeups.stop()
            await background.close()
            await asyncio.to_thread(acceptor.close)
            await asyncio.to_thread(hints.close)
            await counted.close()
            await parts_health.close()
            await asyncio.to_thread(database.close)
            log.info("ingress_stopped")

    app = Application(
        webhooks,
        title="Ragline",
        version=__version__,
        description="One answering engine for every channel your customers write to.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Frame, count=counted.request)
    refusals.install(app)
    docs.install(app)
    app.include_router(health.routes(parts_health))
    app.include_router(metrics.routes(counted))
    app.include_router(admin.routes(settings.admin_password, database))
    return app


def _mount(inlet: Inlet) -> dict[str, Mounted]:
    """Every channel that has an account. The others load no module and answer 404."""
    mounted: dict[str, Mounted] = {}
    for name, spec in channel_specs().items():
        accounts = inlet.settings.channels.get(name, {})
        if accounts or name in _ALWAYS:
            mounted[name] = import_module(spec.inlet).mount(inlet)
            log.info("channel_mounted", channel=name, accounts=sorted(accounts))
    return mounted


@contextlib.contextmanager
def _first_to_hear(wakeups: Wakeups) -> Iterator[None]:
    """End open streams at the signal itself.

    The server waits for open connections before it tells the application to shut down, so a stream that waited
    for that would hold the process up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before: dict[int, Any] = {}

    def hear(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(wakeups.stop)
        if callable(before[number]):
            before[number](number, frame)

    for ending in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(ending)
        if callable(handler):  # a server's own; without one the process just ends
            before[ending] = handler
            signal.signal(ending, hear)
    try:
        yield
    finally:
        for ended, handler in before.items():
            if signal.getsignal(ended) is hear:
                signal.signal(ended, handler)
