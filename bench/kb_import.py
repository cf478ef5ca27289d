"""Knowledge import beside the bare encoder on the same texts in the same run.

    python -m bench.kb_import [FILE] [--runs 3]

FILE is a knowledge file (default: 15,000 made-up questions). Each run imports it into a new base on embedded parts
with the command users have, ``ragline kb import --compare``, and prints both rates and their ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

WORDS = """
    order delivery card account refund kettle price shop parcel courier warranty repair change cancel address phone
    invoice password bonus code gift fridge washing machine filter city region day week money bank return exchange
"""


def made_up(path: Path, rows: int = 15_000) -> Path:
    """Questions of about the length customers write."""
    dice, words = random.Random(0), WORDS.split()
    with path.open("w") as out:
        for number in range(rows):
            question = " ".join(dice.choices(words, k=dice.randint(4, 14))) + f" {number}"
            out.write(json.dumps({"answer_id": f"a{number % 150}", "question": question, "answer": None}) + "\n")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    ratios = []
    for run in range(options.runs):
        with tempfile.TemporaryDirectory() as scratch:
            path = options.file or made_up(Path(scratch) / "kb.jsonl")
            command = [sys.executable, "-m", "ragline.cli", "kb", "import", str(path), "--compare", "--json"]
            environment = {**os.environ, "RAGLINE_DATA": str(Path(scratch) / "data"), "RAGLINE_CONFIG": os.devnull}
            done = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
        ratios.append(done["ratio"])
        print(
            f"run {run + 1}: {done['texts_indexed']} texts in {done['seconds']} s, "
            f"{done['texts_per_second']} a second; "
            f"bare encoder {done['bare_encoder_texts_per_second']} a second; ratio {done['ratio']}"
        )
    print(f"median ratio {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
