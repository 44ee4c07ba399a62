"""A YOLO folder that somebody verified: read once, checked, and stored by content in the pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from ..digests import check_digest, sha256_of
from ..documents.anchor import AnchorIndex
from ..documents.classes import check_class_names, spelling
from ..documents.pool import ImageFile, LabelFile
from ..errors import Reason, StepError, bad_input
from ..progress import Counted
from ..storage import Storage, join
from .anchor import read_index
from .folder import Folder, account, read_folder
from .folder_classes import folder_classes, renumber, renumbering
from .images import picture_remarks
from .labels import parse_label, same_boxes
from .pages import check_pages
from .pool import Pool, StoredSample
from .problems import Problem
from .repeated import Compared, NewPage


@dataclass(frozen=True, slots=True)
class Incoming:
    """A folder on its way into the pool: where the files lie, and what its class indices are in the pool.

    `names` are the classes that its labels are stored by: the anchor's, and those that are appended. `left_out` says
    by path why something is no page; `problems` is what must not be left out.
    """

    index: AnchorIndex
    names: tuple[str, ...]
    folder: Folder
    classes: Mapping[int, int]
    left_out: Mapping[str, str]
    problems: tuple[Problem, ...]


def open_folder(
    storage: Storage, folder_uri: str, *, anchor_uri: str, by_name: bool, appended: Sequence[str] = ()
) -> Incoming:
    """List a folder and its classes. Raises StepError where there is no folder, or no anchor of such classes.

    `by_name` renumbers labels by the names of their classes. `appended` are classes behind the anchor's that the folder
    was labelled for too.
    """
    index = read_index(storage, anchor_uri)
    folder = read_folder(storage, folder_uri)
    there = folder_classes(storage, folder)
    names = extended(index.classes, appended)
    _check_appended(there, appended, folder_uri)
    classes = renumbering(there, anchor=names, folder=folder_uri, by_name=by_name)
    left_out, problems = account(storage, folder, folder.images)
    return Incoming(index, names, folder, classes, left_out, tuple(problems))


def extended(anchor: Sequence[str], appended: Sequence[str]) -> tuple[str, ...]:
    """Return the anchor's classes with those behind them; StepError ClassListInvalid for a list that is none.

    The anchor may have got some of them since: what ends its list need not be appended again.
    """
    there = (n for n in range(min(len(anchor), len(appended)), 0, -1) if tuple(anchor[-n:]) == tuple(appended[:n]))
    names = (*anchor, *appended[next(there, 0) :])
    check_class_names(names, "The anchor with --append-classes")
    return names


def as_said(incoming: Incoming, pool: Pool, fields: int | None) -> Incoming:
    """Return the folder as one that was labelled for the classes which it lists, at most the first `fields` ones.

    One that does not list the last of them says nothing of these where the pool has pages that were not labelled for
    them, either: the tool is one of before they were appended. Others may list what occurs, and speak for all. Raises
    StepError ClassListDiffers where it lists one of them, and not one before it.
    """
    least = min((sample.fields for page in pool.pages for sample in page.samples), default=len(incoming.names))
    listed = set(incoming.classes.values())
    said = min(max(listed, default=-1) + 1, len(incoming.names) if fields is None else fields)
    unsaid = [incoming.names[field] for field in range(least, said) if field not in listed]
    if unsaid:
        raise bad_input(
            Reason.CLASS_LIST_DIFFERS,
            f"The folder {incoming.folder.uri} lists {incoming.names[said - 1]} among its classes, and not "
            f"{', '.join(unsaid)}, appended before it: nobody knows whether its pages were labelled for that.",
            f"Label these pages for all classes up to {incoming.names[said - 1]}, and export them with all of these.",
        )
    return replace(incoming, names=incoming.names[: max(said, least)])


def _check_appended(there: Sequence[str], appended: Sequence[str], folder: str) -> None:
    """Raise StepError ClassListDiffers where the folder cannot say anything of an appended class."""
    unsaid = [name + spelling(name, there) for name in appended if name not in there]
    if unsaid:
        raise bad_input(
            Reason.CLASS_LIST_DIFFERS,
            f"The folder {folder} does not have {', '.join(unsaid)} among its classes, so it was not labelled for it.",
            "Leave it out of --append-classes; or label these pages for it, and export them with all classes.",
        )


def read_new_pages(
    storage: Storage, incoming: Incoming, *, allow_background: bool, counted: Counted
) -> tuple[list[NewPage], list[Problem]]:
    """Return the folder's pages that can be used, and what is wrong with the others; `counted` is called meanwhile."""
    pages: list[NewPage] = []
    problems: list[Problem] = []
    images = incoming.folder.images
    checks = check_pages(storage, incoming.folder, images, len(incoming.classes), allow_background=allow_background)
    for number, (files, checked) in enumerate(checks, start=1):
        if isinstance(checked, Problem):
            problems.append(checked)
        else:
            pages.append(NewPage.of(files, checked, incoming.classes))
        counted(number, len(images))
    return pages, problems


def know_same_boxes(storage: Storage, incoming: Incoming, compared: Compared) -> None:
    """Count pages as known that have the pool's boxes written otherwise: tools round, sort and end lines as they like.

    Else an export of the whole project would correct every page of the pool, and make all of them new again. For how
    many classes either was made is not looked at.
    """
    relabelled = compared.relabelled[:]
    compared.relabelled.clear()
    for page, stored in relabelled:
        same = _has_same_boxes(storage, incoming, page, stored)
        (compared.known if same else compared.relabelled).append((page, stored))


def _has_same_boxes(storage: Storage, incoming: Incoming, page: NewPage, stored: StoredSample) -> bool:
    there = storage.read_if_there(stored.label.uri)
    if there is None:
        return False  # it is lost: a correction mends that
    data = renumber(storage.read(join(incoming.folder.uri, page.label)) if page.label else b"", incoming.classes)
    classes = max(len(incoming.names), stored.fields)
    old, new = (parse_label(label, classes) for label in (there, data))
    picture = page.checked.picture
    return isinstance(old, tuple) and isinstance(new, tuple) and same_boxes(old, new, picture.width, picture.height)


def no_image(incoming: Incoming) -> StepError:
    """Return the error of a folder without any page."""
    return bad_input(
        Reason.DATA_UNREADABLE,
        f"No image lies below {incoming.folder.uri}.",
        "Name a YOLO folder with images/ and labels/.",
    )


def store_image(storage: Storage, uri: str, incoming: Incoming, page: NewPage) -> ImageFile:
    """Read an image again, and store it as it was checked; StepError DigestMismatch where it changed meanwhile."""
    data = storage.read(join(incoming.folder.uri, page.image))
    check_digest(page.image, actual=sha256_of(data), expected=page.image_sha256)
    digest, picture = page.image_sha256, page.checked.picture
    path = f"files/{digest[:2]}/{digest}{PurePosixPath(page.image).suffix.lower()}"
    storage.write_once(join(uri, path), data)
    return ImageFile(path, digest, len(data), picture.pixels, picture.look)


def store_label(storage: Storage, uri: str, incoming: Incoming, page: NewPage) -> LabelFile:
    """Read a label again, and store it by the pool's classes; StepError DigestMismatch where it changed meanwhile."""
    data = storage.read(join(incoming.folder.uri, page.label)) if page.label else b""
    stored = renumber(data, incoming.classes)
    check_digest(page.label or page.image, actual=sha256_of(stored), expected=page.label_sha256)
    path = label_path(page)
    storage.write_once(join(uri, path), stored)
    return LabelFile(path, page.label_sha256)


def label_path(page: NewPage) -> str:
    """Return where the page's label lies in a pool: by content, so that pages of one label share it."""
    return path_of_label(page.label_sha256)


def path_of_label(digest: str) -> str:
    """Return where a label of that digest lies in a pool."""
    return f"files/{digest[:2]}/{digest}.txt"


def class_remarks(incoming: Incoming, pages: Iterable[NewPage]) -> list[str]:
    """Return lines on classes of the anchor that pages were not labelled for, and on appended ones that none has."""
    of_anchor, names = incoming.index.classes, incoming.names
    unsaid = ",".join(of_anchor[len(names) :])
    said = "nothing says that these pages were labelled for it, so they teach nothing of it"
    lines = [f"{unsaid}: {said}; where they were, --append-classes {unsaid} says so"] if unsaid else []
    seen = {incoming.classes[field] for page in pages for field in page.checked.fields}
    absent = ", ".join(names[field] for field in range(len(of_anchor), len(names)) if field not in seen)
    return [*lines, f"no page has a box of {absent}: they say that there is none on them"] if absent else lines


def page_remarks(pages: list[NewPage]) -> list[str]:
    """Return lines on pages that come in: how many have no box, and what is odd about their pictures."""
    empty = sum(page.checked.boxes == 0 for page in pages)
    lines = [f"{empty} of {len(pages)} pages have no box"] if empty else []
    return [*lines, *picture_remarks((page.image, page.checked.picture) for page in pages)]
