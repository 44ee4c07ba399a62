"""One page of a data set with its label, checked alike for the anchor, for what enters the pool and for the pool."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import Reason
from .images import image_problem
from .labels import LabelProblem, parse_label
from .problems import Problem


@dataclass(frozen=True, slots=True)
class PageFiles:
    """A page's image and label: where they lie, and their bytes. `label_data` is None where there is no such file."""

    image: str
    image_data: bytes
    label: str
    label_data: bytes | None


def count_boxes(page: PageFiles, classes: int, *, allow_missing: bool, allow_empty: bool) -> int | Problem:
    """Return how many boxes the page has, or why it cannot be used.

    A missing or empty label means "no field on this page" only where that is allowed: ultralytics takes it so
    silently, and a lost label would teach suppression.
    """
    if (trouble := image_problem(page.image_data)) is not None:
        return Problem(Reason.IMAGE_UNREADABLE, page.image, trouble)
    if page.label_data is None:
        return 0 if allow_missing else Problem(Reason.LABEL_MISSING, page.image, f"{page.label} does not exist")
    boxes = parse_label(page.label_data, classes)
    if isinstance(boxes, LabelProblem):
        return Problem(boxes.reason, page.label, boxes.message)
    if not boxes and not allow_empty:
        return Problem(Reason.LABEL_MISSING, page.label, "the file is empty")
    return len(boxes)
