"""A YOLO folder that a tool wrote: file names are all that says which page one is; pictures may be missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from ..data.folder import Folder, account, read_folder, summary
from ..data.folder_classes import folder_classes
from ..data.labels import LabelProblem, parse_label
from ..data.problems import Problem
from ..documents.classes import spelling
from ..errors import Reason, bad_input
from ..storage import Storage, join
from .returned import Export, Mark, Returned, prediction_in


def read_yolo(storage: Storage, uri: str, classes: Sequence[str]) -> Export:
    """Return a YOLO folder as tasks; StepError ClassListDiffers where its classes are not said or not the anchor's."""
    folder = read_folder(storage, uri)
    names = folder_classes(storage, folder)
    unknown = [name + spelling(name, classes) for name in names if name not in classes]
    if unknown:
        raise bad_input(
            Reason.CLASS_LIST_DIFFERS,
            f"The folder {uri} has classes that the anchor has not: {', '.join(unknown)}.",
            "Rename or leave out the others; or name what a new base is to learn with --append-classes, in its order.",
        )
    alone = _labels_alone(folder)
    left_out, lost = account(storage, folder, folder.images)
    problems = [problem for problem in lost if problem.place not in alone]
    export = Export(tuple(names), problems=problems, remarks=summary(left_out))
    for image in folder.images:
        label = folder.label(image)
        if label is None:
            export.unfinished.append(Problem(Reason.TASK_UNFINISHED, image, "it has no label file"))
        else:
            _add(export, storage.read(join(uri, *label.split("/"))), names, image=image, label=label)
    for label in alone:
        _add(export, storage.read(join(uri, *label.split("/"))), names, image=None, label=label)
    return export


def _add(export: Export, data: bytes, names: Sequence[str], *, image: str | None, label: str) -> None:
    boxes = parse_label(data, len(names))
    if isinstance(boxes, LabelProblem):
        export.problems.append(Problem(boxes.reason, label, boxes.message))
        return
    marks = tuple(
        Mark(
            names[box.field],
            box.x - box.width / 2,
            box.y - box.height / 2,
            box.x + box.width / 2,
            box.y + box.height / 2,
        )
        for box in boxes
    )
    task = image or label
    export.pages.append(Returned(task, image, prediction_in(PurePosixPath(task).name), None, marks))


def _labels_alone(folder: Folder) -> list[str]:
    """Return labels that came without an image and say by their names which page they are of."""
    labels = {folder.label(image) for image in folder.images}
    return [
        path
        for path in sorted(folder.files - labels)
        if path.endswith(".txt") and prediction_in(PurePosixPath(path).name) is not None
    ]
