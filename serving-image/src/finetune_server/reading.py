"""One page from bytes to named fields: the work of a request, done in a worker thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from .errors import RequestError
from .metrics import Metrics, Stage
from .model import Detector
from .pages.formats import Kind
from .pages.images import decode_image
from .pages.jpeg import may_lack_data
from .pages.selection import PageRequest
from .postprocess import select
from .preprocess import Page, letterbox_geometry, to_page, to_tensor

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Field:
    """A detected field: confidence in 0..1, box x1 y1 x2 y2 in the page's pixels."""

    name: str
    confidence: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class InSource:
    """Pixels of an image, `nbytes` of them, that were let go of: its source gives them again.

    Held while other pages are decoded, they would have these go to memory that is not in the CPU's caches.
    """

    nbytes: int


@dataclass(frozen=True, slots=True)
class Reading:
    """Fields of one page by falling confidence; width and height in pixels, and the `pixels` that were read, None where
    nobody will ask for them."""

    width: int
    height: int
    fields: tuple[Field, ...]
    pixels: Page | InSource | None = field(repr=False, compare=False)


Count: TypeAlias = Callable[[Mapping[str, float]], None]
"""What counts a page that was read, by the confidence of the best box of each field."""


class InferenceError(RequestError):
    """The network's failure, which is not the page's doing as far as anybody can tell."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(500, reason, message)


def read_image(
    request: PageRequest, max_pixels: int, detector: Detector, metrics: Metrics, count: Count
) -> Reading | None:
    """Decode one image, read it and count it; None where it may lack a part, as a process can tell.

    Raises `RequestError`.
    """
    with metrics.timed(Stage.DECODE):
        page = decode_image(request.content, request.kind, max_pixels)
    if request.kind is Kind.JPEG and may_lack_data(page):
        return None
    reading = read_page(page, detector, metrics, count)
    return replace(reading, pixels=InSource(page.nbytes))


def read_page(page: Page, detector: Detector, metrics: Metrics, count: Count) -> Reading:
    """Read one page and count it. Raises `InferenceError` when the network fails or its output is unusable."""
    settings = detector.settings
    height, width = page.shape[:2]
    with metrics.timed(Stage.PREPROCESS):
        letterbox = letterbox_geometry(width=width, height=height, size=settings.image_size)
        tensor = to_tensor(page, letterbox)
    with metrics.timed(Stage.INFERENCE):
        try:
            output = detector.run(tensor)
        except FloatingPointError as error:
            raise InferenceError("OutputNotFinite", str(error)) from error
        except Exception as error:  # onnxruntime's errors share no base class but Exception
            log.exception("the network failed")
            raise InferenceError("InferenceFailed", f"the network failed ({type(error).__name__})") from error
    with metrics.timed(Stage.POSTPROCESS):
        detections = select(output, settings)
        boxes = to_page(detections.boxes, letterbox)
        fields = tuple(
            Field(settings.classes[index], score, (x1, y1, x2, y2))
            for index, score, (x1, y1, x2, y2) in zip(
                detections.classes.tolist(), detections.scores.tolist(), boxes.tolist(), strict=True
            )
        )
    # Reversed, so that the best box of a field, which comes first, is the one that stays.
    count({one.name: one.confidence for one in reversed(fields)})
    return Reading(width, height, fields, page)
