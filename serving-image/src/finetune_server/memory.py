"""The memory that this container may use: its cgroup's limit, never more than the machine's."""

from __future__ import annotations

import os
from pathlib import Path


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
