"""One page of a data set with its label, checked alike for the anchor, for what enters the pool and for the pool."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import Reason
from .images import Picture, inspect_image
from .labels import LabelProblem, parse_label
from .problems import Problem


@dataclass(frozen=True, slots=True)
class PageFiles:
    """A page's image and label: where they lie, and their bytes. `label_data` is None where there is no such file."""

    image: str
    image_data: bytes
    label: str
    label_data: bytes | None


@dataclass(frozen=True, slots=True)
class CheckedPage:
    """A page that can be used: what it shows, and how many boxes its label has."""

    picture: Picture
    boxes: int


def check_page(page: PageFiles, classes: int, *, allow_background: bool) -> CheckedPage | Problem:
    """Return the page as it is, or why it cannot be used.

    A missing or empty label means "no field on this page" only where that is allowed: ultralytics takes it so
    silently, and a lost label would teach suppression.
    """
    picture = inspect_image(page.image_data)
    if isinstance(picture, str):
        return Problem(Reason.IMAGE_UNREADABLE, page.image, picture)
    if page.label_data is None:
        missing = Problem(Reason.LABEL_MISSING, page.image, f"{page.label} does not exist")
        return CheckedPage(picture, 0) if allow_background else missing
    boxes = parse_label(page.label_data, classes)
    if isinstance(boxes, LabelProblem):
        return Problem(boxes.reason, page.label, boxes.message)
    if not boxes and not allow_background:
        return Problem(Reason.LABEL_MISSING, page.label, "the file is empty")
    return CheckedPage(picture, len(boxes))
