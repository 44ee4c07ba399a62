"""What C libraries write to standard error, which is how libjpeg says that it made up what it could not read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import cv2

_TIFF_ERROR: Final = re.compile(rb"TIFF_Error (?!_?TIFF(?:Fetch|ReadDirectory|VSetField))(.*)")
"""What libtiff says of a picture's data; what it says of tags that it does not need is left out."""

_JPEG_ENDS: Final = re.compile(rb"(?i)premature end of (?:JPEG file|data segment)")
"""What libjpeg says where it goes on with grey."""

_FAX_ENDS: Final = re.compile(rb"TIFF_Warning ((?:Fax[^:]*: (?:Warning, )?Premature EOF|Fax4[^:]*: Premature EOL).*)")
"""A row of group 4 code has no end of its own, so that of the page came; of group 3 a bad line may have lost a row."""


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


@contextmanager
def opencv_speaks() -> Iterator[None]:
    """Have OpenCV pass on what libraries warn of, which the server has it keep to itself."""
    kept = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_WARNING)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(kept)


def tiff_damage(said: list[bytes]) -> str | None:
    """Return what libtiff could not read of a picture, for which it leaves black or white; None when it read all."""
    text = b"".join(said)
    match = _TIFF_ERROR.search(text) or _FAX_ENDS.search(text)
    return match[1].decode(errors="replace")[:200].rstrip(": ") if match else None


def jpeg_damage(said: list[bytes]) -> str | None:
    """Return what libjpeg lacked of a picture; None when it had all."""
    match = _JPEG_ENDS.search(b"".join(said))
    return match[0].decode() if match else None
