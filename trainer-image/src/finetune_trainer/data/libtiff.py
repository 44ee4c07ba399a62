"""What libtiff says of a page's data that it could not read.

Trainer and server have the same copy of this file (tests/contract compares them).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import cv2

_ERROR: Final = re.compile(r"TIFF_Error (?!_?TIFF(?:Fetch|ReadDirectory|VSetField))(.*)")
"""What it says of a picture's data; what it says of tags that it does not need is left out."""

_FAX_ENDS: Final = re.compile(r"TIFF_Warning ((?:Fax[^:]*: (?:Warning, )?Premature EOF|Fax4[^:]*: Premature EOL).*)")
"""A row of group 4 code has no end of its own, so that of the page came; of group 3 a bad line may have lost a row."""


@contextmanager
def opencv_speaks() -> Iterator[None]:
    """Have OpenCV pass on what libtiff says, whatever its environment says (OPENCV_LOG_LEVEL)."""
    kept = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_WARNING)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(kept)


def tiff_damage(said: str) -> str | None:
    """Return what libtiff could not read of a picture, for which it leaves black or white; None when it read all."""
    match = _ERROR.search(said) or _FAX_ENDS.search(said)
    return match[1][:200].rstrip(": ") if match else None
