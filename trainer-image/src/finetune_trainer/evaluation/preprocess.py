"""Page to network input, exactly as the server does it (docs/reference/contracts.md section 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from ..data.decoding import decode_page
from ..data.images import complete_jpeg

Pixels = npt.NDArray[np.uint8]
Tensor = npt.NDArray[np.float32]

_GREY: Final = 114
"""Of the padding around a page, as ultralytics pads."""


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a page lies in the square, all in pixels: the page's own size, its scaled size, padding left and top."""

    width: int
    height: int
    scaled_width: int
    scaled_height: int
    left: int
    top: int


def decode(data: bytes) -> Pixels | None:
    """Return BGR pixels (height, width, 3) as the server sees the page, or None for what OpenCV cannot decode."""
    return decode_page(complete_jpeg(data))


def geometry(*, height: int, width: int, size: int) -> Letterbox:
    """Return the placement of a page of `height` x `width` pixels in a square of `size`."""
    scale = min(size / height, size / width)
    # Rounded up, as ultralytics loads images for training and validation; its predict rounds to nearest, which
    # moves mAP50 by tenths of a point on small inputs.
    scaled_width, scaled_height = (min(math.ceil(side * scale), size) for side in (width, height))
    # The 0.1 settles where an odd pixel of padding goes (ultralytics' LetterBox): to the right and the bottom.
    left, top = (round((size - side) / 2 - 0.1) for side in (scaled_width, scaled_height))
    return Letterbox(
        width=width, height=height, scaled_width=scaled_width, scaled_height=scaled_height, left=left, top=top
    )


def prepare(image: Pixels, size: int) -> tuple[Tensor, Letterbox]:
    """Return the input (1, 3, size, size), RGB in 0..1, and how to get back to the page."""
    square, box = placed(image, size)
    return as_input(square), box


def placed(image: Pixels, size: int) -> tuple[Pixels, Letterbox]:
    """Return the page in its square, BGR pixels (size, size, 3), and how to get back to the page."""
    height, width = image.shape[:2]
    box = geometry(height=height, width=width, size=size)
    if (box.scaled_height, box.scaled_width) != (height, width):
        image = cv2.resize(image, (box.scaled_width, box.scaled_height), interpolation=cv2.INTER_LINEAR)
    square = np.full((size, size, 3), _GREY, dtype=np.uint8)
    square[box.top : box.top + box.scaled_height, box.left : box.left + box.scaled_width] = image
    return square, box


def as_input(square: Pixels) -> Tensor:
    """Return the input (1, 3, size, size), RGB in 0..1, of a page in its square."""
    tensor = square[:, :, ::-1].transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(tensor)[None]
