"""Supervision by the ``supervisor`` library, run inside this process.

What is ours: the configuration made from :class:`Part`, prefixed log lines, and a restart delay that grows to five
seconds and never gives up. See docs/decisions/0002-process-manager.md.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from supervisor import events
from supervisor.medusa.asyncore_25 import ExitNow
from supervisor.options import ServerOptions
from supervisor.states import ProcessStates, SupervisorStates
from supervisor.supervisord import Supervisor

from ragline.stack.folder import write_private
from ragline.stack.parts import Part

#: The longest pause before a part is started again, in seconds.
LONGEST_PAUSE = 5
#: Bytes of a part's log file before it is rotated.
LOG_BYTES = 10_000_000
_COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)


class Supervision:
    """Runs parts until it is told to stop. :meth:`run` takes the main thread, where signals arrive."""

    def __init__(self, parts: Sequence[Part], data: Path) -> None:
        self._parts = {part.name: part for part in parts}
        self._data = data
        self._width = max(len(part.name) for part in parts)
        self._unfinished: dict[str, str] = {}
        self._supervisor: Supervisor | None = None

    def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Start every part, and return when all have ended after SIGTERM, SIGINT or :meth:`stop`.

        ``started`` is called once the loop runs. A second signal while stopping kills what is left.
        """
        run = self._data / "run"
        logs = self._data / "logs"
        logs.mkdir(exist_ok=True)
        config = run / "supervisor.conf"
        write_private(config, self._config(logs))
        options = ServerOptions()
        options.realize(["-c", str(config)], doc="")
        options.logger = _Silent()
        options.first, options.test = True, False
        self._supervisor = _Impatient(options)
        options.make_logger = lambda: None
        add_group = self._supervisor.add_process_group
        subscribed = False

        def subscribe_first(group: Any) -> Any:
            nonlocal subscribed
            if not subscribed:  # run() has just cleared all subscriptions
                subscribed = True
                events.subscribe(events.ProcessLogEvent, self._on_log)
                events.subscribe(events.ProcessStateEvent, self._on_state)
                events.subscribe(events.SupervisorRunningEvent, lambda _: started())
            return add_group(group)

        self._supervisor.add_process_group = subscribe_first
        try:
            self._supervisor.main()
        except ExitNow:
            pass
        finally:
            for name, rest in self._unfinished.items():
                if rest:
                    self._print(name, rest)

    def stop(self) -> None:
        """Stop as SIGTERM would; safe from another thread."""
        if self._supervisor:
            self._supervisor.options.mood = SupervisorStates.SHUTDOWN

    def _config(self, logs: Path) -> str:
        lines = [
            "[supervisord]",
            "nodaemon=true",
            "silent=true",
            f"logfile={logs / 'supervisor.log'}",
            f"pidfile={self._data / 'run' / 'supervisor.pid'}",
            "nocleanup=true",
        ]
        for part in self._parts.values():
            environment = ",".join(f'{key}="{_escape(value)}"' for key, value in part.environment.items())
            lines += [
                f"[program:{part.name}]",
                f"command={' '.join(_quote(word) for word in part.command)}",
                f"autorestart={'unexpected' if part.once else 'true'}",
                "exitcodes=0",
                f"startsecs={0 if part.once else 1}",
                "startretries=1000000000",
                "stopsignal=TERM",
                f"stopwaitsecs={part.grace}",
                "stopasgroup=false",
                "killasgroup=true",
                "redirect_stderr=true",
                f"stdout_logfile={logs / (part.name + '.log')}",
                f"stdout_logfile_maxbytes={LOG_BYTES}",
                "stdout_logfile_backups=3",
                "stdout_events_enabled=true",
                f'environment=RAGLINE_COMPONENT="{part.name}"{"," + environment if environment else ""}',
            ]
        for tier in sorted({part.tier for part in self._parts.values()}):
            members = ",".join(part.name for part in self._parts.values() if part.tier == tier)
            lines += [f"[group:tier{tier}]", f"programs={members}", f"priority={tier}"]
        return "\n".join(lines) + "\n"

    def _on_log(self, event: Any) -> None:
        data = event.data if isinstance(event.data, str) else event.data.decode("utf-8", "replace")
        name = event.process.config.name
        *lines, rest = (self._unfinished.get(name, "") + data).split("\n")
        self._unfinished[name] = rest
        for line in lines:
            self._print(name, line)

    def _on_state(self, event: Any) -> None:
        process = event.process
        if isinstance(event, events.ProcessStateBackoffEvent):
            pause = min(process.backoff, LONGEST_PAUSE)
            process.backoff = pause
            process.delay = time.time() + pause
            self._print(process.config.name, f"ended at once; starting again in {pause} s")
        elif isinstance(event, events.ProcessStateExitedEvent) and not event.expected:
            self._print(process.config.name, "ended unexpectedly; starting again")

    def _print(self, name: str, line: str) -> None:
        label = f"{name:<{self._width}} |"
        if sys.stdout.isatty():
            label = f"\x1b[{_COLOURS[list(self._parts).index(name) % len(_COLOURS)]}m{label}\x1b[0m"
        print(label, line.rstrip("\r"), flush=True)


class _Impatient(Supervisor):  # type: ignore[misc]
    """A supervisor that a second signal makes kill instead of wait."""

    def handle_signal(self) -> None:
        already = self.options.mood < SupervisorStates.RUNNING
        waiting = list(self.options.signal_receiver._signals_recvd)
        super().handle_signal()
        if already and any(signal in (2, 15) for signal in waiting):
            for group in self.process_groups.values():
                for process in group.get_unstopped_processes():
                    if process.get_state() in (ProcessStates.STOPPING, ProcessStates.RUNNING, ProcessStates.STARTING):
                        process.kill(9)


class _Silent:
    """Takes the place of supervisor's own log: what happens to a part is printed by :class:`Supervision`."""

    handlers: tuple[()] = ()

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


def _escape(text: str) -> str:
    return text.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')


def _quote(word: str) -> str:
    return f'"{_escape(word)}"'
