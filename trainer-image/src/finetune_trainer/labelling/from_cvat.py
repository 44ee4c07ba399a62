"""CVAT's own export, "CVAT for images 1.1": it names the shapes, and the person whose task it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final
from xml.etree import ElementTree

from ..errors import Reason, bad_input
from .pictures import Pictures
from .returned import Export, Mark, Returned, UnusableError, known_field, number, prediction_in, upright

_TAKEN: Final = ("box", "tag")
"""What may be on a page: boxes, and tags, which are told. Whatever else is drawn is no box."""


def read_cvat(data: bytes, classes: Sequence[str], files: Sequence[str]) -> Export:
    """Return what `annotations.xml` comes to; `files` are the images that came with it, by their paths.

    Raises StepError DataUnreadable where it is another document.
    """
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 - expat itself stops entities that grow
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the last two for its encoding
        raise _another(f"is no XML ({error})") from None
    if root.tag != "annotations" or root.find("track") is not None:
        raise _another("has tracks of a video" if root.tag == "annotations" else f"begins with <{root.tag}>")
    by, at = _assignee(root), _updated(root)
    export = Export(_labels(root))
    pictures = Pictures.of(files)
    for image in root.findall("image"):
        task = image.get("name") or f"image {image.get('id')}"
        try:
            export.pages.append(_page(task, image, classes, pictures, by, at))
        except UnusableError as unusable:
            export.problems.append(unusable.problem(task))
    tags = sum(image.find("tag") is not None for image in root.findall("image"))
    if tags:
        export.remarks.append(f"tags of {tags} pages were left out: they are no boxes")
    outside = sum(_is_outside(drawn) for image in root.findall("image") for drawn in image)
    if outside:
        export.remarks.append(f"{outside} shapes were left out: they are marked as outside of their page")
    return export


def _page(
    task: str, image: ElementTree.Element, classes: Sequence[str], pictures: Pictures, by: str | None, at: str | None
) -> Returned:
    there = [drawn for drawn in image if not _is_outside(drawn)]
    for drawn in there:
        if drawn.tag not in _TAKEN:
            what = f"a {drawn.tag} {drawn.get('label')!r} where a box is meant"
            raise UnusableError(Reason.SHAPE_UNUSABLE, f"it has {what}")
    width, height = (number(image.get(side) or 0, side) for side in ("width", "height"))
    if min(width, height) <= 0:
        raise UnusableError(Reason.SHAPE_UNUSABLE, "it has no width or height, so its boxes have no measure")
    marks = tuple(_mark(box, (width, height), classes) for box in there if box.tag == "box")
    prediction = prediction_in(PurePosixPath(task).name)
    picture, trouble = pictures.find(task), pictures.trouble(task)
    return Returned(task, picture, prediction, (width, height), marks, by, at, trouble)


def _is_outside(drawn: ElementTree.Element) -> bool:
    """Tell whether a shape of a track is not to be seen on this page, as older CVAT and Datumaro mark it."""
    return drawn.get("outside") == "1"


def _mark(box: ElementTree.Element, size: tuple[float, float], classes: Sequence[str]) -> Mark:
    field = known_field(box.get("label"), classes)
    upright(box.get("rotation"), f"its box {field}")
    left, top, right, bottom = (number(box.get(key), key) for key in ("xtl", "ytl", "xbr", "ybr"))
    return Mark(field, left / size[0], top / size[1], right / size[0], bottom / size[1])


def _assignee(root: ElementTree.Element) -> str | None:
    """Return who was to label the task or job; None where the file does not say it, as that of a project."""
    people = [
        (person.findtext("email") or person.findtext("username") or "").strip()
        for kind in ("task", "job")
        for person in root.findall(f"meta/{kind}/assignee")
    ]
    return next(filter(None, people), None)


def _labels(root: ElementTree.Element) -> tuple[str, ...] | None:
    """Return the labels of the task, job or project; None where the file does not list them."""
    names = [label.findtext("name") or "" for label in root.findall("meta/*/labels/label")]
    return tuple(names) or None


def _updated(root: ElementTree.Element) -> str | None:
    at = next(filter(None, (root.findtext(f"meta/{kind}/updated") for kind in ("task", "job"))), None)
    return at[:10] if at else None


def _another(what: str) -> Exception:
    return bad_input(
        Reason.DATA_UNREADABLE,
        f"The file {what}, and is no export of CVAT for images.",
        'Export the task as "CVAT for images 1.1", and name the unpacked folder or its annotations.xml.',
    )
