"""Page to network input, exactly as the server does it (docs/contracts.md section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Tensor = npt.NDArray[np.float32]

NAME: Final = "letterbox-114-linear-rgb"
_GREY: Final = 114


@dataclass(frozen=True)
class Letterbox:
    """How a page lies in the square: scale, and pixels of padding at the left and top; the page's own size."""

    scale: float
    left: int
    top: int
    width: int
    height: int


def decode(data: bytes) -> Pixels | None:
    """BGR pixels (height, width, 3) with EXIF orientation applied, or None for what OpenCV cannot decode."""
    image: Pixels | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return image


def geometry(height: int, width: int, size: int) -> tuple[Letterbox, int, int]:
    """Placement of a page of `height` x `width` pixels in a square of `size`, and its scaled width and height."""
    scale = min(size / height, size / width)
    scaled_width, scaled_height = round(width * scale), round(height * scale)
    # The 0.1 settles where an odd pixel of padding goes (ultralytics' LetterBox): to the right and the bottom.
    left, top = round((size - scaled_width) / 2 - 0.1), round((size - scaled_height) / 2 - 0.1)
    return Letterbox(scale, left, top, width, height), scaled_width, scaled_height


def prepare(image: Pixels, size: int) -> tuple[Tensor, Letterbox]:
    """The input (1, 3, size, size), RGB in 0..1, and how to get back to the page."""
    height, width = image.shape[:2]
    box, scaled_width, scaled_height = geometry(height, width, size)
    if (scaled_width, scaled_height) != (width, height):
        image = cv2.resize(image, (max(scaled_width, 1), max(scaled_height, 1)), interpolation=cv2.INTER_LINEAR)
    square = np.full((size, size, 3), _GREY, dtype=np.uint8)
    rows, columns = image.shape[:2]
    square[box.top : box.top + rows, box.left : box.left + columns] = image
    tensor = square[:, :, ::-1].transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(tensor)[None], box
