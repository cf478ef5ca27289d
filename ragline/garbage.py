"""The garbage collector in a process that serves: what it has loaded stays, and what a request makes dies young."""

from __future__ import annotations

import gc

#: New objects between two looks at the youngest (Python's own is 700, less than a few requests at once make).
YOUNG = 20_000


def settle() -> None:
    """Leave what is loaded now out of every later collection; call it when the process is ready.

    Going through the modules' hundreds of thousands of objects again and again took an eighth of the ingress, and
    stopped it for up to a tenth of a second each time (https://docs.python.org/3/library/gc.html#gc.freeze).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 10, 10)
