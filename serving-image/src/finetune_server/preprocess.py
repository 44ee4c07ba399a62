"""Letterboxing: from a page to the network's input, as docs/reference/contracts.md section 4 defines it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Page = npt.NDArray[np.uint8]
Tensor = npt.NDArray[np.float32]

CHANNELS: Final = 3
PAD_VALUE: Final = 114
"""Grey of the padding around a page, as the trainer's tool pads."""


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a page lies inside the square: `inner_width` x `inner_height` pixels from (`left`, `top`) on.

    `width` and `height` are the page's, `size` is the square's side, all in pixels. Each axis has a scale of its
    own (`inner_width / width`), because the two were rounded apart.
    """

    width: int
    height: int
    size: int
    inner_width: int
    inner_height: int
    left: int
    top: int


def letterbox_geometry(*, width: int, height: int, size: int) -> Letterbox:
    """Fit a `width` x `height` page into a square of side `size`, centred.

    The -0.1 puts the odd pixel of padding right and below, as the trainer's tool does.
    """
    scale = min(size / height, size / width)
    # Rounded up, as the trainer's tool loads pages for training and validation.
    inner_width, inner_height = min(math.ceil(width * scale), size), min(math.ceil(height * scale), size)
    return Letterbox(
        width=width,
        height=height,
        size=size,
        inner_width=inner_width,
        inner_height=inner_height,
        left=round((size - inner_width) / 2 - 0.1),
        top=round((size - inner_height) / 2 - 0.1),
    )


def to_tensor(page: Page, box: Letterbox) -> Tensor:
    """Turn a BGR page (height, width, 3) into RGB float32 (1, 3, size, size) in 0..1."""
    inner = page
    if page.shape[:2] != (box.inner_height, box.inner_width):
        inner = np.asarray(
            cv2.resize(page, (box.inner_width, box.inner_height), interpolation=cv2.INTER_LINEAR), np.uint8
        )
    square = np.full((box.size, box.size, 3), PAD_VALUE, np.uint8)
    square[box.top : box.top + box.inner_height, box.left : box.left + box.inner_width] = inner
    planes = np.empty((1, 3, box.size, box.size), np.float32)
    # Each channel by itself first: dividing every third byte takes more than twice as long as dividing neighbours.
    for plane, channel in zip(planes[0], reversed(cv2.split(square)), strict=True):
        np.divide(channel, np.float32(255), out=plane)
    return planes


def to_page(boxes: npt.NDArray[np.float32], box: Letterbox) -> npt.NDArray[np.float32]:
    """Move corners (n, 4) x1 y1 x2 y2 from the square to the page's pixels, clipped to the page."""
    offset = np.array([box.left, box.top] * 2, np.float32)
    limit = np.array([box.width, box.height] * 2, np.float32)
    inner = np.array([box.inner_width, box.inner_height] * 2, np.float32)
    scaled: npt.NDArray[np.float32] = np.clip((boxes - offset) * (limit / inner), np.float32(0), limit)
    return scaled
