"""A grounded turn with a long history beside one with none: ``python -m bench.history [--history 150] [--asked 30]``.

The model is a local server that answers at once, so that only Ragline's own time is compared.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from tests.acceptance.stack import Stack, running
from tests.acceptance.topics import QUESTIONS, write_base
from tests.support.fake_openai import FakeOpenAI


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--history", type=int, default=150)
    parser.add_argument("--asked", type=int, default=30)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as scratch,
        FakeOpenAI() as provider,
        running(
            Path(scratch) / "data", OPENAI_API_KEY=provider.api_key, OPENAI_API_BASE=provider.api_base,
            RAGLINE__ANSWER__MODES="[grounded]", RAGLINE__ANSWER__GROUNDED_THRESHOLD="0",
            RAGLINE__KNOWLEDGE__DEMO="off", RAGLINE__LIMITS__PER_SENDER="100000",
        ) as stack,
    ):  # fmt: skip
        stack.ragline("kb", "import", str(write_base(Path(scratch) / "topics.jsonl")))
        for number in range(options.history):
            ask(stack, "long", number)
        long, short = [], []
        for number in range(options.asked):  # in turns, so that both have the same weather
            long.append(ask(stack, "long", number))
            short.append(ask(stack, f"new-{number}", number))
    with_, without = statistics.median(long), statistics.median(short)
    print(
        f"{options.history} turns of history: {with_ * 1000:.0f} ms, none: {without * 1000:.0f} ms; "
        f"ratio {with_ / without:.2f}"
    )


def ask(stack: Stack, conversation: str, number: int) -> float:
    body = {"conversation": conversation, "text": QUESTIONS[number % 20]}
    with stack.api() as api:
        began = time.perf_counter()
        found = api.post("/api/v1/messages?wait=20", json=body).json()
        took = time.perf_counter() - began
    assert found["status"] == "answered", found
    return took


if __name__ == "__main__":
    main()
