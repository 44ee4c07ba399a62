"""What C libraries write to standard error, which is how libjpeg says that it made up what it could not read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_JPEG_ENDS: Final = re.compile(rb"(?i)premature end of (?:JPEG file|data segment)")
"""What libjpeg says where it goes on with grey."""


@contextmanager
def standard_error() -> Iterator[list[bytes]]:
    """Catch it; filled when the block ends. For a process with one thread: the descriptor is everybody's."""
    said: list[bytes] = []
    caught, kept = os.memfd_create("complaints"), os.dup(2)
    os.dup2(caught, 2)
    try:
        yield said
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        said.append(os.pread(caught, 1 << 16, 0))
        os.close(caught)


def jpeg_damage(said: list[bytes]) -> str | None:
    """Return what libjpeg lacked of a picture; None when it had all."""
    match = _JPEG_ENDS.search(b"".join(said))
    return match[0].decode() if match else None
