"""``/healthz``: the process is alive. ``/readyz``: every part a reply needs is there, or which one is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import APIRouter
from fastapi.responses import JSONResponse
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ragline.settings import Settings
from storage.health import check
from storage.load import Level, load_level
from storage.session import Database, DatabaseUnavailable

QUEUES = ("cpu", "io", "control", "jobs")
#: Seconds each part has to answer.
DEADLINE = 2.0


class _Down(Exception):
    """Why a part does not serve."""


@dataclass(frozen=True)
class Part:
    """One part's state; ``ms`` is how long it took to answer."""

    up: bool
    reason: str | None = None
    ms: float | None = None


class _Probe:
    """Asks one part. A question still open is not asked again, so that a part that hangs costs one thread."""

    def __init__(self, ask: Callable[[], Awaitable[None]]) -> None:
        self._ask = ask
        self._open: asyncio.Future[None] | None = None

    async def result(self) -> Part:
        begun = time.perf_counter()
        if self._open is None or self._open.done():
            self._open = asyncio.ensure_future(self._ask())
            # A late answer nobody waits for any more is looked at here, or asyncio would complain.
            self._open.add_done_callback(lambda late: late.cancelled() or late.exception())
        done, _ = await asyncio.wait([self._open], timeout=DEADLINE)
        if not done:
            return Part(False, f"no answer within {DEADLINE:g} s")
        error = self._open.exception()
        if error is not None:
            return Part(False, str(error) if isinstance(error, _Down | DatabaseUnavailable) else type(error).__name__)
        return Part(True, ms=round((time.perf_counter() - begun) * 1000, 1))

    def close(self) -> None:
        if self._open is not None:
            self._open.cancel()


class Health:
    """The probes of the parts: database, redis, chroma, and a worker of each queue."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self.redis = (
            Redis.from_url(settings.redis_url, socket_timeout=DEADLINE, socket_connect_timeout=DEADLINE)
            if settings.redis_url
            else None
        )
        self._http = httpx.AsyncClient(timeout=DEADLINE, trust_env=False)
        #: Messages and turns that wait (counted up to the last step of degradation), and the step they ask for.
        self.load: tuple[int, Level] = (0, "normal")
        self._probes = {
            "database": _Probe(self._ask_database),
            "redis": _Probe(self._ask_redis),
            "chroma": _Probe(self._ask_chroma),
            **{f"workers.{queue}": _Probe(self._worker(queue)) for queue in QUEUES},
        }

    async def parts(self) -> dict[str, Part]:
        """All parts, asked at the same time."""
        results = await asyncio.gather(*(probe.result() for probe in self._probes.values()))
        return dict(zip(self._probes, results, strict=True))

    async def close(self) -> None:
        """Give up open questions and close connections."""
        for probe in self._probes.values():
            probe.close()
        await self._http.aclose()
        if self.redis:
            await self.redis.aclose()

    async def _ask_database(self) -> None:
        def ask() -> tuple[int, Level]:
            check(self._database)
            with self._database.read() as session:
                return load_level(session, self._settings.load)

        self.load = await asyncio.to_thread(ask)

    async def _ask_redis(self) -> None:
        if self.redis is None:
            raise _Down("no address; set REDIS_URL")
        try:
            await self.redis.get("ragline:ping")
        except (RedisError, OSError) as error:
            raise _Down(f"does not answer ({type(error).__name__}); check REDIS_URL and the server") from error

    async def _ask_chroma(self) -> None:
        if self._settings.knowledge.store != "chroma":
            return
        if not self._settings.chroma_url:
            raise _Down("no address; set CHROMA_URL")
        try:
            response = await self._http.get(f"{self._settings.chroma_url.rstrip('/')}/api/v2/heartbeat")
        except httpx.HTTPError as error:
            raise _Down(f"does not answer ({type(error).__name__}); check CHROMA_URL and the server") from error
        if response.status_code != 200:
            raise _Down(f"answers {response.status_code}; check that CHROMA_URL names a Chroma server")

    def _worker(self, queue: str) -> Callable[[], Awaitable[None]]:
        async def ask() -> None:
            if self.redis is None:
                raise _Down("unknown without redis")
            try:
                present = await self.redis.get(f"ragline:ready:{queue}")
            except (RedisError, OSError) as error:
                raise _Down("unknown without redis") from error
            if present is None:
                raise _Down(f"no worker serves the queue; start one (celery worker -Q {queue})")

        return ask


def routes(health: Health) -> APIRouter:
    """``/healthz`` and ``/readyz``."""
    router = APIRouter(tags=["operations"])

    @router.get("/healthz", response_model=None)
    async def healthz() -> dict[str, str]:
        """The process is alive. Says nothing of the parts."""
        return {"status": "alive"}

    @router.get("/readyz", response_model=None, responses={503: {"description": "A part is down."}})
    async def readyz() -> JSONResponse:
        """200 when every part answers. `accepting` alone decides whether messages are taken."""
        parts = await health.parts()
        down = [name for name, part in parts.items() if not part.up]
        report: dict[str, Any] = {
            "ready": not down,
            "accepting": parts["database"].up,
            "load": health.load[1],
            "down": down,
            "parts": {
                name: {"up": True, "ms": part.ms} if part.up else {"up": False, "reason": part.reason}
                for name, part in parts.items()
            },
        }
        return JSONResponse(report, 503 if down else 200, {"Cache-Control": "no-store"})

    return router
