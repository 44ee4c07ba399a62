"""Checking that an image can be decoded by everything that will read it."""

from __future__ import annotations

import io
from typing import Final

import cv2
import numpy as np
from PIL import Image

IMAGE_SUFFIXES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Of the files that are taken for pages."""

_SMALLEST: Final = 10
"""Pixels of a side; ultralytics drops smaller images."""


def image_problem(data: bytes) -> str | None:
    """Return why these bytes are no usable page, or None.

    Pillow tries them, which training scans with, and OpenCV, which all decode with.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            size = image.size
            image.verify()
    except Exception as error:  # noqa: BLE001 - Pillow raises many kinds for damaged files
        return f"{type(error).__name__}: {error}"
    if min(size) < _SMALLEST:
        return f"{size[0]} x {size[1]} pixels, at least {_SMALLEST} x {_SMALLEST} needed"
    if cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is None:
        return "OpenCV cannot decode it"
    return None


def is_complete_jpeg(*, head: bytes, tail: bytes) -> bool:
    """Tell whether the file is no JPEG, or a JPEG that ends as it should.

    `head` and `tail` are its first three and last two bytes. Ultralytics re-encodes a JPEG without the end marker,
    in place.
    """
    return head[:3] != b"\xff\xd8\xff" or tail[-2:] == b"\xff\xd9"
