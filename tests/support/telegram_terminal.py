"""Talk to a bot in the terminal, without Telegram: `python -m tests.support.telegram_terminal --port 8081`.

It starts a fake Bot API in polling mode and prints the environment to start a stack with. What is typed goes
to the bot as chat 1; replies are printed as they come, a typing action as `…`, buttons as `[1] text`; the
line `#1` presses button 1 of the newest reply that has any. With piped input each line is sent in turn and
its reply awaited: exit code 0 at the end of the input, 1 as soon as a reply does not come within `--timeout`
seconds.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from tests.support.fake_telegram import TOKEN, Action, FakeTelegram, Sent
from tests.support.server import JSON, arguments

CHAT = 1


def environment(fake: FakeTelegram) -> dict[str, str]:
    """What a stack needs to take this fake for Telegram."""
    return {
        "TELEGRAM_API_BASE": fake.url,
        "TELEGRAM_BOT_TOKEN": fake.token,
        "TELEGRAM_MODE": "polling",
    }


def buttons(message: Sent) -> list[JSON]:
    """The inline buttons of a message, row by row."""
    rows = (message.reply_markup or {}).get("inline_keyboard", [])
    return [button for row in rows for button in row]


class Terminal:
    """The customer's side of chat 1: sends lines, prints what the bot does, each thing once and in order."""

    def __init__(self, fake: FakeTelegram, out: TextIO) -> None:
        self._fake, self._out = fake, out
        self._sent = self._edited = self._actions = 0

    def say(self, line: str) -> bool:
        """Send a line, or press the button it names; False if there is no such button."""
        choice = line.removeprefix("#")
        if line.startswith("#") and choice.isdecimal():
            shown = [item for item in self._fake.sent if item.chat_id == CHAT and buttons(item)]
            offered = buttons(shown[-1]) if shown else []
            if not 1 <= int(choice) <= len(offered):
                self._print("no such button")
                return False
            data = offered[int(choice) - 1].get("callback_data", "")
            self._fake.user_presses(CHAT, data, shown[-1].message_id)
        else:
            self._fake.user_says(CHAT, line)
        return True

    def replies(self) -> int:
        """How many messages (edited ones included) the bot has sent to the chat."""
        with self._fake.lock:
            return sum(item.chat_id == CHAT for item in (*self._fake.sent, *self._fake.edited))

    def show(self) -> None:
        """Print what is new."""
        with self._fake.lock:
            typing = self._fake.chat_actions[self._actions :]
            sent, edited = self._fake.sent[self._sent :], self._fake.edited[self._edited :]
            self._actions += len(typing)
            self._sent += len(sent)
            self._edited += len(edited)
        events: list[Sent | Action] = [*typing, *sent, *edited]
        for event in sorted(events, key=lambda item: item.at):
            if event.chat_id != CHAT:
                continue
            if isinstance(event, Action):
                self._print("…")
                continue
            self._print(f"bot: {event.text}" if event.kind == "text" else f"bot: [{event.kind}] {event.text}")
            for number, button in enumerate(buttons(event), start=1):
                self._print(f"  [{number}] {button.get('text', '')}")

    def wait_new(self, timeout: float) -> bool:
        """Whether something was there to be shown within `timeout` seconds."""
        fake = self._fake

        def new() -> bool:
            counts = (len(fake.sent), len(fake.edited), len(fake.chat_actions))
            return counts != (self._sent, self._edited, self._actions)

        try:
            return fake.wait_for(new, timeout, "news")
        except TimeoutError:
            return False

    def converse(self, lines: TextIO, timeout: float, settle: float) -> bool:
        """Send each line and await its reply; False when one did not come in time.

        A reply counts as whole once nothing followed it for `settle` seconds.
        """
        for line in lines:
            if not line.strip():
                continue
            self._print(f"you: {line.strip()}")
            before, deadline = self.replies(), time.monotonic() + timeout
            if not self.say(line.strip()):
                return False
            while self.replies() == before:
                if not self.wait_new(max(0.0, deadline - time.monotonic())):
                    self._print(f"no reply within {timeout:g} s")
                    return False
                self.show()
            while self.wait_new(settle):
                self.show()
        return True

    def chat(self, read: Callable[[], str]) -> None:
        """Read lines until the end of the input, printing what the bot does meanwhile."""
        over = threading.Event()

        def follow() -> None:
            while not over.is_set():
                if self.wait_new(0.2):
                    self.show()

        follower = threading.Thread(target=follow, name="terminal", daemon=True)
        follower.start()
        try:
            while True:
                line = read().strip()
                if line:
                    self.say(line)
        except (EOFError, KeyboardInterrupt):
            return
        finally:
            over.set()
            follower.join()

    def _print(self, text: str) -> None:
        print(text, file=self._out, flush=True)


def main() -> int:
    """Run the terminal; the exit code is 1 when a piped line got no reply."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--token", default=TOKEN)
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for a reply (piped input)")
    parser.add_argument("--settle", type=float, default=1.0, help="seconds of quiet that end a reply (piped input)")
    options = parser.parse_args()
    with FakeTelegram(options.token, port=options.port) as fake:
        for name, value in environment(fake).items():
            print(f"export {name}={value}", flush=True)
        terminal = Terminal(fake, sys.stdout)
        if sys.stdin.isatty():
            print("Start the stack with these, then type. Ctrl-D ends.", flush=True)
            terminal.chat(input)
            return 0
        return 0 if terminal.converse(sys.stdin, options.timeout, options.settle) else 1


if __name__ == "__main__":
    sys.exit(main())
