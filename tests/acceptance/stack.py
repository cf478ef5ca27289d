"""A whole Ragline in real processes, driven as its users drive it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from dotenv import dotenv_values
from sqlalchemy import func
from sqlmodel import Session, create_engine, select

from storage.models import Message, Turn

ROOT = Path(__file__).parents[2]
#: Nothing of the developer's own configuration reaches a test.
_PROVIDERS = ("OPENAI", "AZURE", "GEMINI", "ANTHROPIC", "OLLAMA")
_OURS = ("RAGLINE", "TELEGRAM", "UMNICO", "DATABASE_URL", "REDIS_URL", "CHROMA_URL", "PORT", "FLOWER_PORT", *_PROVIDERS)


def clean_environment(**own: str) -> dict[str, str]:
    """The environment without Ragline's variables, and with ``own``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**kept, "RAGLINE_CONFIG": os.devnull, **own}


@dataclass
class Stack:
    """A running ``ragline up``."""

    process: subprocess.Popen[bytes]
    data: Path
    environment: dict[str, str]
    log: Path
    ready_after: float

    @property
    def about(self) -> dict[str, Any]:
        """``stack.json``."""
        found: dict[str, Any] = json.loads((self.data / "stack.json").read_text())
        return found

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.about['port']}"

    def secret(self, name: str) -> str:
        """One of the generated passwords."""
        return dotenv_values(self.data / "secrets.env")[name] or ""

    @property
    def api_key(self) -> str:
        return self.secret("RAGLINE_API_KEY")

    def api(self, timeout: float = 30) -> httpx.Client:
        """A client of the generic channel."""
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.api_key}"}, timeout=timeout, trust_env=False
        )

    def ragline(self, *arguments: str, check: bool = True) -> Any:
        """The JSON that a command prints."""
        done = subprocess.run(
            [sys.executable, "-m", "ragline.cli", *arguments, "--json"],
            cwd=ROOT, env={**self.environment, "RAGLINE_DATA": str(self.data)}, capture_output=True, timeout=180,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    def sql(self) -> Session:
        """A session on the stack's database."""
        return Session(create_engine(self.about["database_url"]))

    def turn_of(self, message_id: str) -> str:
        """The id of the turn that answers a message."""
        with self.sql() as session:
            return session.exec(select(Message.turn_id).where(Message.id == message_id)).one() or ""

    def processes(self) -> list[tuple[int, str]]:
        """Everything this stack started and that still runs: (pid, command line)."""
        mine = b"RAGLINE_STACK=" + str(self.data.resolve()).encode()
        found = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                environment = (folder / "environ").read_bytes()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if mine in environment.split(b"\0"):
                found.append((int(folder.name), command))
        return found

    def wait_quiet(self, timeout: float = 20) -> None:
        """Until no turn is active: the last answer is seen a moment before its commit."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            with self.sql() as session:
                if not session.exec(select(func.count()).select_from(Turn).where(Turn.status == "processing")).one():
                    return
            time.sleep(0.1)
        raise AssertionError("turns are still active")

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self) -> int:
        """SIGTERM, as a service manager would; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@contextmanager
def running(data: Path, *, cwd: Path = ROOT, **environment: str) -> Iterator[Stack]:
    """``ragline up`` on free ports, ready; stopped at the end."""
    data.mkdir(parents=True, exist_ok=True)
    log = data.parent / f"{data.name}.log"
    env = clean_environment(**{"PORT": "0", "FLOWER_PORT": "0", **environment})
    began = time.monotonic()
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "ragline.cli", "up", "--data", str(data)],
            cwd=cwd, env=env, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    stack = Stack(process, data, env, log, 0.0)
    try:
        _wait_ready(stack)
        stack.ready_after = time.monotonic() - began
        yield stack
    finally:
        stack.stop()


def _wait_ready(stack: Stack, timeout: float = 90) -> None:
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if stack.process.poll() is not None:
            raise AssertionError(f"ragline up ended with {stack.process.returncode}:\n{stack.output()[-4000:]}")
        try:
            # a stack that was killed leaves its file, and perhaps an ingress that still answers
            ours = stack.about["pid"] == stack.process.pid
            if ours and httpx.get(f"{stack.url}/readyz", timeout=5, trust_env=False).status_code == 200:
                return
        except (OSError, ValueError, httpx.HTTPError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"not ready after {timeout} s:\n{stack.output()[-4000:]}")
