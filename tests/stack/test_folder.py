"""The data folder: one owner, its secrets, its orphans."""

import os
import socket
import stat
import subprocess
import sys
from fcntl import LOCK_SH, flock
from pathlib import Path

import pytest
from redis import Redis

from ragline.commands.services import redis_answers, started
from ragline.stack import folder
from ragline.stack.folder import FolderUnusable, StackFile
from ragline.stack.parts import redis_part, redis_url
from ragline.stack.ports import PortTaken, claim, free_port, web_address

IPV6 = (
    Path("/proc/net/if_inet6").exists() and "00000000000000000000000000000001" in Path("/proc/net/if_inet6").read_text()
)


def test_secrets_are_made_once_and_are_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = folder.read_secrets(tmp_path)
    assert set(first) == set(folder.GENERATED)
    assert all(len(value) >= 32 for value in first.values())
    assert folder.read_secrets(tmp_path) == first
    assert stat.S_IMODE((tmp_path / "secrets.env").stat().st_mode) == 0o600
    for name in folder.GENERATED:
        monkeypatch.setenv(name, f"my own {name}")
    assert folder.read_secrets(tmp_path) == {name: f"my own {name}" for name in folder.GENERATED}


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


def test_a_file_left_over_is_no_stack_while_a_command_holds_the_lock(tmp_path: Path) -> None:
    folder.publish(tmp_path, StackFile(os.getppid(), 1, "r", "d", "c", 2))
    with folder.locked(tmp_path):
        assert folder.find_running(tmp_path) is None


def test_two_who_look_at_once_do_not_take_each_other_for_a_stack(tmp_path: Path) -> None:
    with folder.locked(tmp_path):
        pass
    folder.publish(tmp_path, StackFile(os.getpid(), 1, "r", "d", "c", 2))
    with (tmp_path / "stack.lock").open() as other:
        flock(other, LOCK_SH)
        assert folder.find_running(tmp_path) is None


def test_the_folder_is_the_owners_alone(tmp_path: Path) -> None:
    usual = os.umask(0o022)
    try:
        assert folder.prepare(tmp_path / "data").stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(usual)


def test_a_redis_password_of_ones_own_may_hold_anything(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    port, password = free_port(), 'a b/@#"\\:%'
    url = redis_url(password, port)
    with started(redis_part(tmp_path, port, password), tmp_path, redis_answers(url)), Redis.from_url(url) as client:
        assert client.ping()


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
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port} is taken.*--port"):
            claim(port, "127.0.0.1", "--port or PORT")
        with pytest.raises(PortTaken, match="taken"):
            claim(port, "localhost", "--port")
    assert claim(0, "127.0.0.1", "--port") > 0
    assert claim(free_port(), "127.0.0.1", "--port") > 0


@pytest.mark.skipif(not IPV6, reason="this machine has no IPv6")
def test_an_ipv6_host_is_probed_as_such() -> None:
    for host, loopback in (("::", "::1"), ("::1", "::1")):
        with socket.socket(socket.AF_INET) as other, socket.socket(socket.AF_INET6) as taken:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            assert claim(port, host, "--port") == port, "taken for IPv4 alone"
            taken.bind((loopback, port))
            taken.listen()
            with pytest.raises(PortTaken, match="taken"):
                claim(port, host, "--port")


@pytest.mark.parametrize("host", ["no such host", "[::1]", "192.0.2.1"])
def test_a_host_of_another_machine_is_named(host: str) -> None:
    with pytest.raises(PortTaken, match="no address"):
        claim(free_port(), host, "--port")


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("shop.example", "http://shop.example:80"),
    ],
)
def test_where_a_server_answers(host: str, found: str) -> None:
    assert web_address(host, 80) == found
