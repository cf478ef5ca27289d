"""The data folder: who owns it, what is kept in it, and what an earlier owner left running."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path

import psutil
from dotenv import dotenv_values

from ragline.errors import RaglineError

#: Names of the secrets made for a folder that has none.
GENERATED = ("RAGLINE_API_KEY", "RAGLINE_ADMIN_PASSWORD", "RAGLINE_FLOWER_PASSWORD", "RAGLINE_REDIS_PASSWORD")
#: Set for every child to the folder it serves, so that orphans can be told from other people's processes.
MARK = "RAGLINE_STACK"


class FolderUnusable(RaglineError):
    """The data folder cannot be used; the text says why and what to do."""


@dataclass(frozen=True)
class StackFile:
    """``stack.json``: where a running stack is found."""

    pid: int
    port: int
    redis_url: str
    database_url: str
    chroma_url: str
    flower_port: int


def prepare(data: Path) -> Path:
    """The folder, made when missing, as an absolute path. Raises :class:`FolderUnusable`."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds what customers wrote
        probe = data / f".write-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise FolderUnusable(
            f"the data folder {data} cannot be written ({error.strerror}); choose another with --data or RAGLINE_DATA"
        ) from error
    return data.resolve()


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Own the folder: one stack or command at a time. Raises :class:`FolderUnusable` naming the owner."""
    path = data / "stack.lock"
    with path.open("a+") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            raise FolderUnusable(
                f"the data folder {data} is in use by process {owner}; stop that one or choose another with --data"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def read_secrets(data: Path) -> dict[str, str]:
    """The folder's secrets, generated once; those in the environment win."""
    path = data / "secrets.env"
    kept = {name: value for name, value in dotenv_values(path).items() if value} if path.exists() else {}
    missing = [name for name in GENERATED if name not in kept]
    if missing:
        kept |= {name: secrets.token_urlsafe(24) for name in missing}
        write_private(path, "".join(f"{name}={value}\n" for name, value in kept.items()))
    return {name: os.environ.get(name) or value for name, value in kept.items()}


def write_private(path: Path, content: str) -> None:
    """Replace a file in one step, readable by its owner alone."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as out:
        out.write(content)
    partial.replace(path)


def publish(data: Path, stack: StackFile) -> None:
    """Say where the stack is found."""
    write_private(data / "stack.json", json.dumps(asdict(stack), indent=1) + "\n")


def withdraw(data: Path) -> None:
    """The stack is not to be found any more."""
    (data / "stack.json").unlink(missing_ok=True)


def find_running(data: Path) -> StackFile | None:
    """The stack that serves a folder, if one does."""
    try:
        found = StackFile(**json.loads((data / "stack.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return found if _owner(data) == str(found.pid) else None


def _owner(data: Path) -> str | None:
    """Who holds the lock: a stack or a command; None when nobody does, whatever an earlier owner left written."""
    try:
        with (data / "stack.lock").open("r") as lock:
            try:
                flock(lock, LOCK_SH | LOCK_NB)
            except BlockingIOError:
                return lock.read().strip()
    except OSError:
        return None
    return None


def end_orphans(data: Path) -> int:
    """End what an earlier stack on this folder left running after it was killed; returns how many there were."""
    orphans = [process for process in psutil.process_iter() if _serves(process, data)]
    for process in orphans:
        _quietly(process.terminate)
    _, alive = psutil.wait_procs(orphans, timeout=8)
    for process in alive:
        _quietly(process.kill)
    psutil.wait_procs(alive, timeout=5)
    return len(orphans)


def _serves(process: psutil.Process, data: Path) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        return process.environ().get(MARK) == str(data)
    except (psutil.Error, OSError):
        return False  # another user's, or gone meanwhile


def _quietly(action: object) -> None:
    try:
        action()  # type: ignore[operator]
    except psutil.NoSuchProcess:
        return
