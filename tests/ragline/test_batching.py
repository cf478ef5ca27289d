"""Calls of several threads go together, each caller gets its own result, and a lone call waits for nobody."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from ragline.batching import Batched


def test_what_waits_goes_together_and_each_gets_its_own() -> None:
    sizes: list[int] = []
    open_gate = threading.Event()

    def double(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        open_gate.wait(5)
        return [item * 2 for item in items]

    batched = Batched(double, most=4)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(batched, 0)
        while not sizes:
            time.sleep(0.001)
        rest = [pool.submit(batched, number) for number in range(1, 9)]
        while len(batched._waiting) < 8:
            time.sleep(0.001)
        open_gate.set()
        assert first.result(5) == 0
        assert [future.result(5) for future in rest] == [number * 2 for number in range(1, 9)]
    assert sizes == [1, 4, 4]


def test_an_error_reaches_its_callers_and_the_next_call_works() -> None:
    def work(items: Sequence[int]) -> list[int]:
        if 13 in items:
            raise ValueError("unlucky")
        return list(items)

    batched = Batched(work, most=4)
    with pytest.raises(ValueError, match="unlucky"):
        batched(13)
    assert batched(1) == 1
