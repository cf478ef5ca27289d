"""Talk to the demo shop's Telegram bot in the terminal, without Telegram: ``python -m tests.support.demo_telegram``.

Starts a fake Bot API and a whole stack on a folder that is thrown away. Piped input is sent line by line.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.fake_telegram import FakeTelegram
from tests.support.telegram_terminal import Terminal, environment


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="ragline-demo-") as scratch, FakeTelegram() as telegram:
        data, log = Path(scratch) / "data", Path(scratch) / "stack.log"
        with log.open("wb") as out:
            stack = subprocess.Popen(
                [sys.executable, "-m", "ragline.cli", "up", "--data", str(data)],
                stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                env={**os.environ, **environment(telegram), "PORT": "0", "FLOWER_PORT": "0"},
            )  # fmt: skip
        try:
            print("Starting Ragline with a bot of its own ...", flush=True)
            while not (data / "stack.json").exists():
                if stack.poll() is not None:
                    print(log.read_text(errors="replace")[-3000:], file=sys.stderr)
                    return 1
                time.sleep(0.1)
            print("Write to the bot; Ctrl-D ends. Try: How long does delivery take?", flush=True)
            terminal, answered = Terminal(telegram, sys.stdout), True
            if sys.stdin.isatty():
                terminal.chat(input)
            else:
                answered = terminal.converse(sys.stdin, timeout=60, settle=1)
        except KeyboardInterrupt:
            answered = True
        finally:
            stack.terminate()
            stack.wait(40)
    return 0 if answered else 1


if __name__ == "__main__":
    sys.exit(main())
