"""Accepted webhooks a second, beside a bare FastAPI route with one committed insert and one LPUSH a request.

    python -m bench.ingress [--requests 4000] [--connections 64] [--runs 5]

Both on one uvicorn process, SQLite with ``synchronous=FULL``, the same Redis, and in turns. The body is a Telegram
update; each is a message of its own. The client writes prepared requests over kept connections and reads the status.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from ragline.stack.parts import redis_part
from ragline.stack.ports import free_port
from tests.acceptance.stack import ROOT, clean_environment

SECRET = secrets.token_urlsafe(24)
PATH = "/telegram/default/webhook"
#: Telegram numbers a bot's updates one after another (https://core.telegram.org/bots/api#update).
NUMBERS = itertools.count(700_000_000)
BARE = """
import os, sqlite3, threading
from fastapi import FastAPI, Request
from redis import Redis

app = FastAPI()
redis = Redis.from_url(os.environ["REDIS_URL"])
local = threading.local()
lock = threading.Lock()


def database():
    if not hasattr(local, "connection"):
        local.connection = sqlite3.connect(os.environ["BARE_DATABASE"], timeout=30, isolation_level=None)
        local.connection.execute("PRAGMA journal_mode=WAL")
        local.connection.execute("PRAGMA synchronous=FULL")
        table = "m (id INTEGER PRIMARY KEY, update_id INTEGER UNIQUE, body TEXT)"
        local.connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")
    return local.connection


@app.post("/telegram/default/webhook")
async def webhook(request: Request):
    body = await request.json()
    connection = database()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO m (update_id, body) VALUES (?, ?)", (body["update_id"], str(body)))
    connection.execute("COMMIT")
    redis.lpush("bare", body["update_id"])
    return {}


@app.get("/healthz")
async def healthz():
    return {}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        (folder / "run").mkdir()
        (folder / "bare.py").write_text(BARE)
        redis_port = free_port()
        part = redis_part(folder, redis_port, "bench")
        stack.enter_context(process(list(part.command), {}, folder / "redis.log"))
        environment = clean_environment(
            REDIS_URL=f"redis://:bench@127.0.0.1:{redis_port}/0", DATABASE_URL=f"sqlite:///{folder}/ours.sqlite3",
            RAGLINE_DATA=str(folder), BARE_DATABASE=str(folder / "bare.sqlite3"), TELEGRAM_BOT_TOKEN="1:a",
            TELEGRAM_MODE="webhook", TELEGRAM_WEBHOOK_SECRET=SECRET, RAGLINE__LOG__LEVEL="WARNING",
        )  # fmt: skip
        subprocess.run([sys.executable, "-m", "ragline.cli", "db", "upgrade"], cwd=ROOT, env=environment, check=True)
        ours, bare = free_port(), free_port()
        serve = [sys.executable, "-m", "ingress.serve", "--host", "127.0.0.1", "--port", str(ours)]
        servers = [stack.enter_context(process(serve, environment, folder / "ours.log"))]
        uvicorn = [sys.executable, "-m", "uvicorn", "bare:app", "--port", str(bare), "--log-level", "warning"]
        servers.append(
            stack.enter_context(process([*uvicorn, "--app-dir", str(folder)], environment, folder / "bare.log"))
        )
        for port in (ours, bare):
            wait(f"http://127.0.0.1:{port}/healthz")
        measure(list(zip((ours, bare), servers, strict=True)), options)


@dataclass
class Load:
    """``rate`` in requests a second, ``p50`` and ``p99`` in ms, ``cpu`` of the server in ms a request."""

    rate: float
    p50: float
    p99: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.rate:.0f} a second (p50 {self.p50:.0f} ms, p99 {self.p99:.0f} ms, CPU {self.cpu:.2f} ms each)"


def measure(servers: list[tuple[int, int]], options: argparse.Namespace) -> None:
    """``servers``: port and process id of ours and of the bare one."""
    rounds = []
    for number in range(options.runs + 1):
        ours, bare = (load(port, process, options.requests, options.connections) for port, process in servers)
        if number:  # the first round warms up
            rounds.append(ours.rate / bare.rate)
            print(f"run {number}: {ours}, bare route {bare}; ratio {rounds[-1]:.2f}", flush=True)
    print(f"median ratio {statistics.median(rounds):.2f}")


def load(port: int, process: int, requests: int, connections: int) -> Load:
    server = psutil.Process(process)
    used = sum(server.cpu_times()[:2])
    rate, times = asyncio.run(_load(port, requests, connections))
    percent = [seconds * 1000 for seconds in statistics.quantiles(times, n=100)]
    return Load(rate, percent[49], percent[98], (sum(server.cpu_times()[:2]) - used) * 1000 / requests)


async def _load(port: int, requests: int, connections: int) -> tuple[float, list[float]]:
    """Requests a second, and the seconds each took."""
    prepared = [_request(next(NUMBERS)) for _ in range(requests)][::-1]  # taken from its end
    times: list[float] = []

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while prepared:
            request = prepared.pop()
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            times.append(time.perf_counter() - began)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(connections)))
    return requests / (time.perf_counter() - began), times


def _request(update_id: int) -> bytes:
    chat = {"id": 1000 + update_id % 200, "type": "private", "first_name": "Anna"}
    message = {"message_id": update_id % 2**31, "date": 1_700_000_000, "chat": chat, "from": {**chat, "is_bot": False}}
    body = json.dumps({"update_id": update_id, "message": {**message, "text": "How long does delivery take?"}}).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"X-Telegram-Bot-Api-Secret-Token: {SECRET}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def wait(url: str, timeout: float = 30) -> None:
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise TimeoutError(url)


@contextmanager
def process(command: list[str], environment: dict[str, str], log: Path) -> Iterator[int]:
    """A process for the length of the block; its id."""
    with log.open("wb") as out:
        started = subprocess.Popen(
            command, cwd=ROOT, env=environment or os.environ.copy(), stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield started.pid
    finally:
        started.terminate()
        started.wait(20)


if __name__ == "__main__":
    main()
