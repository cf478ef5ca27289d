"""Supervision of real processes: prefixed lines, restarts that slow down, an orderly end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
DRIVER = """
import sys
from pathlib import Path
from ragline.stack.parts import Part
from ragline.stack.supervision import Supervision
python = sys.executable
data = Path(sys.argv[1])
(data / "run").mkdir(exist_ok=True)
def script(name, text):
    (data / name).write_text(text)
    return python, str(data / name)
loop = "import time\\nprint('up 100% \\u00fc', flush=True)\\nwhile True: time.sleep(0.1)"
stubborn = "import signal,time\\nsignal.signal(15, signal.SIG_IGN)\\nprint('deaf', flush=True)\\ntime.sleep(99)"
parts = [
    Part("server", script("server.py", loop), tier=1),
    Part("worker", script("worker.py", loop), tier=2),
    Part("broken", ("/bin/sh", "-c", "echo no luck; exit 3"), tier=2),
    Part("once", (python, "-c", "print('did it')"), tier=3, once=True),
    Part("stubborn", script("stubborn.py", stubborn), tier=2, grace=1),
]
Supervision(parts, data).run()
print("over", flush=True)
"""


class Driven:
    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log

    def lines(self) -> list[str]:
        return [line.strip() for line in self.log.read_text().splitlines()]

    def wait_for(self, text: str, times: int = 1, seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while sum(text in line for line in self.lines()) < times:
            assert time.monotonic() < deadline, f"no {text!r} in\n" + "\n".join(self.lines())
            time.sleep(0.05)

    def children(self) -> list[psutil.Process]:
        """Those there now; "broken" and "once" may be gone at the next look."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def part(self, name: str) -> psutil.Process:
        """The lasting part whose script is `name`."""
        for child in self.children():
            with suppress(psutil.NoSuchProcess):
                if name in " ".join(child.cmdline()):
                    return child
        raise AssertionError(f"{name} does not run")


@contextmanager
def supervised(folder: Path) -> Iterator[Driven]:
    log = folder / "out.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(folder)],
            cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield Driven(process, log)
    finally:
        if process.poll() is None:
            children = psutil.Process(process.pid).children(recursive=True)
            process.kill()  # first, for it would start again what is killed
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        process.wait()


@pytest.fixture
def driven(tmp_path: Path) -> Iterator[Driven]:
    with supervised(tmp_path) as driven:
        driven.wait_for("deaf")
        driven.wait_for("up 100%", times=2)
        yield driven


def test_lines_carry_their_part_and_are_kept_in_files(driven: Driven, tmp_path: Path) -> None:
    assert "server   | up 100% ü" in driven.lines()
    assert "up 100%" in (tmp_path / "logs" / "worker.log").read_text()


def test_the_configuration_is_the_owners_alone(driven: Driven, tmp_path: Path) -> None:
    assert (tmp_path / "run" / "supervisor.conf").stat().st_mode & 0o777 == 0o600


def test_parts_work_in_the_working_folder(driven: Driven, tmp_path: Path) -> None:
    for script in ("server.py", "worker.py", "stubborn.py"):
        assert driven.part(script).cwd() == str(tmp_path)


def test_a_killed_part_is_started_again(driven: Driven) -> None:
    driven.wait_for("did it")
    time.sleep(1.2)  # until supervisor takes it for running
    driven.part("worker.py").send_signal(signal.SIGKILL)
    driven.wait_for("ended unexpectedly; starting again")
    driven.wait_for("up 100%", times=3)
    assert sum("did it" in line for line in driven.lines()) == 1, "a part that ran to its end is done"


def test_a_part_that_cannot_run_is_tried_ever_more_slowly_and_for_ever(driven: Driven) -> None:
    driven.wait_for("broken   | ended at once; starting again in 3 s", seconds=30)
    pauses = [int(line.split()[-2]) for line in driven.lines() if line.startswith("broken   | ended at once")]
    assert pauses[0] == 1
    # An end seen more than a second late is that of a part that ran: the pauses begin anew.
    assert all(later in (earlier + 1, 1) for earlier, later in pairwise(pauses)), pauses


def test_sigterm_ends_everything_even_the_deaf(driven: Driven) -> None:
    children = driven.children()
    assert len(children) >= 3
    driven.process.terminate()
    assert driven.process.wait(20) == 0
    assert "over" in driven.lines()
    assert not [child for child in children if child.is_running()]
