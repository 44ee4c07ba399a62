"""Labels on their way into the pool: each task with its captured page, as a YOLO folder that the pool checks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from ..data.folder import Folder, is_archive, read_folder, summary
from ..data.images import inspect_image
from ..data.labels import LabelProblem, parse_label
from ..data.pool_batch import Origin
from ..data.problems import Problem, raise_first
from ..documents.production import CapturedPage
from ..errors import Reason, StepError, bad_input
from ..local_files import is_file, is_utf8
from ..progress import Counted, uncounted
from ..storage import Storage, join, local_path
from ..texts import each_once, one_spelling
from .captured import CapturedPages
from .from_coco import read_coco
from .from_cvat import read_cvat
from .from_label_studio import read_label_studio
from .from_yolo import read_yolo
from .matching import Matcher, check_size
from .pictures import Pictures
from .returned import Export, Mark, Returned, UnusableError, label_text

Tool = Literal["label-studio", "coco", "cvat", "yolo"]
TOOLS: Final[tuple[Tool, ...]] = ("label-studio", "coco", "cvat", "yolo")
_SUFFIX: Final[Mapping[Tool, str]] = {"label-studio": ".json", "coco": ".json", "cvat": ".xml"}

_UNFIT: Final = re.compile(r"[\s/\\\x00-\x1f\x7f]+")
"""What no name of a file should have; letters of any script stay, so that a message names the page."""

_LONGEST: Final = 150
"""Bytes of a task's name that the name of its file has."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a tool wrote, and what is said of it: records to find pages by, and the origin of what has none.

    `only_labelled` leaves out tasks that nobody finished; without `background` a page without a box is refused.
    """

    uri: str
    tool: Tool
    captured: CapturedPages | None
    origin: Origin
    only_labelled: bool = False
    background: bool = True
    annotators: Mapping[str, str] = field(default_factory=dict)
    """Who the tool's users are, by number."""
    appended: Sequence[str] = ()
    """Classes that somebody says the pages were labelled for, where the tool does not list its own."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A YOLO folder, the origin of each of its images by path, what the tool called it, and lines for a person.

    `fields` says for how many classes, the first ones, it speaks at most: a tool that does not list its own may be one
    of before a class was appended. None: for those of its data.yaml.
    """

    folder: Path
    origins: Mapping[str, Origin]
    called: Mapping[str, Sequence[str]]
    remarks: tuple[str, ...]
    fields: int | None = None


def stage(
    storage: Storage, arrival: Arrival, classes: Sequence[str], folder: Path, counted: Counted = uncounted
) -> Staged:
    """Write the labelled pages below `folder`, with the pictures of their records where they have one.

    Raises StepError with a list of tasks for what cannot be taken; then nothing is to be added.
    """
    root, export = read_export(storage, arrival, classes)
    problems = list(export.problems)
    if arrival.only_labelled and export.unfinished:
        export.remarks.append(f"{len(export.unfinished)} tasks were left out: nobody has finished them")
    elif not arrival.only_labelled:
        problems += export.unfinished
    names = _class_names(export, classes)
    matcher = Matcher(arrival.captured) if arrival.captured is not None else None
    origins: dict[str, Origin] = {}
    called: dict[str, Sequence[str]] = {}
    taken: set[str] = set()
    for done, task in enumerate(export.pages, start=1):
        try:
            name, data, origin = _page(storage, root, task, matcher, arrival)
            if not task.marks and not arrival.background:
                raise UnusableError(Reason.LABEL_MISSING, "it has no box")
            path = f"images/{_file_name(task.task, done, taken)}{PurePosixPath(name).suffix.lower()}"
            _check_marks(task.marks, names)
            _write(folder, path, data, label_text(task.marks, names))
            origins[path] = origin
            called[path] = (task.task,) if task.image is None else (task.task, task.image)
        except UnusableError as unusable:
            problems.append(unusable.problem(task.task))
        counted(done, len(export.pages))
    no_picture = any(problem.reason is Reason.RECORD_MISSING for problem in problems)
    raise_first([*export.unread, *problems] if no_picture else problems, arrival.uri)
    if arrival.captured is not None and (unreadable := arrival.captured.unreadable):
        export.remarks.append(f"{len(unreadable)} captured records cannot be read, no page is theirs: {unreadable[0]}")
    if not origins:
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"{arrival.uri} has no labelled page ({len(export.unfinished)} unfinished tasks).",
            "Label pages, submit them, and export again.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.yaml").write_text(json.dumps({"names": names}, ensure_ascii=False), encoding="utf-8")
    return Staged(folder, origins, called, tuple(export.remarks), _spoken_fields(export, classes, arrival.appended))


def _check_marks(marks: Sequence[Mark], names: Sequence[str]) -> None:
    """Raise UnusableError for a box that no label can have, by its task and field: nobody knows the staged label."""
    for mark in marks:
        row = parse_label(label_text([mark], names), len(names))
        if isinstance(row, LabelProblem):
            across, down = f"{mark.left:.1%} to {mark.right:.1%}", f"{mark.top:.1%} to {mark.bottom:.1%}"
            place = f"its box {mark.field}, {across} of the page across and {down} down"
            raise UnusableError(row.reason, f"{place}: {row.message.removeprefix('line 1: ')}")


def _class_names(export: Export, classes: Sequence[str]) -> list[str]:
    """Return the classes that the export says something of: all, where it does not list them."""
    known = {*(export.classes or ()), *(mark.field for page in export.pages for mark in page.marks)}
    return [name for name in classes if name in known or not export.classes]


def _spoken_fields(export: Export, classes: Sequence[str], appended: Sequence[str]) -> int | None:
    """Return for how many classes, the first ones, an export speaks that does not list its own; None where it does.

    That it has a box of a class, or that somebody says so, is all that tells.
    """
    if export.classes:
        return None
    said = {*appended, *(mark.field for page in export.pages for mark in page.marks)}
    return max((number for number, name in enumerate(classes, start=1) if name in said), default=0)


def read_export(storage: Storage, arrival: Arrival, classes: Sequence[str]) -> tuple[str, Export]:
    """Return where the tool's images lie, and what its export comes to; StepError for another format."""
    if arrival.tool == "yolo":
        return arrival.uri, read_yolo(storage, arrival.uri, classes)
    suffix = _SUFFIX[arrival.tool]
    folder: Folder | None = None
    document = ""
    if arrival.uri.lower().endswith(suffix):
        place, root = arrival.uri, arrival.uri.rpartition("/")[0]
    else:
        path = local_path(arrival.uri)
        if path is not None and is_file(path) and not is_archive(path.name):  # of an archive the folder says it
            raise _another_file(arrival.uri, suffix)
        folder = read_folder(storage, arrival.uri)
        document = _only_file(folder, suffix)
        place, root = join(arrival.uri, *document.split("/")), arrival.uri
    data, files = storage.read(place), tuple(sorted(folder.files)) if folder is not None else ()
    match arrival.tool:
        case "label-studio":
            return root, read_label_studio(_json(data, place), classes)
        case "coco":
            export = read_coco(_json(data, place), classes, files)
        case "cvat":
            export = read_cvat(data, classes, files)
    if folder is not None:
        _add_unnamed(export, folder, document)
    return root, export


def _add_unnamed(export: Export, folder: Folder, document: str) -> None:
    """Add what is said of files that no task names, those that cannot be read among them; `document` was read."""
    images = {page.image for page in export.pages}
    beside = dict.fromkeys(Pictures.of(folder.files).beside(images), "no task names it")
    export.unread = tuple(problem for problem in folder.lost if problem.place not in {*images, document})
    beside |= {problem.place: problem.message for problem in export.unread}
    export.remarks += summary(beside)
    export.problems += _found_twice(export.pages)


def _found_twice(pages: Sequence[Returned]) -> list[Problem]:
    """Return the problems of tasks of two names that find one picture: of folders put into one, one lost its own."""
    first: dict[str, str] = {}
    return [
        Problem(Reason.IMAGE_MISSING, page.task, f"{page.image} is found by its name, and by that of {other}")
        for page in pages
        if page.image is not None and (other := first.setdefault(page.image, page.task)) != page.task
    ]


def _where_images_are(arrival: Arrival) -> str:
    """Return where the images of a tool's tasks are looked for, as the end of a sentence; "" where nobody asks."""
    if arrival.tool == "label-studio":
        return "; its JSON brings none: pages that were not captured come as COCO or YOLO, with their images"
    if arrival.tool in ("coco", "cvat") and arrival.uri.lower().endswith(_SUFFIX[arrival.tool]):
        return "; name the folder around the file for those beside it"
    return ""


def _another_file(uri: str, suffix: str) -> StepError:
    return bad_input(
        Reason.DATA_UNREADABLE,
        f"{uri} is a file, and no {suffix}.",
        f"Name the {suffix} file that the tool exported, or the folder around it.",
    )


def _only_file(folder: Folder, suffix: str) -> str:
    paths = [p for p in sorted(folder.files) if p.lower().endswith(suffix) and not p.startswith("records/")]
    if len(paths) != 1:
        listed = f": {', '.join(paths[:5])}" if paths else ""
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"{len(paths)} {suffix} files lie below {folder.uri}, one is expected{listed}.",
            f"Name the {suffix} file that the tool exported.",
        )
    return paths[0]


def _json(data: bytes, place: str) -> Any:
    try:
        return json.loads(data, object_pairs_hook=each_once)
    except (ValueError, RecursionError) as error:
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"{place} cannot be read as JSON: {error}.",
            "Name the file that the tool exported, unpacked and as it was written.",
        ) from None


def _page(
    storage: Storage, root: str, task: Returned, matcher: Matcher | None, arrival: Arrival
) -> tuple[str, bytes, Origin]:
    """Return a task's picture (name and bytes) and its origin; UnusableError where there is none."""
    data = storage.read(join(root, *task.image.split("/"))) if task.image is not None else None
    picture = inspect_image(data) if data is not None else None
    if isinstance(picture, str):
        raise UnusableError(Reason.IMAGE_UNREADABLE, picture)
    prediction = matcher.find(task, picture, data) if matcher is not None else None
    if picture is not None:
        check_size(task, "the picture that came with it", (picture.width, picture.height))
    if prediction is not None and matcher is not None:
        page, record = matcher.pages.page(prediction), matcher.pages.record(prediction)
        if isinstance(page, str) or record is None:
            raise UnusableError(Reason.RECORD_MISSING, f"the page of prediction {prediction}: {page}")
        origin = _captured_origin(record)
        return f"page{page.suffix}", page.data, _verified(task, arrival, origin.document, origin.source)
    if data is None or task.image is None:
        if task.trouble is not None:
            raise UnusableError(Reason.FILE_UNUSABLE, task.trouble)
        of = f"prediction {task.prediction}" if task.prediction else "no prediction is named"
        where = "no captured pages were named" if matcher is None else f"none of {matcher.pages.uri}"
        message = f"its page is not known ({of}; {where}), and no image came with it{_where_images_are(arrival)}"
        raise UnusableError(Reason.RECORD_MISSING, message)
    if not arrival.origin.source:
        raise UnusableError(Reason.RECORD_MISSING, "it is none of the captured pages")
    return task.image, data, _verified(task, arrival, None, arrival.origin.source)


def _captured_origin(record: CapturedPage) -> Origin:
    """Return document and source of a captured page. Pages of one file are of one document where nothing names it."""
    at = f"production {record.namespace}/{record.deployment} prediction {record.prediction} page {record.page.number}"
    return Origin(document=record.document or f"file {record.page.sha256}", source=at)


def _verified(task: Returned, arrival: Arrival, document: str | None, source: str | None) -> Origin:
    at = task.verified_at or arrival.origin.verified_at
    by = _verifier(task.verified_by, arrival)
    if not by:
        number = f"only that its user {task.verified_by} did it" if task.verified_by else "not"
        raise UnusableError(
            Reason.VERIFIER_MISSING,
            f"the export says {number}: name who verified it (--annotator NUMBER=NAME, --verified-by)",
        )
    if not is_utf8(by):
        raise UnusableError(Reason.VERIFIER_MISSING, f"it was verified by {by!a}, which is no text")
    if not at:
        raise UnusableError(Reason.VERIFIER_MISSING, "the export does not say when it was verified (--verified-at)")
    try:
        date.fromisoformat(at)
    except ValueError:
        raise UnusableError(Reason.VERIFIER_MISSING, f"it was verified at {at!r}, which is no date") from None
    return Origin(document, source, by, at)


def _verifier(said: str | None, arrival: Arrival) -> str | None:
    """Return a person: as the tool names them, or as its number of them is said to be; a number alone is nobody."""
    if said is not None and (said in arrival.annotators or not said.isdecimal()):
        return arrival.annotators.get(said, said)
    return arrival.origin.verified_by


def _file_name(task: str, number: int, taken: set[str]) -> str:
    """Return a name that leads back to the task, and that no other task has; it is `taken` from then on."""
    plain = _UNFIT.sub("-", one_spelling(PurePosixPath(task).stem))
    # Letters of some scripts take three bytes, and file systems take 255.
    plain = plain.encode(errors="replace")[:_LONGEST].decode(errors="ignore").strip(".-") or "task"
    name = plain
    while name in taken:  # numbers may stand in the names of others, too
        name, number = f"{plain}-{number}", number + 1
    taken.add(name)
    return name


def _write(folder: Path, image: str, data: bytes, label: bytes) -> None:
    for path, content in ((folder / image, data), (folder / "labels" / f"{Path(image).stem}.txt", label)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
