"""Accepted webhooks a second, beside a bare FastAPI route with one committed insert and one LPUSH a request.

    python -m bench.ingress [--requests 4000] [--connections 64] [--runs 5]

Both on one uvicorn process, SQLite with ``synchronous=FULL``, the same Redis, and in turns. The body is a Telegram
update; each is a message of its own. The client writes prepared requests over kept connections and reads the status.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from ragline.stack.parts import redis_part
from ragline.stack.ports import free_port
from tests.acceptance.stack import ROOT, clean_environment

SECRET = secrets.token_urlsafe(24)
PATH = "/telegram/default/webhook"
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
        stack.enter_context(process(serve, environment, folder / "ours.log"))
        uvicorn = [sys.executable, "-m", "uvicorn", "bare:app", "--port", str(bare), "--log-level", "warning"]
        stack.enter_context(process([*uvicorn, "--app-dir", str(folder)], environment, folder / "bare.log"))
        for port in (ours, bare):
            wait(f"http://127.0.0.1:{port}/healthz")
        measure(ours, bare, options)


def measure(ours: int, bare: int, options: argparse.Namespace) -> None:
    rounds = []
    for number in range(options.runs + 1):
        found = [load(port, options.requests, options.connections) for port in (ours, bare)]
        if number:  # the first round warms up
            rounds.append(found)
            (rate, times), (bare_rate, bare_times) = found
            print(
                f"run {number}: {rate:.0f} accepted a second (p50 {p(times, 50):.0f} ms, p99 {p(times, 99):.0f} ms), "
                f"bare route {bare_rate:.0f} (p99 {p(bare_times, 99):.0f} ms); ratio {rate / bare_rate:.2f}",
                flush=True,
            )
    print(f"median ratio {statistics.median(a[0] / b[0] for a, b in rounds):.2f}")


def p(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100)[percent - 1] * 1000


def load(port: int, requests: int, connections: int) -> tuple[float, list[float]]:
    """Requests a second, and the seconds each took."""
    return asyncio.run(_load(port, requests, connections))


async def _load(port: int, requests: int, connections: int) -> tuple[float, list[float]]:
    prepared = [_request(random.getrandbits(50)) for _ in range(requests)]
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
def process(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        started = subprocess.Popen(
            command, cwd=ROOT, env=environment or os.environ.copy(), stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        started.terminate()
        started.wait(20)


if __name__ == "__main__":
    main()
