"""One page as files of other kinds, none of which loses a pixel: what reads them must find the same on each."""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

MEDIA_TYPES: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
}
KINDS: Final = ("deep.png", "plain.bmp", "plain.tif", "four_channels.tif", "deep.tif", "lossless.webp")
_LOSSLESS: Final = 101
"""Beyond every quality of WebP, as OpenCV has it."""


def as_kind(page: npt.NDArray[np.uint8], kind: str) -> bytes:
    """Encode a BGR page: with 16 bits a channel, with a channel more, or in another format."""
    pixels: npt.NDArray[Any] = page
    if kind.startswith("deep"):
        pixels = page.astype(np.uint16) * 257
    if kind.startswith("four_channels"):  # of which nothing says that the last is transparency
        alpha = np.linspace(1, 255, page.shape[1]).astype(np.uint8)[None, :, None]
        pixels = np.dstack([page, np.broadcast_to(alpha, (*page.shape[:2], 1))])
    suffix = kind[kind.rindex(".") :]
    encoded, data = cv2.imencode(suffix, pixels, [cv2.IMWRITE_WEBP_QUALITY, _LOSSLESS] if suffix == ".webp" else [])
    assert encoded
    return bytes(data)
