"""Turns a PDF page into an aged scan, and moves the boxes along with it."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import pypdfium2 as pdfium
from PIL import Image, ImageFilter

from .fields import Box, LabelledBox
from .layouts import PAGE_HEIGHT
from .page import Page

_OVERSAMPLING = 2  # rendered larger, then reduced: thin strokes keep their weight


@dataclass(frozen=True, slots=True)
class Wear:
    """How badly a page was scanned.

    skew: degrees, counter-clockwise. blur: standard deviation in pixels. noise: standard deviation
    in grey levels. contrast: 1 keeps it. brightness: grey levels added. quality: JPEG, 1 to 95.
    """

    skew: float
    blur: float
    noise: float
    contrast: float
    brightness: float
    quality: int


@dataclass(frozen=True, slots=True)
class Scan:
    """An aged page: JPEG bytes, its size and the fields' boxes in pixels."""

    jpeg: bytes
    width: int
    height: int
    boxes: tuple[LabelledBox, ...]


def draw_wear(rng: np.random.Generator) -> Wear:
    """How one page was worn, drawn from `rng`."""
    return Wear(
        skew=float(rng.normal(0.0, 0.4)),
        blur=float(rng.uniform(0.0, 0.6)),
        noise=float(rng.uniform(1.0, 7.0)),
        contrast=float(rng.uniform(0.85, 1.05)),
        brightness=float(rng.uniform(-12.0, 6.0)),
        quality=int(rng.integers(65, 93)),
    )


def scan(page: Page, wear: Wear, rng: np.random.Generator, *, height: int) -> Scan:
    """The page as a scan `height` pixels high."""
    image = _rasterise(page.pdf, height)
    image = image.rotate(wear.skew, Image.Resampling.BICUBIC, fillcolor=(252, 252, 250))
    image = image.filter(ImageFilter.GaussianBlur(wear.blur))
    pixels = np.asarray(image, dtype=np.float32)
    noise = rng.normal(0.0, wear.noise, pixels.shape[:2]).astype(np.float32)[..., None]
    pixels = (pixels - 128) * np.float32(wear.contrast) + 128 + np.float32(wear.brightness) + noise
    aged = Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))
    target = io.BytesIO()
    aged.save(target, "JPEG", quality=wear.quality)
    factor = height / PAGE_HEIGHT
    boxes = tuple(
        LabelledBox(
            label.field,
            _rotated(label.box.scaled(factor), wear.skew, image.width, image.height),
        )
        for label in page.boxes
    )
    return Scan(target.getvalue(), image.width, image.height, boxes)


def _rasterise(pdf: bytes, height: int) -> Image.Image:
    with pdfium.PdfDocument(pdf) as document:
        large: Image.Image = document[0].render(scale=_OVERSAMPLING * height / PAGE_HEIGHT).to_pil()
    width = round(large.width * height / large.height)
    return large.convert("RGB").resize((width, height), Image.Resampling.BOX)


def _rotated(box: Box, degrees: float, width: int, height: int) -> Box:
    """The upright box around a box that turned counter-clockwise about the image's centre."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    middle_x, middle_y = width / 2, height / 2
    turned = [
        (
            middle_x + (x - middle_x) * cosine + (y - middle_y) * sine,
            middle_y - (x - middle_x) * sine + (y - middle_y) * cosine,
        )
        for x, y in box.corners
    ]
    xs, ys = [x for x, _ in turned], [y for _, y in turned]
    return Box(min(xs), min(ys), max(xs), max(ys)).clipped(width, height)
