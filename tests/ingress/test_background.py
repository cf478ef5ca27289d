"""Background coroutines come back after a failure."""

from __future__ import annotations

import asyncio

from ingress import background
from ingress.background import Background


def test_a_coroutine_that_fails_is_started_again(monkeypatch):
    monkeypatch.setattr(background, "SHORTEST", 0.01)
    runs = []

    async def poll():
        runs.append(1)
        if len(runs) < 4:
            raise RuntimeError("lost")
        await asyncio.sleep(60)

    async def scenario():
        running = Background()
        running.start("poller", poll)
        while len(runs) < 4:
            await asyncio.sleep(0.01)
        await running.close()

    asyncio.run(asyncio.wait_for(scenario(), 10))
    assert len(runs) == 4


def test_one_that_returns_is_done_and_closing_waits_for_clean_up():
    seen = []

    async def once():
        seen.append("once")

    async def forever():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            seen.append("clean")

    async def scenario():
        running = Background()
        running.start("once", once)
        running.start("forever", forever)
        await asyncio.sleep(0.05)
        await running.close()

    asyncio.run(scenario())
    assert seen == ["once", "clean"]
