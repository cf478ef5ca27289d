"""What the recognisers of personal data find and what they cost: ``python -m bench.masking``."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from pipeline.masking.recognise import recognise
from tests.pipeline.masking.scoring import Score, read_written, score
from tests.support.personal_data import messages

WRITTEN = Path(__file__).parents[1] / "tests/pipeline/masking"
#: Of messages in the forms that the recognisers were written for.
SEED = 2026


def table(name: str, found: Score) -> None:
    print(f"\n{name}: {found.found.total()} of {found.seen.total()} identifiers, {found.recall:.1%};", end=" ")
    print(f"taken for one: {len(found.overmasked)} of {found.kept} that are none")
    for kind, seen in sorted(found.seen.items()):
        print(f"  {kind:10} {found.found[kind]:4} of {seen:4}")


def main() -> None:
    made = messages(SEED, 2_000)
    table("made from a seed", score(made))
    for name in ("written", "harder", "careless"):
        table(f"by hand, {name}.txt", score(read_written(WRITTEN / f"{name}.txt")))
    took = []
    for message in made:
        began = time.process_time()
        recognise(message.text)
        took.append((time.process_time() - began) * 1000)
    print(f"\na message of {statistics.fmean(len(message.text) for message in made):.0f} characters:", end=" ")
    print(f"median {statistics.median(took):.2f} ms of CPU, 99 of 100 below {sorted(took)[-20]:.2f} ms")


if __name__ == "__main__":
    main()
