"""A COCO export: boxes by image; it says neither who labelled nor which pages nobody looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from ..errors import Reason, bad_input
from .pictures import Pictures
from .returned import Export, Mark, Returned, UnusableError, known_field, mapping, number, prediction_in, upright

_SAME: Final = 0.02
"""Share by which a shape's sides may differ from its box's, and its area from a rectangle's, and still be the box."""

_CORNERS: Final = 8
"""Numbers of the fewest points that a box has."""

_SHOWN: Final = 40
"""Characters of an id that are shown."""

_ROUNDING: Final = 1.0
"""Pixels by which an outline may reach further than its box."""


def read_coco(content: Any, classes: Sequence[str], files: Sequence[str]) -> Export:
    """Return what a COCO document comes to; `files` are the images that came with it, by their paths.

    Raises StepError DataUnreadable where it is no such document.
    """
    document = mapping(content)
    lists = [document.get(key) for key in ("images", "annotations", "categories")]
    if not all(isinstance(items, list) and all(isinstance(item, dict) for item in items) for items in lists):
        raise bad_input(
            Reason.DATA_UNREADABLE,
            "The file is no COCO document with images, annotations and categories.",
            "Export as COCO (object detection), and name the folder or its JSON file.",
        )
    images, annotations, categories = (list(items or ()) for items in lists)
    _check_ids("images", images, "file_name")
    _check_ids("categories", categories, "name")
    names = {_id(category): category.get("name") for category in categories}
    pictures = Pictures.of(files)
    by_image: dict[Any, list[dict[str, Any]]] = {_id(image): [] for image in images}
    export = Export(tuple(map(str, names.values())))
    for annotation in annotations:
        image_id = _id(annotation, "image_id")
        if image_id is None or image_id not in by_image:
            lost = UnusableError(Reason.IMAGE_MISSING, f"its image {annotation.get('image_id')!r} is not in the list")
            export.problems.append(lost.problem(f"annotation {annotation.get('id')}"))
            continue
        by_image[image_id].append(annotation)
    for image in images:
        task = str(image.get("file_name") or f"image {image.get('id')}")
        try:
            export.pages.append(_page(task, image, by_image[_id(image)], names, classes, pictures))
        except UnusableError as unusable:
            export.problems.append(unusable.problem(task))
    return export


def _id(entry: dict[str, Any], key: str = "id") -> Any:
    """Return an id as a key: a number or a text; None for anything else."""
    said = entry.get(key)
    return said if isinstance(said, (int, float, str)) else None


def _check_ids(kind: str, entries: Sequence[dict[str, Any]], key: str) -> None:
    """Raise StepError DataUnreadable where one id stands for two: files that were put together often repeat them."""
    seen: dict[Any, Any] = {}
    for entry in entries:
        known, said = seen.setdefault(_id(entry), entry.get(key)), entry.get(key)
        if known != said:
            raise bad_input(
                Reason.DATA_UNREADABLE,
                f"Two {kind} of the COCO document have the id {entry.get('id')!r}, {known!r} and {said!r}: which of "
                "them a box is meant for is unknown.",
                "Export each project into a file of its own, and add these one after the other; or give every entry "
                "an id of its own.",
            )


def _page(
    task: str,
    image: dict[str, Any],
    annotations: Sequence[dict[str, Any]],
    names: dict[Any, Any],
    classes: Sequence[str],
    pictures: Pictures,
) -> Returned:
    size = (number(image.get("width") or 0, "width"), number(image.get("height") or 0, "height"))
    if min(size) <= 0:
        raise UnusableError(Reason.SHAPE_UNUSABLE, "it has no width or height, so its boxes have no measure")
    marks = tuple(_mark(annotation, names, size, classes) for annotation in annotations)
    prediction = prediction_in(PurePosixPath(task).name)
    return Returned(task, pictures.find(task), prediction, size, marks, trouble=pictures.trouble(task))


def _mark(annotation: dict[str, Any], names: dict[Any, Any], size: tuple[float, float], classes: Sequence[str]) -> Mark:
    if (category := _id(annotation, "category_id")) is None or category not in names:
        written = f"{annotation.get('category_id')!r}"[:_SHOWN]
        raise UnusableError(Reason.FIELD_UNKNOWN, f"it has a box of the category {written}, which is not in the list")
    field = known_field(names[category], classes)
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise UnusableError(Reason.SHAPE_UNUSABLE, f"its {field} has no bbox of four numbers")
    x, y, width, height = (number(value, "bbox") for value in box)
    if 0 < max(width, height) < 1:
        shown = f"{width:g} x {height:g} pixels"
        raise UnusableError(Reason.SHAPE_UNUSABLE, f"its {field} has {shown}: a bbox is in pixels, not in shares")
    _check_shape(annotation, field, (x, y, width, height))
    upright(mapping(annotation.get("attributes")).get("rotation"), f"its box {field}")
    return Mark(field, x / size[0], y / size[1], (x + width) / size[0], (y + height) / size[1])


def _check_shape(annotation: dict[str, Any], field: str, box: tuple[float, float, float, float]) -> None:
    """Raise UnusableError ShapeUnusable where the annotation is more than a box."""
    shape = annotation.get("segmentation")
    if number(annotation.get("iscrowd") or 0, "iscrowd") or isinstance(shape, dict):
        raise UnusableError(Reason.SHAPE_UNUSABLE, f"its {field} is a mask")
    if annotation.get("keypoints"):
        raise UnusableError(Reason.SHAPE_UNUSABLE, f"its {field} has keypoints")
    outlines = shape if isinstance(shape, list) else []
    if outlines and not any(isinstance(polygon, list) for polygon in outlines):
        outlines = [outlines]  # some tools write the only one without its brackets
    for polygon in outlines:
        if polygon == []:
            continue  # of a box some tools write an outline without a point
        points = [number(value, "segmentation") for value in polygon] if isinstance(polygon, list) else []
        if not _is_outline(points, *box):
            raise UnusableError(Reason.SHAPE_UNUSABLE, f"its {field} is a polygon where a box is meant")


def _is_outline(points: Sequence[float], x: float, y: float, width: float, height: float) -> bool:
    """Tell whether a polygon x1 y1 x2 y2 ... is the box: a rectangle, as far to each side. Tools round its points."""
    if len(points) < _CORNERS or len(points) % 2:
        return False
    left, right, top, bottom = min(points[::2]), max(points[::2]), min(points[1::2]), max(points[1::2])
    # Each way by its own side: of a long, low box the next line is nearer than a fiftieth of its width.
    across, down = (max(_ROUNDING, _SAME * side) for side in (width, height))
    near = max(abs(left - x), abs(right - x - width)) <= across and max(abs(top - y), abs(bottom - y - height)) <= down
    filled = (right - left) * (bottom - top)
    return near and abs(_area(points) - filled) <= _SAME * filled


def _area(points: Sequence[float]) -> float:
    """Return the area of a polygon x1 y1 x2 y2 ... (the shoelace formula)."""
    corners = list(zip(points[::2], points[1::2], strict=True))
    turned = [*corners[1:], corners[0]]
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(corners, turned, strict=True))) / 2
