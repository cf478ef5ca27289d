"""The data folder: one owner, its secrets, its orphans."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ragline.stack import folder
from ragline.stack.folder import FolderUnusable, StackFile
from ragline.stack.ports import PortTaken, claim, free_port


def test_secrets_are_made_once_and_are_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = folder.read_secrets(tmp_path)
    assert set(first) == set(folder.GENERATED)
    assert all(len(value) >= 32 for value in first.values())
    assert folder.read_secrets(tmp_path) == first
    assert stat.S_IMODE((tmp_path / "secrets.env").stat().st_mode) == 0o600
    monkeypatch.setenv("RAGLINE_API_KEY", "my own")
    assert folder.read_secrets(tmp_path)["RAGLINE_API_KEY"] == "my own"


def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    with folder.locked(tmp_path), pytest.raises(FolderUnusable, match=str(os.getpid())), folder.locked(tmp_path):
        pass
    with folder.locked(tmp_path):
        pass


def test_a_stack_is_found_while_it_lives(tmp_path: Path) -> None:
    assert folder.find_running(tmp_path) is None
    stack = StackFile(os.getpid(), 1, "r", "d", "c", 2)
    folder.publish(tmp_path, stack)
    with folder.locked(tmp_path):
        assert folder.find_running(tmp_path) == stack
        (tmp_path / "stack.json").write_text("{broken")
        assert folder.find_running(tmp_path) is None
    folder.publish(tmp_path, stack)
    assert folder.find_running(tmp_path) is None, "a file that was left over, though its process number lives"


def test_the_folder_is_the_owners_alone(tmp_path: Path) -> None:
    assert folder.prepare(tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_orphans_of_this_folder_are_ended_and_no_others(tmp_path: Path) -> None:
    def sleeper(mark: str, code: str = "import time; time.sleep(60)") -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", code], env={**os.environ, folder.MARK: mark})

    mine, other = sleeper(str(tmp_path)), sleeper(f"{tmp_path}-other")
    try:
        while not Path(f"/proc/{mine.pid}/environ").read_bytes():
            pass
        assert folder.end_orphans(tmp_path) == 1
        assert mine.poll() is not None
        assert other.poll() is None
    finally:
        mine.kill()
        other.kill()
        mine.wait()
        other.wait()


def test_a_taken_port_is_named() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port} is taken.*--port"):
            claim(port, "127.0.0.1", "--port or PORT")
    assert claim(0, "127.0.0.1", "--port") > 0
    assert claim(free_port(), "127.0.0.1", "--port") > 0
