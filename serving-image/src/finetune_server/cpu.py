"""How many CPUs this container may use: its cgroup's quota, never more than its affinity mask."""

from __future__ import annotations

import os
from pathlib import Path


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Whole CPUs by quota (cgroup v2, then v1), at least 1.

    Rounded down: threads that run in lockstep gain nothing from half a CPU, and a quota that is
    overrun throttles all of them for the rest of the period.
    """
    allowed = len(os.sched_getaffinity(0))
    quota = _quota_v2(cgroup / "cpu.max") or _quota_v1(cgroup / "cpu")
    return max(1, min(allowed, int(quota))) if quota else allowed


def _quota_v2(path: Path) -> float | None:
    match _words(path):
        case [quota, period] if quota.isdigit() and period.isdigit() and int(period) > 0:
            return int(quota) / int(period)
        case _:  # "max 100000": no limit
            return None


def _quota_v1(directory: Path) -> float | None:
    match [*_words(directory / "cpu.cfs_quota_us"), *_words(directory / "cpu.cfs_period_us")]:
        case [quota, period] if quota.isdigit() and period.isdigit() and int(period) > 0:
            return int(quota) / int(period)
        case _:  # "-1": no limit
            return None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []
