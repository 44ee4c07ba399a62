"""The digest of decoded pixels, by which pages of one picture are known as one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import numpy as np

from ..preprocess import Page

_SLICE_BYTES: Final = 512 * 1024
"""Of pixels that are digested at once, which takes half a millisecond."""


def pixels_digest(page: Page, between: Callable[[], None] = lambda: None) -> str:
    """Return the digest of decoded pixels, as the trainer makes it of every page: equal in files of one picture.

    `between` is called before each half a millisecond of it: who else needs the CPU then gets it.
    """
    height, width = page.shape[:2]
    digest = hashlib.sha256(f"{width}x{height}:".encode())
    pixels = np.ascontiguousarray(page).data.cast("B")
    for start in range(0, len(pixels), _SLICE_BYTES):
        between()
        digest.update(pixels[start : start + _SLICE_BYTES])
    return digest.hexdigest()
