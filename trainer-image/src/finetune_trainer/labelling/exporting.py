"""Captured pages as a folder for a labelling tool: pictures, records, and the tool's own files with pre-labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from ..documents.codec import encode
from ..errors import Reason, bad_input
from ..progress import Counted, uncounted
from ..storage import join, local_path
from .arriving import Tool
from .captured import IMAGES, RECORDS, CapturedPages
from .choosing import Chosen
from .to_label_studio import label_studio_files
from .to_others import coco_files, cvat_files, yolo_files
from .written import PreLabel, WrittenPage

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Target:
    """Where an export goes, for which tool; `image_url` is what stands before each picture's name in tasks."""

    uri: str
    tool: Tool
    image_url: str | None = None


def export_pages(
    pages: CapturedPages, chosen: Sequence[Chosen], target: Target, classes: Sequence[str], counted: Counted = uncounted
) -> list[str]:
    """Write pictures, records and the tool's files below the target, and return lines for a person.

    Pages that are not to be had any more are left out and named. Raises StepError DataUnreadable where something lies
    at the target already, or none of the pages is to be had.
    """
    storage = pages.storage
    if storage.names(target.uri):
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"Something lies at {target.uri} already.",
            "Name a folder that is new or empty.",
        )
    written: list[WrittenPage] = []
    lost: list[str] = []
    for done, page in enumerate(chosen, start=1):
        prediction = page.record.prediction
        file = pages.page(prediction)
        if isinstance(file, str):
            lost.append(f"{prediction} ({file})")
        else:
            name = f"{prediction}{file.suffix}"
            storage.write_once(join(target.uri, IMAGES, name), file.data)
            storage.write_once(join(target.uri, RECORDS, f"{prediction}.json"), encode(page.record))
            written.append(WrittenPage(name, page, pre_labels(page, classes)))
        counted(done, len(chosen))
    if not written:
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"No page is to be had{': ' + ', '.join(lost[:_SHOWN]) if lost else ' that was asked for'}.",
            "Ask for other strata, fields or days; `production list` shows what there is.",
        )
    for path, data in _tool_files(written, target, classes).items():
        storage.write_once(join(target.uri, *path.split("/")), data)
    return _remarks(written, lost, target, classes)


def pre_labels(page: Chosen, classes: Sequence[str]) -> tuple[PreLabel, ...]:
    """Return what the model answered, as boxes within the page; fields that the anchor has not are left out."""
    width, height = page.record.page.width, page.record.page.height
    labels = []
    for answer in page.record.fields:
        x1, y1, x2, y2 = (
            min(max(float(value), 0.0), limit)
            for value, limit in zip(answer.box, (width, height, width, height), strict=True)
        )
        if answer.field in classes and x2 > x1 and y2 > y1:
            labels.append(PreLabel(answer.field, float(answer.confidence), x1, y1, x2, y2))
    return tuple(labels)


def _tool_files(written: Sequence[WrittenPage], target: Target, classes: Sequence[str]) -> Mapping[str, bytes]:
    match target.tool:
        case "label-studio":
            return label_studio_files(written, classes, _image_url(target))
        case "coco":
            return coco_files(written, classes)
        case "cvat":
            return cvat_files(written, classes)
        case "yolo":
            return yolo_files(written, classes)


def _image_url(target: Target) -> str:
    """Return what stands before a picture's name: its place in a bucket, or among Label Studio's local files."""
    if target.image_url is not None:
        return target.image_url
    path = local_path(target.uri)
    if path is None:
        return join(target.uri, IMAGES) + "/"
    return f"/data/local-files/?d={quote(path.name)}/{IMAGES}/"


def _remarks(written: Sequence[WrittenPage], lost: Sequence[str], target: Target, classes: Sequence[str]) -> list[str]:
    lines = [f"{len(written)} pages written to {target.uri}"]
    if lost:
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        lines.append(f"{len(lost)} pages are not to be had: {', '.join(lost[:_SHOWN])}{more}")
    unknown = sorted({f.field for page in written for f in page.chosen.record.fields if f.field not in classes})
    if unknown:
        lines.append(f"boxes of fields that the anchor has not were left out: {', '.join(unknown)}")
    return lines
