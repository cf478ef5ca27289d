"""Turns a second through the whole pipeline, and a lone message's time, beside a chain of four empty tasks.

    python -m bench.pipeline [--database sqlite|postgresql] [--turns 1000] [--chats 200] [--runs 5] [--distinct]
                             [--model SECONDS] [--set NAME=VALUE]

One message a turn, direct answers, no model; with ``--model`` all answers are written by a language model that takes so
many seconds, on a fake provider, with a thread a chat to wait for it. Twenty questions are asked again and again, which
the search remembers; ``--distinct`` asks each once, with a number of its own. Messages are accepted before the clock
starts, so that it measures answering: it runs from the first turn's opening to the last one's end, by the times in SQL.
The yardstick runs on the same Redis with the same pools, in turns with the pipeline.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import psutil
from redis import Redis
from sqlalchemy import func
from sqlmodel import col, select

from ingress.hints import Hints
from pipeline.envelope import Envelope, Sender
from ragline.clock import utcnow
from ragline.ids import new_id
from ragline.settings import load_settings
from storage import inbox
from storage.models import Message, Outbox, StepRun, Turn
from storage.session import Database, make_engine
from tests.acceptance.stack import ROOT, Stack, running
from tests.acceptance.topics import QUESTIONS, write_base
from tests.chaos.databases import Postgresql, database
from tests.support.fake_openai import FakeOpenAI

LONE = 40
QUEUES = tuple(f"queues {name}" for name in ("cpu", "io", "control", "jobs"))
#: What tells the processes of a stack apart on their command lines.
PARTS = ("redis-server", "chroma", "ingress.serve", "flower", "beat", *QUEUES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--chats", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--distinct", action="store_true", help="ask no question twice, so that none is remembered")
    parser.add_argument("--model", type=float, metavar="SECONDS", help="answer by a model that takes so long")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the stack")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        environment = {
            "RAGLINE_QUIET_WINDOW": "0", "RAGLINE__TURN__MAX_MESSAGES": "1", "RAGLINE__KNOWLEDGE__DEMO": "off",
            "RAGLINE__LIMITS__PER_SENDER": "1000000", "RAGLINE__LIMITS__PER_ACCOUNT": "1000000",
            "RAGLINE__TURN__PATIENCE": "300", **model(stack, options),
            **dict(given.split("=", 1) for given in options.set),
        }  # fmt: skip
        if options.database == "postgresql":
            server = stack.enter_context(database("postgresql", folder))
            assert isinstance(server, Postgresql)
            environment["DATABASE_URL"] = server.url
        bench = stack.enter_context(running(folder / "data", **environment))
        bench.ragline("kb", "import", str(write_base(folder / "topics.jsonl")))
        os.environ |= {"REDIS_URL": bench.about["redis_url"], "RAGLINE_CONFIG": os.devnull, **environment}
        empty = stack.enter_context(noop_workers(folder))
        measure(bench, empty, options)


def model(stack: ExitStack, options: argparse.Namespace) -> dict[str, str]:
    """The settings of a stack that asks a language model for every answer."""
    if options.model is None:
        return {}
    provider = stack.enter_context(FakeOpenAI(latency=options.model))
    return {
        "OPENAI_API_KEY": provider.api_key, "OPENAI_API_BASE": provider.api_base,
        "RAGLINE__ANSWER__MODES": "[grounded]", "RAGLINE__ANSWER__GROUNDED_THRESHOLD": "0",
        "RAGLINE__WORKERS__IO_THREADS": str(options.chats), "RAGLINE__LOAD__SHORT_HISTORY": "1000000",
        "RAGLINE__LOAD__DIRECT_ONLY": "1000000",
    }  # fmt: skip


def measure(bench: Stack, noop: dict[str, int], options: argparse.Namespace) -> None:
    database = Database(make_engine(bench.about["database_url"]))
    hints = Hints(load_settings())
    rounds: list[tuple[float, float]] = []
    spent: dict[str, list[dict[str, float]]] = {"a turn": [], "an empty chain": []}
    processes = [(pid, part_of(command)) for pid, command in bench.processes()] + [
        (p, name) for name, p in noop.items()
    ]
    for number in range(options.runs + 1):
        counts = [cpu_seconds(processes)]
        asked = [QUESTIONS[i % 20] + (f" ({number}-{i})" if options.distinct else "") for i in range(options.turns)]
        began = utcnow()
        real = answered_a_second(database, hints, asked, options.chats, number)
        counts.append(cpu_seconds(processes))
        empty = chains_a_second(options.turns)
        counts.append(cpu_seconds(processes))
        if number:  # the first round warms up
            rounds.append((real, empty))
            ratio = real / empty
            print(f"run {number}: {real:.1f} turns a second, {empty:.1f} empty chains; ratio {ratio:.2f}", flush=True)
            if options.model is not None:
                beyond = statistics.median(turn_seconds(database, began)) - options.model
                print(f"       a turn takes {beyond * 1000:.0f} ms beyond the model's {options.model:g} s", flush=True)
            for runs, before, after in zip(spent.values(), counts, counts[1:], strict=False):
                runs.append({name: after[name] - before[name] for name in after})
    ratio = statistics.median(real / empty for real, empty in rounds)
    print(
        f"{options.database}: median {statistics.median(r for r, _ in rounds):.1f} turns a second, "
        f"{statistics.median(e for _, e in rounds):.1f} empty chains; ratio {ratio:.2f}"
    )
    for what, runs in spent.items():
        costs = {name: statistics.median(run[name] for run in runs) / options.turns * 1000 for name in runs[0]}
        shown = ", ".join(f"{name} {ms:.1f}" for name, ms in sorted(costs.items()) if ms >= 0.05)
        print(f"CPU ms {what}: {sum(costs.values()):.1f} ({shown})")
    if options.model is None:
        lone(database, hints)
    steps(database)
    hints.close()


def part_of(command: str) -> str:
    return next((part for part in PARTS if part in command), "others").removeprefix("queues ")


def cpu_seconds(processes: list[tuple[int, str]]) -> dict[str, float]:
    """By part: what its processes have used since they started, user and system."""
    found: dict[str, float] = defaultdict(float)
    # A session of PostgreSQL is a process, and some begin later than the stack.
    sessions = [(process.pid, "postgresql") for process in psutil.process_iter() if process.name() == "postgres"]
    for pid, part in [*processes, *sessions]:
        with contextlib.suppress(OSError):
            user, system = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[11:13]
            found[part] += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return found


def accept(database: Database, texts: list[tuple[str, str]]) -> list[str]:
    envelopes = [
        Envelope(
            id=new_id(), channel="api", account="default", conversation=conversation, external_id=new_id(),
            sender=Sender(id=conversation), kind="text", text=text, received_at=utcnow(),
        )
        for conversation, text in texts
    ]  # fmt: skip
    conversations: dict[str, None] = {}
    for start in range(0, len(envelopes), 250):
        with database.write() as session:
            for accepted in inbox.accept(session.connection(), envelopes[start : start + 250], utcnow()):
                conversations[accepted.conversation_id] = None
    return list(conversations)


def answered_a_second(database: Database, hints: Hints, asked: list[str], chats: int, number: int) -> float:
    # A sweep would find them before the hint does; it looks every five seconds, and accepting takes one.
    began, count = utcnow(), len(asked)
    conversations = accept(database, [(f"b{number}-{i % chats}", text) for i, text in enumerate(asked)])
    hints([(conversation, "api", "default") for conversation in conversations])
    closed = select(func.count()).where(Turn.status == "answered", Turn.created_at >= began)
    until = time.monotonic() + 300
    while time.monotonic() < until:
        time.sleep(0.2)
        with database.read() as session:
            if session.exec(closed).one() >= count:
                break
    with database.read() as session:
        times = select(func.min(Turn.created_at), func.max(Turn.closed_at)).where(col(Turn.created_at) >= began)
        first, last = session.exec(times).one()
    assert first is not None
    assert last is not None
    return count / (last - first).total_seconds()


def turn_seconds(database: Database, began: datetime) -> list[float]:
    """From a turn's opening to its end, of all turns opened since."""
    with database.read() as session:
        times = session.exec(select(Turn.created_at, Turn.closed_at).where(col(Turn.created_at) >= began)).all()
    return [(closed - opened).total_seconds() for opened, closed in times if closed]


def chains_a_second(count: int) -> float:
    from bench.noop import submit

    redis = Redis.from_url(os.environ["REDIS_URL"], socket_timeout=None)
    redis.delete("noop-done")
    began = time.perf_counter()
    for _ in range(count):
        submit(count)
    assert redis.blpop(["noop-done"], timeout=300)
    return count / (time.perf_counter() - began)


def lone(database: Database, hints: Hints) -> None:
    """One message at a time: from its hint to the commit after its sending, beside one empty chain."""
    real, empty, redis = [], [], Redis.from_url(os.environ["REDIS_URL"], socket_timeout=None)
    from bench.noop import submit

    for number in range(LONE):
        began = utcnow()
        [conversation] = accept(database, [(f"lone-{number}", QUESTIONS[number % 20])])
        accepted = utcnow()
        hints([(conversation, "api", "default")])
        sent = None
        while sent is None:
            time.sleep(0.005)
            with database.read() as session:
                sent = session.exec(select(Outbox.sent_at).where(Outbox.conversation_id == conversation)).first()
            assert utcnow() - began < timedelta(seconds=30)
        real.append((sent - accepted).total_seconds() * 1000)
        redis.delete("noop-done")
        start = time.perf_counter()
        submit(1)
        assert redis.blpop(["noop-done"], timeout=30)
        empty.append((time.perf_counter() - start) * 1000)
    with database.read() as session:
        search = select(StepRun.ms).where(StepRun.step == "retrieve").order_by(col(StepRun.started_at).desc())
        searching = statistics.median(session.exec(search.limit(LONE)))
    whole, chain = statistics.median(real), statistics.median(empty)
    print(
        f"a lone message: {whole:.1f} ms, an empty chain {chain:.1f} ms, of which retrieve (encoder and search) "
        f"{searching:.1f} ms; overhead beyond both {whole - chain - searching:.1f} ms"
    )


def steps(database: Database) -> None:
    with database.read() as session:
        rows = session.exec(select(StepRun.step, func.avg(StepRun.ms)).group_by(StepRun.step)).all()
        waiting = session.exec(select(func.count()).where(col(Message.turn_id).is_(None))).one()
    print("mean ms in steps: " + ", ".join(f"{step} {ms:.1f}" for step, ms in rows) + f"; unanswered {waiting}")


@contextmanager
def noop_workers(folder: Path) -> Iterator[dict[str, int]]:
    """Workers of the yardstick with the pools of ``ragline up``; their process ids by queue."""
    threads = load_settings().workers
    pools = {"noop-cpu": threads.cpu_threads, "noop-io": threads.io_threads}
    started = []
    for queue, count in pools.items():
        command = [
            sys.executable, "-m", "celery", "--quiet", "-A", "bench.noop", "worker", "-Q", queue, "--pool", "threads",
            "--concurrency", str(count), "--hostname", f"{queue}@bench", "--without-gossip", "--without-mingle",
            "--loglevel", "WARNING",
        ]  # fmt: skip
        out = (folder / f"{queue}.log").open("wb")
        started.append(subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT))
    try:
        yield {queue: process.pid for queue, process in zip(pools, started, strict=True)}
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(20)


if __name__ == "__main__":
    main()
