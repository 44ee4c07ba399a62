"""Label Studio's JSON export: the one of its formats that says who labelled, and what is skipped, turned or no box."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from ..errors import Reason, bad_input
from .returned import Export, Mark, Returned, UnusableError, known_field, mapping, number, prediction_in, upright

_SHAPES: Final = {
    "polygon": "a polygon",
    "polygonlabels": "a polygon",
    "ellipse": "an ellipse",
    "ellipselabels": "an ellipse",
    "keypoint": "a keypoint",
    "keypointlabels": "a keypoint",
    "brush": "a brush stroke",
    "brushlabels": "a brush stroke",
    "bitmask": "a mask",
    "bitmasklabels": "a mask",
    "vector": "a vector",
    "vectorlabels": "a vector",
    "magicwand": "a mask",
    "rectangle": "a rectangle without a label",
    "videorectangle": "a rectangle in a video",
    "labels": "a label without a rectangle",
}
"""What else can be drawn, by its type. Other types say something of the page, and are no boxes at all."""

_SEVERAL_PICTURES: Final = "it has boxes on several pictures: a task is one page"


def read_label_studio(tasks: Any, classes: Sequence[str]) -> Export:
    """Return what an export in the format JSON comes to; StepError DataUnreadable where it is another one."""
    if not isinstance(tasks, list) or not all(map(_is_task, tasks)):
        raise bad_input(
            Reason.DATA_UNREADABLE,
            "The file is no export of Label Studio in its format JSON, a list of tasks with data and annotations.",
            "Export the project as JSON: JSON-MIN and CSV do not say what was skipped, and by whom it was labelled.",
        )
    export = Export()
    passed_over: Counter[str] = Counter()
    for task in tasks:
        name = f"task {task.get('id', '?')}"
        try:
            annotation = _one_annotation(task)
            export.pages.append(_page(name, task, annotation, classes, passed_over))
        except UnusableError as unusable:
            unfinished = unusable.reason is Reason.TASK_UNFINISHED
            (export.unfinished if unfinished else export.problems).append(unusable.problem(name))
    export.remarks += [f"{count} {kind} were left out: they are no boxes" for kind, count in passed_over.items()]
    return export


def _is_task(task: Any) -> bool:
    """Tell whether it is a task as the format JSON has it: others, as answers of the API, have counts there, or ids."""
    if not isinstance(task, dict) or "data" not in task or "completions" in task:  # of before version 1
        return False
    annotations = task.get("annotations") or []
    return isinstance(annotations, list) and all(isinstance(annotation, dict) for annotation in annotations)


def _one_annotation(task: dict[str, Any]) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = task.get("annotations") or []
    valid = [a for a in annotations if not a.get("was_cancelled")]
    if not valid:
        skipped = next((_who(a) for a in annotations), None)
        why = f"{skipped} skipped it" if skipped else _without_annotation(task)
        raise UnusableError(Reason.TASK_UNFINISHED, why)
    if len(valid) > 1:
        true = [a for a in valid if a.get("ground_truth")]
        if len(true) != 1:
            by = ", ".join(map(_who, valid))
            raise UnusableError(Reason.ANNOTATIONS_SEVERAL, f"it has {len(valid)} annotations (by {by})")
        valid = true
    return valid[0]


def _without_annotation(task: dict[str, Any]) -> str:
    if task.get("drafts"):
        return "it has a draft that nobody submitted"
    pre_labels = " (boxes of a model are no labels)" if task.get("predictions") else ""
    return f"nobody has labelled it{pre_labels}"


def _page(
    name: str, task: dict[str, Any], annotation: dict[str, Any], classes: Sequence[str], passed_over: Counter[str]
) -> Returned:
    marks: list[Mark] = []
    pictures: set[str] = set()
    sizes: set[tuple[float, float]] = set()
    for region in _regions(annotation):
        kind = str(region.get("type"))
        if kind in _SHAPES or (kind.endswith("labels") and kind != "rectanglelabels"):
            drawn = _SHAPES.get(kind, f"a region of the kind {kind}")
            raise UnusableError(Reason.SHAPE_UNUSABLE, f"it has {drawn} where a labelled rectangle is meant")
        if kind != "rectanglelabels":
            passed_over[f"answers of the kind {kind}"] += 1
            continue
        marks.append(_mark(region, classes))
        pictures.add(str(region.get("to_name")))
        if region.get("original_width") and region.get("original_height"):
            sizes.add((number(region["original_width"], "width"), number(region["original_height"], "height")))
    if len(pictures) > 1:
        raise UnusableError(Reason.SHAPE_UNUSABLE, _SEVERAL_PICTURES)
    if len(sizes) > 1:
        raise UnusableError(Reason.PAGE_CHANGED, "its boxes are on pictures of several sizes")
    data = mapping(task.get("data"))
    places = [value for value in data.values() if isinstance(value, str)]
    said = data.get("prediction")
    return Returned(
        task=name,
        image=None,
        prediction=prediction_in(said) if isinstance(said, str) else prediction_in(*places),
        size=next(iter(sizes), None),
        marks=tuple(marks),
        verified_by=_annotator(annotation),
        verified_at=_date(annotation),
    )


def _regions(annotation: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what was drawn and answered; UnusableError for anything else: it would pass for an empty page."""
    result = annotation.get("result") or []
    if not isinstance(result, list) or not all(isinstance(region, dict) for region in result):
        raise UnusableError(Reason.SHAPE_UNUSABLE, "its result is no list of regions")
    return result


def _mark(region: dict[str, Any], classes: Sequence[str]) -> Mark:
    value = mapping(region.get("value"))
    names = value.get("rectanglelabels")
    if not isinstance(names, list) or len(names) != 1:
        count = len(names) if isinstance(names, list) else 0
        raise UnusableError(Reason.SHAPE_UNUSABLE, f"it has a rectangle with {count} labels instead of one")
    if region.get("item_index"):
        raise UnusableError(Reason.SHAPE_UNUSABLE, _SEVERAL_PICTURES)
    upright(region.get("image_rotation"), "the page")
    field = known_field(names[0], classes)
    upright(value.get("rotation"), f"its box {field}")
    x, y, width, height = (number(value.get(key), key) / 100 for key in ("x", "y", "width", "height"))
    return Mark(field, x, y, x + width, y + height)


def _who(annotation: dict[str, Any]) -> str:
    by = _annotator(annotation)
    return "somebody" if by is None else f"user {by}" if by.isdecimal() else by


def _annotator(annotation: dict[str, Any]) -> str | None:
    """Return who made it: an address or a name where the export has one, else the number of the tool's user."""
    by = annotation.get("completed_by")
    if isinstance(by, dict):
        return str(by.get("email") or by.get("username") or by.get("id") or "").strip() or None
    return str(by) if isinstance(by, int) else None


def _date(annotation: dict[str, Any]) -> str | None:
    at = annotation.get("updated_at") or annotation.get("created_at")
    return at[:10] if isinstance(at, str) and len(at) >= 10 else None
