"""Documents are read in a child process, bounded in time and memory: they come from anywhere, and parsers are in C.

The child (``python -m storage.documents``) is asked in one line of JSON and as many bytes as it says, and answers in
one line. One that is late is killed, and the next document has a new one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import timedelta
from types import TracebackType
from typing import Any

from storage.documents.blocks import Block, Parsed, Unreadable

#: Time for one document, the start of the child included.
TIME = timedelta(seconds=60)
#: Address space of the child, bytes.
MEMORY = 1536 * 2**20

#: Types by file name; the parser is the module of this package with that name.
TYPES = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".docx": "docx",
    ".txt": "plain",
    ".text": "plain",
}


class Sandbox:
    """Reads documents one after another. Not thread-safe; use it as a context manager."""

    def __init__(self, *, time: timedelta = TIME, memory: int = MEMORY) -> None:
        self._time, self._memory = time, memory
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def read(self, content: bytes, kind: str, charset: str | None = None) -> Parsed:
        """The document, read by the parser ``kind``. Raises :class:`Unreadable`."""
        child = self._started()
        late = threading.Timer(self._time.total_seconds(), child.kill)
        late.start()
        try:
            answer = _ask(child, {"kind": kind, "size": len(content), "charset": charset}, content)
        except (OSError, ValueError):
            answer = None
        finally:
            in_time = late.is_alive()
            late.cancel()
        if answer is None:
            self._end()
            if not in_time:
                raise Unreadable(
                    f"took more than {self._time.total_seconds():.0f} s to read; split it or save it again"
                )
            raise Unreadable("made its parser crash; open it in its program and save it again")
        if "error" in answer:
            raise Unreadable(str(answer["error"]))
        return Parsed(answer["title"], [Block(*block) for block in answer["blocks"]])

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self._end()
            command = [sys.executable, "-m", "storage.documents", str(self._memory)]
            self._child = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        return self._child

    def _end(self) -> None:
        if self._child is None:
            return
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe:
                try:
                    pipe.close()
                except BrokenPipeError:  # what it was still to be told
                    continue
        self._child = None


def _ask(child: subprocess.Popen[bytes], question: dict[str, Any], content: bytes) -> dict[str, Any] | None:
    """The child's answer; None when it died."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps(question).encode() + b"\n")
    child.stdin.write(content)
    child.stdin.flush()
    line = child.stdout.readline()
    answer: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
    return answer
