"""Pictures and recordings as models take them, decoded in a child process that is bounded in time and memory."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pipeline.errors import NotUnderstood
from pipeline.llm import Audio
from ragline.logs import get_logger

log = get_logger(__name__)
#: Address space of the child, bytes.
MEMORY = 2048 * 2**20


@dataclass(frozen=True)
class Decoded:
    """A recording, ``seconds`` long. ``sound`` None: nothing can be heard in it; ``frames``: pictures of it, JPEG."""

    seconds: float
    sound: Audio | None
    frames: tuple[bytes, ...]


def picture(path: Path, *, within: timedelta) -> bytes:
    """A picture as JPEG. Raises ``NotUnderstood`` (broken)."""
    with _folder() as folder:
        target = folder / "picture.jpg"
        _decode(within, "picture", str(path), str(target))
        return target.read_bytes()


def recording(path: Path, *, frames: int, longest: timedelta, within: timedelta) -> Decoded:
    """A recording's sound and pictures. Raises ``NotUnderstood`` (broken, too_long, type)."""
    with _folder() as folder:
        told = _decode(within, "recording", str(path), str(folder), str(frames), str(longest.total_seconds()))
        seconds = float(told["seconds"])
        sound = None
        if told["sound"]:
            sound = Audio((folder / "sound.ogg").read_bytes(), "sound.ogg", "audio/ogg", seconds)
        pictures = tuple((folder / f"{number}.jpg").read_bytes() for number in range(told["frames"]))
        return Decoded(seconds, sound, pictures)


def as_image_part(jpeg: bytes, *, video: bool = False) -> dict[str, Any]:
    """A picture as a part of a chat message; ``video``: it is a frame of one, and goes by the route of videos."""
    part: dict[str, Any] = {
        "type": "image_url",
        "image_url": {"url": "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")},
    }
    return {**part, "of": "video"} if video else part


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ragline-") as name:
        yield Path(name)


def _decode(within: timedelta, *arguments: str) -> dict[str, Any]:
    # By its path, and not as a module: it needs nothing of ours, and starts in half the time.
    command = [sys.executable, "-P", str(Path(__file__).with_name("child.py")), str(MEMORY), *arguments]
    try:
        done = subprocess.run(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=within.total_seconds(), check=False,
        )  # fmt: skip
        told: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        log.warning("media_not_decoded", error=type(error).__name__)
        raise NotUnderstood("broken") from None
    if "problem" in told:
        log.info("media_refused", problem=told["problem"], error=told.get("error"))
        raise NotUnderstood(told["problem"])
    return told
