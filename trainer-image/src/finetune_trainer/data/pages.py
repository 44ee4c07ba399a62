"""Pages of a data set with their labels, read and checked alike for the anchor, for what enters the pool and for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import Reason
from ..storage import Storage, join, local_path
from .folder import Folder
from .images import Picture, inspect_image
from .labels import LabelProblem, parse_label_of
from .problems import Problem
from .yolo_dataset import label_of

_AT_ONCE: Final = 16
"""Pages of a remote data set that are fetched together; of a local one each is read when it is its turn."""


@dataclass(frozen=True, slots=True)
class PageFiles:
    """A page's image and label: where they lie, and their bytes. `label_data` is None where there is no such file."""

    image: str
    image_data: bytes
    label: str
    label_data: bytes | None


@dataclass(frozen=True, slots=True)
class CheckedPage:
    """A page that can be used: what it shows, how many boxes its label has, and of which classes."""

    picture: Picture
    boxes: int
    fields: frozenset[int] = frozenset()


def check_pages(
    storage: Storage, folder: Folder, images: Sequence[str], classes: int, *, allow_background: bool
) -> Iterator[tuple[PageFiles, CheckedPage | Problem]]:
    """Yield each of these images with its label as they lie in the folder, and what check_page says of them.

    A few pages are in memory at a time, however many there are.
    """
    at_once = 1 if local_path(folder.uri) is not None else _AT_ONCE
    for start in range(0, len(images), at_once):
        for page in _read_pages(storage, folder, images[start : start + at_once]):
            yield page, check_page(page, classes, allow_background=allow_background)


def _read_pages(storage: Storage, folder: Folder, images: Sequence[str]) -> Iterator[PageFiles]:
    labels = {image: folder.label(image) for image in images}
    present = [path for path in labels.values() if path is not None]
    contents = storage.read_many(join(folder.uri, path) for path in (*images, *present))
    for image, label in labels.items():
        label_data = None if label is None else contents[join(folder.uri, label)]
        yield PageFiles(image, contents[join(folder.uri, image)], label or label_of(image), label_data)


def check_page(
    page: PageFiles,
    classes: int,
    *,
    allow_background: bool,
    picture: Picture | None = None,
    fields: int | None = None,
) -> CheckedPage | Problem:
    """Return the page as it is, or why it cannot be used. Whose `picture` is known is not decoded again.

    Of a label that was made for `fields` classes (None: for `classes`) the boxes of the first `classes` ones count.

    A missing or empty label means "no field on this page" only where that is allowed: ultralytics takes it so
    silently, and a lost label would teach suppression.
    """
    shown = picture or inspect_image(page.image_data)
    if isinstance(shown, str):
        return Problem(Reason.IMAGE_UNREADABLE, page.image, shown)
    if page.label_data is None:
        missing = Problem(Reason.LABEL_MISSING, page.image, f"{page.label} does not exist")
        return CheckedPage(shown, 0) if allow_background else missing
    boxes = parse_label_of(page.label_data, fields=fields, classes=classes)
    if isinstance(boxes, LabelProblem):
        return Problem(boxes.reason, page.label, boxes.message)
    if not boxes and not allow_background:
        return Problem(Reason.LABEL_MISSING, page.label, "the file is empty")
    return CheckedPage(shown, len(boxes), frozenset(box.field for box in boxes))
