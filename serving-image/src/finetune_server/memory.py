"""The memory that this container may use: its cgroup's limit, never more than the machine's."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_FIRST_TO_GO: Final = "1000"
"""Highest score for the kernel's choice when the container runs out of memory."""


def available_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes by limit (cgroup v2, then v1), else those of the machine."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in (cgroup / "memory.max", cgroup / "memory" / "memory.limit_in_bytes"):
        try:
            text = path.read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():  # "max": no limit
            return min(machine, int(text))
    return machine


def be_first_to_go() -> None:
    """Have the kernel end this process before others of the container when memory runs out."""
    with suppress(OSError):  # a kernel that does not let us: a process that calls this has limits of its own
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")
