"""CPU quotas of cgroups v2 and v1, and the threads that trainer and server use on a node of four CPUs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

AFFINITY: Final = 4
"""CPUs of the node that the scheduler lets the container run on."""

QUOTAS: Final[tuple[tuple[dict[str, str], int], ...]] = (
    ({}, AFFINITY),
    ({"cpu.max": "max 100000\n"}, AFFINITY),
    ({"cpu.max": "50000 100000\n"}, 1),
    ({"cpu.max": "100000 100000\n"}, 1),
    ({"cpu.max": "150000 100000\n"}, 2),
    ({"cpu.max": "200000 100000\n"}, 2),
    ({"cpu.max": "290000 100000\n"}, 3),
    ({"cpu.max": "6400000 100000\n"}, AFFINITY),
    ({"cpu.max": "nonsense"}, AFFINITY),
    ({"cpu.max": "100000 0\n"}, AFFINITY),
    ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, AFFINITY),
    ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ({"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ({"cpu/cpu.cfs_quota_us": "250000\n"}, AFFINITY),
    ({"cpu.max": "max 100000\n", "cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
)
"""The files of a cgroup, and the threads.

A quota is rounded up. Rounded down, a container of 1.9 CPUs would leave 0.9 of them idle, always. Rounded up, its
threads are throttled for the rest of a period now and then, and all of the quota is used. Threads that wait for
work use none of it: in both members none spins between two pages.
"""


def write(cgroup: Path, files: dict[str, str]) -> None:
    """Write the files of a cgroup."""
    for name, text in files.items():
        (cgroup / name).parent.mkdir(parents=True, exist_ok=True)
        (cgroup / name).write_text(text)
