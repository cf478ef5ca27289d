"""From the provider's first words to the widget: ``python -m bench.streaming [--asked 15] [--chats 4]``.

A real stack, a fake provider that streams a word every ``--pace`` seconds, and visitors on the widget's own events, who
ask one question after the other. Both clocks are this machine's. Every text is compared with what was stored.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.acceptance.stack import Stack, running
from tests.acceptance.topics import QUESTIONS, answer, write_base
from tests.support.fake_openai import FakeOpenAI

#: How often an answer says what its passage says, in three words: so it is borne out.
SAID = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--asked", type=int, default=15, help="questions of each visitor; 20 a minute are let in")
    parser.add_argument("--chats", type=int, default=4, help="visitors at once")
    parser.add_argument("--pace", type=float, default=0.02, help="seconds between two words")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as scratch,
        FakeOpenAI(latency=0.3, chunk_delay=options.pace) as provider,
        running(
            Path(scratch) / "data", OPENAI_API_KEY=provider.api_key, OPENAI_API_BASE=provider.api_base,
            RAGLINE__ANSWER__MODES="[grounded]", RAGLINE__ANSWER__GROUNDED_THRESHOLD="0", RAGLINE_QUIET_WINDOW="0",
            RAGLINE__KNOWLEDGE__DEMO="off", RAGLINE__LIMITS__PER_SENDER="100000",
        ) as stack,
    ):  # fmt: skip
        stack.ragline("kb", "import", str(write_base(Path(scratch) / "topics.jsonl")))
        warm = Visitor(stack)
        warm.ask(0, provider, 0)
        for chats in (1, options.chats):
            report(chats, measure(stack, provider, chats, options.asked))


def measure(stack: Stack, provider: FakeOpenAI, chats: int, asked: int) -> list[tuple[float, int]]:
    """Seconds from the provider's first words to the visitor's, and how many additions came, of each answer."""
    found: list[tuple[float, int]] = []

    def visit(number: int) -> None:
        visitor = Visitor(stack)
        for turn in range(asked):
            found.append(visitor.ask(turn % 20, provider, number))

    visits = [threading.Thread(target=visit, args=(number,)) for number in range(chats)]
    for thread in visits:
        thread.start()
    for thread in visits:
        thread.join()
    return found


def report(chats: int, found: list[tuple[float, int]]) -> None:
    delays = sorted(delay * 1000 for delay, _ in found)
    print(
        f"{chats} at once, {len(found)} answers of {SAID * 3 + 1} words: first words at the widget after "
        f"{statistics.median(delays):.0f} ms "
        f"(median; p90 {delays[int(len(delays) * 0.9) - 1]:.0f}, most {delays[-1]:.0f}), "
        f"{statistics.median(count for _, count in found):.0f} additions an answer",
        flush=True,
    )


class Visitor:
    """One open page: its session and its events."""

    def __init__(self, stack: Stack) -> None:
        self._http = httpx.Client(base_url=f"{stack.url}/widget/default", timeout=60, trust_env=False)
        token = self._http.post("/session", json={}).json()["token"]
        self._http.headers["Authorization"] = f"Bearer {token}"
        self._count = 0
        self._events = self._read()
        next(self._events)

    def ask(self, topic: int, provider: FakeOpenAI, number: int) -> tuple[float, int]:
        """Seconds, and additions, of the answer about ``topic``, whose first word no other answer has."""
        self._count += 1
        name = f"v{number}x{self._count}x{time.monotonic_ns()}"
        written = f"{name} {' '.join([answer(topic)] * SAID)}"
        asked = f"{QUESTIONS[topic]} ({name})"
        provider.enqueue(f"{written} [1]", match=name)
        self._http.post("/messages", json={"id": name, "text": asked}).raise_for_status()
        text, first, additions = "", 0.0, 0
        for kind, data in self._events:
            if kind == "delta":
                first = first or time.time()
                additions += 1
                assert data["offset"] == len(text), "something was lost or doubled"
                text += data["text"]
            if kind == "message" and data["role"] == "assistant":
                assert data["text"] == written, data
                assert data["text"].startswith(text)
                break
        return first - provider.first_words[name], additions

    def _read(self) -> Iterator[tuple[str, Any]]:
        with self._http.stream("GET", "/events") as response:
            kind = ""
            for line in response.iter_lines():
                if line.startswith(": open"):
                    yield "open", None
                elif line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    yield kind, json.loads(line.removeprefix("data: "))


if __name__ == "__main__":
    main()
