"""The cores this process may use."""

from __future__ import annotations

import os
from functools import lru_cache
from math import ceil
from pathlib import Path

#: Quota and period of a container's group, in microseconds (https://docs.kernel.org/admin-guide/cgroup-v2.html).
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@lru_cache(maxsize=1)
def available_cores() -> int:
    """Cores granted by the scheduler's mask and the container's quota, at least 1: a host's count is not our share."""
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(granted, _quota(_QUOTA) or granted))


def _quota(path: Path) -> int | None:
    try:
        quota, period = path.read_text().split()
        return ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no such group, or "max": no quota
        return None
