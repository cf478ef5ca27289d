"""Wake-ups over a real Redis, and what is left without one."""

from __future__ import annotations

import asyncio
import contextlib
import time

from ingress.wakeups import CHANNEL, Wakeups, wait_for


@contextlib.asynccontextmanager
async def listening(wakeups, redis, subscribers=1):
    task = asyncio.create_task(wakeups.run())
    try:
        await _until(lambda: redis.pubsub_numsub(CHANNEL)[0][1] == subscribers)
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _until(true, seconds=10):
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(true):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def test_only_those_who_wait_for_the_conversation_are_woken(redis_url, redis):
    async def scenario():
        wakeups = Wakeups(redis_url)
        async with (
            listening(wakeups, redis),
            wakeups.watch("a") as a,
            wakeups.watch("a") as a2,
            wakeups.watch("b") as b,
        ):
            redis.publish(CHANNEL, "nobody")
            redis.publish(CHANNEL, "a")
            await asyncio.wait_for(asyncio.gather(a.wait(), a2.wait()), 5)
            return b.is_set()

    assert asyncio.run(scenario()) is False


def test_one_event_for_several_keys_and_nothing_is_left_behind(redis_url):
    async def scenario():
        wakeups = Wakeups(redis_url)
        async with wakeups.watch("a") as event, wakeups.watch("b", event) as same:
            assert same is event
            wakeups.wake("b")
            assert event.is_set()
        return dict(wakeups._waiting)

    assert asyncio.run(scenario()) == {}


def test_a_connection_that_is_cut_is_made_again_and_everybody_looks_once(redis_url, redis):
    async def scenario():
        wakeups = Wakeups(redis_url)
        async with listening(wakeups, redis), wakeups.watch("a") as event:
            redis.client_kill_filter(_type="pubsub")
            await asyncio.wait_for(event.wait(), 10)  # something may have been missed
            event.clear()
            redis.publish(CHANNEL, "a")
            await asyncio.wait_for(event.wait(), 10)
            return True

    assert asyncio.run(scenario())


def test_without_redis_a_waiter_polls():
    async def scenario():
        wakeups = Wakeups("redis://127.0.0.1:9/0")
        task = asyncio.create_task(wakeups.run())
        begun = time.monotonic()
        async with wakeups.watch("a") as event:
            await wait_for(event, 0.3)
        took = time.monotonic() - begun
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])
        return took

    assert 0.25 < asyncio.run(scenario()) < 2


def test_stopping_wakes_those_who_wait_and_those_who_come_later():
    async def scenario():
        wakeups = Wakeups(None)
        await wakeups.run()  # nothing to listen to
        async with wakeups.watch("a") as event:
            wakeups.stop()
            await asyncio.wait_for(event.wait(), 1)
        async with wakeups.watch("b") as late:
            return late.is_set() and wakeups.stopping

    assert asyncio.run(scenario())
