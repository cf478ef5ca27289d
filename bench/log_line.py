"""What a log line costs, with and without its last defence: ``python -m bench.log_line``."""

from __future__ import annotations

import io
import timeit

from ragline.logs import configure_logging, get_logger
from ragline.redaction import redacted

ID = "019acb4e-1234-7890-8123-123456789012"
EVENT = {
    "turn_id": ID, "conversation_id": ID, "channel": "api", "step": "generate", "message_ids": [ID, ID], "attempt": 1,
    "error": "openai/gpt-4.1-mini did not answer (500)", "seconds": 0.5, "timestamp": "2026-11-28T01:16:52.123456Z",
    "logger": "workers.steps", "level": "warning", "event": "step_retried",
}  # fmt: skip
#: A vendor's message with something in it to take out, as long as messages get.
VENDOR = {"error": "POST https://api.example/v1/send: 400, phone +7 (916) 123-45-67, " + "some more words " * 20}
TIMES = 5_000


def each(work: object) -> float:
    """Microseconds of one call: the best of five rounds."""
    return min(timeit.repeat(work, number=TIMES, repeat=5)) / TIMES * 1e6  # type: ignore[arg-type]


def main() -> None:
    out = io.StringIO()
    configure_logging("INFO", "json", out)
    log = get_logger("bench")
    fields = {key: value for key, value in EVENT.items() if key not in ("timestamp", "logger", "level", "event")}
    print(f"a line of a step, all of it: {each(lambda: log.warning('step_retried', **fields)):.1f} us")
    for name, event in (("of a step", EVENT), ("with a vendor's message", VENDOR)):
        took = each(lambda e=event: [redacted(key, value) for key, value in e.items()])  # type: ignore[misc]
        print(f"redaction of a line {name}: {took:.1f} us")


if __name__ == "__main__":
    main()
