"""One protection off, in the real processes: proof that the chaos test would notice.

:func:`environment` makes a ``sitecustomize.py`` that calls :func:`install` in every Python process of a stack; there
a module is altered the moment it has been imported. The product knows nothing of it.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]


def _without_dedup(inbox: ModuleType) -> None:
    """Every delivery is a message of its own."""
    accept = inbox.accept

    def each_as_new(connection: Any, envelopes: Sequence[Any], now: Any) -> Any:
        changed = [
            one.model_copy(update={"external_id": f"{one.external_id}.{one.id}", "update_key": one.id})
            for one in envelopes
        ]
        return accept(connection, changed, now)

    inbox.accept = each_as_new  # type: ignore[attr-defined]


def _without_compare_and_set(steps: ModuleType) -> None:
    """Whoever wants a step of an active turn gets it, whoever holds it and whether it is done."""
    claim, turns = steps.claim, steps.turns

    def always(connection: Any, turn_id: str, step: str, **options: Any) -> Any:
        active = (turns.c.id == turn_id) & (turns.c.status == "processing")
        connection.execute(turns.update().where(active).values(lease=None, step=step))
        return claim(connection, turn_id, step, **options)

    steps.claim = always  # type: ignore[attr-defined]


def _without_sweeper(sweeper: ModuleType) -> None:
    """What was lost on the way stays lost."""
    sweeper.sweep = lambda runtime, app: []  # type: ignore[attr-defined]


def _lease_for_ever(module: ModuleType) -> None:
    """What a dead process held is never taken over."""

    def lasting(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **options: function(*args, **{**options, "lease": timedelta(days=1)})

    for name in ("claim", "extend"):
        setattr(module, name, lasting(getattr(module, name)))


def _poison(module: ModuleType) -> None:
    """A message that kills whatever process classifies it."""
    classify = module.classify

    def deadly(turn: Any, **options: Any) -> Any:
        if any("POISON" in message.text for message in turn.messages):
            os.kill(os.getpid(), signal.SIGKILL)
        return classify(turn, **options)

    module.classify = deadly  # type: ignore[attr-defined]


#: By the name of what is taken away: the module, and what is done to it.
SABOTAGE: dict[str, dict[str, Callable[[ModuleType], None]]] = {
    "dedup": {"storage.inbox": _without_dedup},
    "claim": {"storage.steps": _without_compare_and_set},
    "sweeper": {"workers.sweeper": _without_sweeper},
    "poison": {"pipeline.steps.classify": _poison},
    "lease": {"storage.steps": _lease_for_ever, "storage.outbox": _lease_for_ever},
}


def environment(what: str, folder: Path) -> dict[str, str]:
    """The environment of a stack without the protection ``what``."""
    assert what in SABOTAGE
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"from tests.chaos.sabotage import install\ninstall({what!r})\n")
    return {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}


def install(what: str) -> None:
    """Alter the modules named in :data:`SABOTAGE` as they are imported in this process."""
    sys.meta_path.insert(0, _Finder(SABOTAGE[what]))


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, changes: dict[str, Callable[[ModuleType], None]]) -> None:
        self._changes = changes

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        change = self._changes.get(fullname)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target) if change else None
        if spec is None or spec.loader is None or change is None:
            return None
        execute, alter = spec.loader.exec_module, change

        def executed(module: ModuleType) -> None:
            execute(module)
            alter(module)

        spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec
