"""What is exported from models, kept for later starts: each file or folder is made once, by one process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

from ragline.errors import ConfigurationError
from ragline.logs import get_logger

log = get_logger(__name__)


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """The file or folder called ``name``; ``make`` writes it to the path it is given where it is not there yet.

    Raises :class:`ConfigurationError` where no folder can be written.
    """
    for folder in _folders():
        path = folder / name
        if path.exists():
            return path
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder / "export.lock"):
                if not path.exists():
                    _make(path, make)
            return path
        except OSError as error:
            log.warning("cache_not_writable", folder=str(folder), error=error.strerror)
    raise ConfigurationError("no folder to cache the embedding model in: set XDG_CACHE_HOME to one that can be written")


def run_export(*arguments: str) -> None:
    """Run the exporter in a process of its own: it loads torch. Raises :class:`ConfigurationError`."""
    command = [sys.executable, "-m", "storage.embedder.export", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ConfigurationError(f"the embedding model could not be exported: {last}")


def _make(path: Path, make: Callable[[Path], None]) -> None:
    log.info("embedding_model_exporting", to=str(path))
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        make(partial)
        partial.replace(path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)


def _folders() -> list[Path]:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [home / "ragline", Path(tempfile.gettempdir()) / f"ragline-{os.getuid()}"]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        flock(lock, LOCK_EX)
        yield
