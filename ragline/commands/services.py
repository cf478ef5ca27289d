"""What a command needs: of a running stack where there is one, else started for the command and stopped after it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from pipeline.metering import embeddings_counted
from ragline.errors import RaglineError
from ragline.settings import Settings, get_settings
from ragline.stack import folder
from ragline.stack.parts import Part, chroma_part, redis_part, redis_url
from ragline.stack.ports import free_port
from storage.migrate import upgrade
from storage.session import get_database


class PartFailed(RaglineError):
    """A part that was started for a command does not answer."""


@contextmanager
def services(*needs: str) -> Iterator[Settings]:
    """Settings under which what is needed (``database``, ``redis``, ``chroma``) answers; embeddings are in its ledger.

    Raises :class:`RaglineError` with one line that says what is in the way.
    """
    settings = get_settings()
    data = folder.prepare(settings.data)
    running = folder.find_running(data)
    with ExitStack() as stack:
        if running:
            found = {
                "DATABASE_URL": running.database_url, "REDIS_URL": running.redis_url, "CHROMA_URL": running.chroma_url,
            }  # fmt: skip
        else:
            found = stack.enter_context(_own(settings, data, needs))
        for name, value in found.items():
            os.environ.setdefault(name, value)
        os.environ["RAGLINE_DATA"] = str(data)
        _forget()
        with embeddings_counted(get_settings(), get_database()):
            yield get_settings()
        get_database().close()
        _forget()


@contextmanager
def _own(settings: Settings, data: Path, needs: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Start what is needed under the folder's lock."""
    with ExitStack() as stack:
        embedded = [need for need in ("redis", "chroma") if need in needs and not getattr(settings, f"{need}_url")]
        if embedded or not settings.database_url:
            stack.enter_context(folder.locked(data))
            folder.end_orphans(data)
        (data / "run").mkdir(exist_ok=True)
        found: dict[str, str] = {}
        for need in embedded:
            port = free_port()
            if need == "chroma":
                found["CHROMA_URL"] = f"http://127.0.0.1:{port}"
                stack.enter_context(started(chroma_part(data, port), data, chroma_answers(found["CHROMA_URL"])))
            else:
                password = folder.read_secrets(data)["RAGLINE_REDIS_PASSWORD"]
                found["REDIS_URL"] = redis_url(password, port)
                stack.enter_context(started(redis_part(data, port, password), data, redis_answers(found["REDIS_URL"])))
        upgrade(settings.database)
        yield found


def chroma_answers(url: str) -> Callable[[], bool]:
    """A probe of a Chroma server."""

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/api/v2/heartbeat", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    return answers


def redis_answers(url: str) -> Callable[[], bool]:
    """A probe of a Redis server."""
    from redis import Redis
    from redis.exceptions import RedisError

    def answers() -> bool:
        try:
            with Redis.from_url(url, socket_connect_timeout=2, socket_timeout=2) as client:
                return bool(client.ping())
        except RedisError:
            return False

    return answers


@contextmanager
def started(part: Part, data: Path, answers: Callable[[], bool], timeout: float = 30) -> Iterator[None]:
    """Run a part until the block ends. Raises :class:`PartFailed` unless it answers in time."""
    logs = data / "logs"
    logs.mkdir(exist_ok=True)
    log = logs / f"{part.name}.log"
    environment = {**os.environ, folder.MARK: str(data), **part.environment}
    with log.open("ab") as out:
        process = subprocess.Popen(part.command, stdout=out, stderr=subprocess.STDOUT, env=environment)
    try:
        deadline = time.monotonic() + timeout
        while not answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise PartFailed(f"{part.name} does not start; its log is {log}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(part.grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _forget() -> None:
    get_settings.cache_clear()
    get_database.cache_clear()
