"""``ragline up`` and the commands, as somebody uses them who makes mistakes and pulls plugs."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import ColumnElement, func
from sqlmodel import col, select

from storage import knowledge
from storage.knowledge_files import ItemRow
from storage.migrate import upgrade
from storage.models import KnowledgePhrase
from storage.session import Database, make_engine
from tests.acceptance.stack import ROOT, Stack, clean_environment, running

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]
ASK = {"conversation": "c", "text": "How long does delivery take?"}


def ragline(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ragline.cli", *arguments],
        cwd=ROOT, env=clean_environment(**environment), capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    return lines[0]


def answer(stack: Stack) -> str:
    with stack.api() as api:
        found = api.post("/api/v1/messages?wait=20", json=ASK).json()
    return str(found["status"])


def test_two_side_by_side_and_a_killed_one_comes_back(tmp_path: Path) -> None:
    with running(tmp_path / "a") as first, running(tmp_path / "b") as second:
        assert first.url != second.url
        assert (answer(first), answer(second)) == ("answered", "answered")

        again = ragline("up", "--data", str(tmp_path / "a"), PORT="0", FLOWER_PORT="0")
        assert again.returncode == 1
        assert f"in use by process {first.process.pid}" in one_line(again)

        taken = ragline("up", "--data", str(tmp_path / "c"), PORT=str(second.about["port"]))
        assert taken.returncode == 1
        assert f"port {second.about['port']} is taken" in one_line(taken)

        orphans = psutil.Process(first.process.pid).children(recursive=True)
        assert len(orphans) >= 8
        with first.api() as api:
            accepted = api.post("/api/v1/messages", json={**ASK, "conversation": "killed"}).json()["message_id"]
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        with running(tmp_path / "a") as back:
            assert not [process for process in orphans if process.is_running() and process.status() != "zombie"]
            assert "left running" in back.output()
            with back.api() as api:
                deadline = time.monotonic() + 40
                while api.get(f"/api/v1/messages/{accepted}").json()["status"] != "answered":
                    assert time.monotonic() < deadline
                    time.sleep(0.2)
            assert answer(back) == "answered"


def test_the_files_of_the_working_folder_reach_every_part(tmp_path: Path) -> None:
    """A start from elsewhere, with a ragline.yaml, a relative database and a key in .env; and one cut short before."""
    (tmp_path / "ragline.yaml").write_text(
        "database_url: sqlite:///shop.sqlite3\n"
        "knowledge: {demo: off}\n"
        "channels: {widget: {default: {title: {en: Shop talk}}}}\n"
    )
    (tmp_path / ".env").write_text("RAGLINE_API_KEY=from-the-env-file\n")
    key = {"Authorization": "Bearer from-the-env-file"}
    database = Database(make_engine(f"sqlite:///{tmp_path}/shop.sqlite3"))
    upgrade(f"sqlite:///{tmp_path}/shop.sqlite3")
    knowledge.put_items(database, [ItemRow("late", "Nobody indexed me.", ["Was I indexed?"])], source="test")
    database.close()
    for name in ("workers", "celeryconfig", "ingress", "queue"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the shop has modules of the same names')\n")
    with running(tmp_path / "data", cwd=tmp_path, RAGLINE_CONFIG="", PYTHONPATH=str(ROOT), PYTHONSAFEPATH="1") as stack:
        ingress = next(pid for pid, line in stack.processes() if "ingress.serve" in line)
        assert psutil.Process(ingress).cwd() == str(tmp_path)
        with httpx.Client(base_url=stack.url, headers=key, trust_env=False, timeout=30) as api:
            found = api.post("/api/v1/messages?wait=20", json={"conversation": "c", "text": "Was I indexed?"}).json()
            assert found["answer"]["text"] == "Nobody indexed me."
            title = api.post("/widget/default/session", json={"locale": "en"}).json()["title"]
        assert title == "Shop talk"
        with stack.sql() as session:
            assert session.exec(select(func.count()).select_from(KnowledgePhrase).where(_indexed())).one() == 1


def _indexed() -> ColumnElement[bool]:
    return col(KnowledgePhrase.index_id).is_not(None)


def test_wrong_use_gets_one_clear_line(tmp_path: Path) -> None:
    broken = tmp_path / "ragline.yaml"
    broken.write_text("answr:\n  direct_threshold: 1\n")
    done = ragline("up", "--data", str(tmp_path / "x"), RAGLINE_CONFIG=str(broken))
    assert done.returncode == 2
    assert "unknown setting 'answr': 'answr'; did you mean 'answer'?" in one_line(done)

    blocked = tmp_path / "file"
    blocked.write_text("")
    done = ragline("up", "--data", str(blocked / "below"))
    assert done.returncode == 1
    assert "cannot be written" in one_line(done)

    done = ragline("kb", "import", str(tmp_path / "none.csv"), RAGLINE_DATA=str(tmp_path / "y"))
    assert done.returncode == 2
    assert "there is no such file" in one_line(done)


def test_commands_without_a_running_stack(tmp_path: Path) -> None:
    data = str(tmp_path / "alone")
    kb = tmp_path / "kb.jsonl"
    kb.write_text(
        '{"id": "g", "questions": ["Do you sell garlic?"], "answer": "Every day."}\n'
        '{"id": "bad"}\n'
        '{"id": "n", "question": "Where is the north pole?", "answer": "Up."}\n'
    )
    done = ragline("kb", "import", str(kb), RAGLINE_DATA=data)
    assert done.returncode == 1
    assert "row 2: has neither question nor questions" in done.stderr
    assert "2 items added" in done.stdout
    asked = ragline("ask", "Do you sell garlic?", "--json", RAGLINE_DATA=data)
    assert asked.returncode == 0, asked.stderr
    assert '"answer": "Every day."' in asked.stdout
    assert '"mode": "direct"' in asked.stdout
    doctor = ragline("doctor", RAGLINE_DATA=data)
    assert doctor.returncode == 0, doctor.stdout
    assert "OPENAI_API_KEY" in doctor.stdout
    assert not [p for p in psutil.process_iter() if _of(p, data)], "what a command started it stopped"


def test_readyz_names_what_is_down(tmp_path: Path) -> None:
    with running(tmp_path / "data") as stack, stack.api() as api:
        chroma = next(
            child for child in psutil.Process(stack.process.pid).children() if "chroma" in " ".join(child.cmdline())
        )
        chroma.send_signal(signal.SIGSTOP)
        try:
            reply = api.get("/readyz")
            assert reply.status_code == 503
            assert "chroma" in reply.text
        finally:
            chroma.send_signal(signal.SIGCONT)
        chroma.kill()
        deadline = time.monotonic() + 20
        while api.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert answer(stack) == "answered"


def test_a_taken_flower_port_is_an_error_only_where_it_was_asked_for(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = ragline("up", "--data", str(tmp_path / "f"), PORT="0", FLOWER_PORT=port)
    assert done.returncode == 1
    assert "FLOWER_PORT" in one_line(done)


def _of(process: psutil.Process, data: str) -> bool:
    try:
        return process.environ().get("RAGLINE_STACK") == data
    except (psutil.Error, OSError):
        return False
