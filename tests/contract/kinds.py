"""One page as files of other kinds, none of which loses a pixel: what reads them must find the same on each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
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

PIXELS_BY_RULE: Final = {2: "f6bfbb733d17f6b2aa610d2eb29b85a5c4243b8811a32234cc76730868bd95e3"}
"""What the lossless pages of the fixture are by the rule of that number: see `pixels_digest`."""


def pixels_digest(decode: Callable[[bytes], npt.NDArray[np.uint8] | None]) -> str:
    """Return the sha256 of what the lossless pages of the fixture are decoded to: other pixels need another rule."""
    whole = hashlib.sha256()
    for path in sorted((Path(__file__).parent / "fixtures" / "pages").iterdir()):
        if path.suffix != ".jpg":
            page = decode(path.read_bytes())
            assert page is not None
            whole.update(f"{path.name} {page.shape}".encode() + page.tobytes())
    return whole.hexdigest()


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
