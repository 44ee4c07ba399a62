"""The CPUs that this container may use, by its quota and its affinity mask, and the threads to compute with."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cpus:
    """The CPUs that the container may use, and how many threads a model computes with."""

    available: int
    threads: int


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the CPUs by quota (cgroup v2, then v1), at least 1; `os.cpu_count()` would return the node's.

    Rounded up, in trainer and server alike. Rounded down, a container of 1.9 CPUs would leave 0.9 idle, always. Rounded
    up, its threads are throttled for the rest of a period now and then, and all of the quota is used: threads that
    wait for work use none of it: in both members none spins between two pages.
    """
    allowed = len(os.sched_getaffinity(0))
    quota = _quota_v2(cgroup / "cpu.max") or _quota_v1(cgroup / "cpu")
    return min(allowed, max(1, math.ceil(quota))) if quota else allowed


def cpus_of(omp_num_threads: str | None, cgroup: Path = Path("/sys/fs/cgroup")) -> Cpus:
    """Return the CPUs, and as threads what OMP_NUM_THREADS says: of a list, which OpenMP takes too, its first number.

    Unset, or no number from 1 on: as many as CPUs. More threads than CPUs would only wait for each other.
    """
    available = available_cpus(cgroup)
    first = (omp_num_threads or "").partition(",")[0].strip()
    wanted = int(first) if first.isascii() and first.isdigit() and len(first) < 10 else 0
    return Cpus(available, min(wanted or available, available))


def _quota_v2(path: Path) -> float | None:
    match _words(path):
        case [quota, period] if quota.isdigit() and period.isdigit() and int(period) > 0:
            return int(quota) / int(period)
        case _:  # "max 100000": no limit
            return None


def _quota_v1(folder: Path) -> float | None:
    match [*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")]:
        case [quota, period] if quota.isdigit() and period.isdigit() and int(period) > 0:
            return int(quota) / int(period)
        case _:  # "-1": no limit
            return None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []
