"""A long run: ``python -m tests.chaos --database sqlite --messages 5000 --kills 80 --flushes 8 --seed 1``."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.harness import run
from tests.chaos.plan import make_plan


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=80)
    parser.add_argument("--flushes", type=int, default=8)
    parser.add_argument("--rate", type=float, default=5, help="messages a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, help="an empty folder for data and logs, kept; default: a temporary one")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    plan = make_plan(
        chosen.seed, messages=chosen.messages, kills=chosen.kills, flushes=chosen.flushes, rate=chosen.rate
    )
    folder = chosen.data or Path(tempfile.mkdtemp(prefix="ragline-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"seed {plan.seed}, {chosen.database}, {plan.seconds:.0f} s of load; data in {folder}", file=sys.stderr)
    report = run(chosen.database, plan, folder)
    print(json.dumps({"seed": plan.seed, "database": chosen.database, **report.json()}, indent=1)
          if chosen.json else report.table())  # fmt: skip
    if report.violations:
        print("\n".join(report.timeline), file=sys.stderr)
        print(f"FAILED with seed {plan.seed}; logs in {folder / 'data' / 'logs'}", file=sys.stderr)
        return 1
    if not chosen.data:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
