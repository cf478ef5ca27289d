"""A process that spends a budget: `python -m tests.support.spender DATABASE_URL` makes calls until it is refused.

Four threads, each with a sender of its own. Prints how many calls were made.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from pipeline.errors import BudgetSpent
from pipeline.metering import Spending
from pipeline.spending import Quote, Used
from ragline.logs import configure_logging
from ragline.settings import Settings
from storage.session import Database, make_engine
from storage.spending import Payer

#: A token in costs 0.001, one out 0.01: the call below 0.5 at most and 0.1 mostly.
PRICES = {"openai/m": {"input": 1000, "output": 10_000}}
QUOTE = Quote("openai/m", "answer", "text", tokens_in=100, max_tokens_out=40)
USED = Used(tokens_in=80, tokens_out=2, cost=None)
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def make(database: Database, clock: Callable[[], datetime], *, wait: float = 0, **budget: Any) -> Spending:
    """What meters are made from; ``budget`` as in the settings."""
    values = {"budget": {"wait": wait, **budget}, "llm": {"prices": PRICES}}
    return Spending(database, Settings.model_validate(values), lambda model: None, clock)


def spend(spending: Spending, payer: Payer) -> None:
    """One call."""
    spending.meter(payer).reserve(QUOTE).settle(USED, ms=5)


def main(url: str) -> None:
    configure_logging("WARNING", out=sys.stderr)
    database = Database(make_engine(url, durable=False))
    spending = make(database, lambda: NOON, wait=20, day=3, sender={"month": 3})

    def work(number: int) -> int:
        made = 0
        while True:
            try:
                spend(spending, Payer(channel="api", account="default", sender=f"sender {number}"))
            except BudgetSpent:
                return made
            made += 1

    with ThreadPoolExecutor(4) as pool:
        print(sum(pool.map(work, range(4))))
    database.close()


if __name__ == "__main__":
    main(sys.argv[1])
