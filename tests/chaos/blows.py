"""Doing the damage: to real processes of a running stack, its Redis, its database, and the way to the channel."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from ragline.stack.parts import QUEUES
from tests.acceptance.stack import Stack
from tests.chaos.databases import ChaosDatabase
from tests.chaos.plan import Blow
from tests.chaos.report import Exposure, Kill, Trouble
from tests.support import faults
from tests.support.fake_telegram import FakeTelegram
from tests.support.faults import Fault

#: What is found in a part's command line.
COMMANDS = {
    "ingress": "ingress.serve",
    "beat": " beat ",
    "redis": "redis-server",
    "chroma": "chroma run",
    **{f"worker-{queue}": f"--queues {queue} " for queue in QUEUES},
}
#: Whose death leaves rows in ``sending`` for others to judge.
SENDERS = ("worker-io", "redis", "whole")
#: Seconds until a killed process must be there again.
RESTART = 60.0
OUTAGE = 1.0
FAULTS: dict[str, Fault] = {
    "reset": faults.reset(),
    "hang": faults.hang(1.5, after=True),
    "cut": faults.cut(),
    "502": faults.status(502),
    "html": faults.html(502),
    "429": faults.too_many(1),
}


class Blows:
    """Deals blows and notes what they may have made ambiguous. Thread-safe; each blow takes its own time."""

    def __init__(self, stack: Stack, telegram: FakeTelegram, database: ChaosDatabase, *, pause: float) -> None:
        self._stack, self._telegram, self._database, self._pause = stack, telegram, database, pause
        self._redis = Redis.from_url(stack.about["redis_url"], socket_timeout=5)
        self._lock = threading.Lock()
        self._one_outage = threading.Lock()
        self._exposed: set[str] = set()
        self._connections = 0
        self.kills: list[Kill] = []
        self.troubles: list[Trouble] = []
        self.dealt: Counter[str] = Counter()
        self._do: dict[str, Callable[[Blow], float | None]] = {
            "kill": self._kill,
            "pause": self._stop_and_go,
            "flush": self._flush,
            "shown": self._fault,
            "busy": self._fault,
            "outage": self._outage,
            "database": self._hurt_database,
        }

    def deal(self, blow: Blow) -> None:
        """Returns when the blow is over: the process is back, the lock released."""
        start = self._do[blow.kind](blow)
        if start is not None:
            self._note(Trouble(f"{blow.kind} {blow.target}".rstrip(), start, time.time()))
        if blow.kind != "kill":
            self._count(f"{blow.kind} {blow.target}" if blow.kind == "pause" else blow.kind)

    def exposure(self) -> Exposure:
        with self._lock:
            rows, connections = frozenset(self._exposed), self._connections
        broken = [one for one in self._telegram.faults.fired if one.fault.after]
        return Exposure(rows, len(broken), connections)

    def close(self) -> None:
        self._redis.close()

    def pids(self, target: str) -> list[int]:
        """The processes of a part; of ``whole``, all of them but the supervisor."""
        found = self._stack.processes()
        if target == "whole":
            return [pid for pid, command in found if any(part in command for part in COMMANDS.values())]
        return [pid for pid, command in found if COMMANDS[target] in command]

    def _kill(self, blow: Blow) -> float:
        before = self._wait_for(lambda: self.pids(blow.target), f"{blow.target} to kill")
        self._at_the_worst_moment(blow.target)
        at = time.time()
        for pid in before:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if blow.target in SENDERS:
            self._expose()
        back = self._came_back(blow.target, before)
        with self._lock:
            self.kills.append(Kill(blow.target, at, back))
        return at

    def _came_back(self, target: str, before: list[int]) -> float | None:
        wanted = 1 if target != "whole" else len(COMMANDS)
        until = time.monotonic() + RESTART
        while time.monotonic() < until:
            if len(set(self.pids(target)) - set(before)) >= wanted:
                return time.time()
            time.sleep(0.1)
        return None

    def _at_the_worst_moment(self, target: str) -> None:
        """Wait a little until the sender is in the middle of something: a kill at leisure proves nothing."""
        until = time.monotonic() + 1.5
        while target in SENDERS and not self._sending() and time.monotonic() < until:
            time.sleep(0.01)

    def _stop_and_go(self, blow: Blow) -> float:
        pids = self._wait_for(lambda: self.pids(blow.target), f"{blow.target} to stop")
        self._at_the_worst_moment(blow.target)
        at = time.time()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            if blow.target in SENDERS:
                self._expose()
            time.sleep(self._pause)
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):  # a kill may have come meanwhile
                    os.kill(pid, signal.SIGCONT)
        return at

    def _flush(self, _: Blow) -> float:
        """Empty Redis, at a moment when it holds hints if there is one."""
        until = time.monotonic() + 5
        while True:
            try:
                waiting = sum(int(self._redis.llen(queue)) for queue in QUEUES)
                if waiting or time.monotonic() > until:
                    self._redis.flushall()
                    self._count("hints flushed", waiting)
                    return time.time()
            except RedisError:
                if time.monotonic() > until + RESTART:
                    raise
            time.sleep(0.02)

    def _fault(self, blow: Blow) -> None:
        self._telegram.faults.add(FAULTS[blow.target], "sendMessage")

    def _outage(self, _: Blow) -> float:
        with self._one_outage:
            self._at_the_worst_moment("worker-io")
            at = time.time()
            self._expose()
            with self._lock:  # each connection that is broken can have carried one message
                self._connections += self._telegram.open_connections()
            self._telegram.stop()
            time.sleep(OUTAGE)
            self._telegram.start()
        return at

    def _hurt_database(self, blow: Blow) -> float:
        at = time.time()
        for _ in self._database.hurt(int(blow.target)):
            self._expose()
        return at

    def _sending(self) -> set[str]:
        return {row.id for row in self._database.query("SELECT id FROM outbox WHERE status = 'sending'")}

    def _expose(self) -> None:
        rows = self._sending()
        with self._lock:
            self._exposed |= rows

    def _note(self, trouble: Trouble) -> None:
        with self._lock:
            self.troubles.append(trouble)

    def _count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.dealt[what] += number

    def _wait_for(self, found: Callable[[], Any], what: str) -> Any:
        until = time.monotonic() + RESTART
        while not (value := found()):
            if time.monotonic() > until:
                raise AssertionError(f"no {what} within {RESTART:g} s")
            time.sleep(0.1)
        return value


@contextmanager
def dealing(blows: Blows, plan: tuple[Blow, ...], start: float) -> Any:
    """Deal every blow at its time, each in a thread of its own; at the end wait for all, and raise what broke."""
    stop = threading.Event()
    errors: list[BaseException] = []
    threads: list[threading.Thread] = []

    def deal(blow: Blow) -> None:
        try:
            blows.deal(blow)
        except BaseException as error:  # handed to the main thread
            errors.append(error)

    def run() -> None:
        for blow in plan:
            if stop.wait(max(0.0, start + blow.at - time.monotonic())):
                return
            thread = threading.Thread(target=deal, args=(blow,), name=f"{blow.kind} {blow.target}", daemon=True)
            thread.start()
            threads.append(thread)

    clock = threading.Thread(target=run, name="chaos", daemon=True)
    clock.start()
    try:
        yield
        clock.join()
    finally:
        stop.set()
        clock.join()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
