"""What lies in a data set's folder: every file is a page, a label, or named with the reason why it is neither."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Final

from ..documents.anchor import INDEX_NAME
from ..errors import Reason, bad_input
from ..local_files import is_file
from ..storage import Storage, join, local_path
from ..texts import one_spelling, text_in
from .images import IMAGE_SUFFIXES
from .labels import looks_like_label, looks_like_other_label
from .problems import Problem
from .yolo_dataset import label_of

OTHER_IMAGES: Final = frozenset(
    {".apng", ".avif", ".dcm", ".dng", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpf", ".jpx",
     ".jxl", ".mpo", ".pbm", ".pdf", ".pgm", ".pnm", ".ppm", ".psd", ".svg", ".tga"}
)  # fmt: skip
"""Suffixes of pictures and documents that are not taken for pages: a page must not be lost for its file's name."""

_ARCHIVES: Final = frozenset(
    {".001", ".7z", ".bz2", ".gz", ".iso", ".rar", ".tar", ".tbz2", ".tgz", ".txz", ".xz", ".zip", ".zst"}
)
"""Suffixes of what may hold pages that nobody unpacked, whole or in volumes."""

_OTHER_LABELS: Final = frozenset({".json", ".xml"})
_LABEL_KEYS: Final = re.compile(r'<annotation|"(?:annotations|instances|labels?|objects|pageAnchor|shapes)"\s*:')
"""What stands in labels of other tools, and in no data that a scanner writes beside a page."""

_OF_MANY: Final = frozenset({".csv", ".json", ".jsonl", ".manifest", ".ndjson", ".xml"})
_KEYS_OF_MANY: Final = re.compile(rf'{_LABEL_KEYS.pattern}|"regions"\s*:|region_shape_attributes')
_FOUR_NUMBERS: Final = re.compile(r'(?:[,;]\s*"?-?\d+(?:[.]\d+)?"?){4}')
"""What stands in files that have the labels of many pages, as COCO, CVAT, VIA, Ground Truth and Roboflow write them;
the last of a table."""

_BETWEEN: Final = re.compile(r"""["'/\\<>,;\r\n]+""")
_ESCAPED: Final = re.compile(r"\\u([0-9a-fA-F]{4})")

_DROPPINGS: Final = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", "ehthumbs.db", "Icon\r"})
_SMALL_COPIES: Final = frozenset({".@__thumb", "@eaDir"})
"""Folders in which network storage keeps small copies of the pictures beside them, under names of its own."""

_DROPPED_FOLDERS: Final = frozenset({"__MACOSX", *_SMALL_COPIES})
_BINS: Final = frozenset(
    {"#recycle", "#snapshot", "$recycle.bin", ".recycle", ".snapshot", ".snapshots", ".trash", ".trashes", "@recycle",
     "~snapshot"}
)  # fmt: skip
"""Folders, in small letters, in which systems and network storage keep what was deleted, and how things were."""

_NEITHER: Final = "neither page nor label"
_IN_BIN: Final = "in a folder of what was deleted"
_LEFT_BEHIND: Final = "left behind by an operating system"
_KNOWN: Final = frozenset({"data.yaml", "classes.txt", INDEX_NAME})
"""What a data set has beside its pages."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A data set's files below `uri` by kind, none of them in two.

    `files` may be pages, labels or lists; `left_out` says by path why something is not looked at; `lost` are
    problems: what would be lost if nobody was told.
    """

    uri: str
    files: frozenset[str]
    left_out: Mapping[str, str] = field(default_factory=dict)
    lost: tuple[Problem, ...] = ()
    _by_form: Mapping[str, str] = field(default_factory=dict)
    """Files whose names are not ASCII, by their name in the form NFC."""

    @property
    def images(self) -> tuple[str, ...]:
        """The files that are taken for pages, sorted."""
        return tuple(sorted(path for path in self.files if _suffix(path) in IMAGE_SUFFIXES))

    def label(self, image: str) -> str | None:
        """Return where an image's label lies, None where there is none.

        Names that differ only in how they write accents (NFC, NFD) are one name: archives from macOS mix them.
        """
        return self.named(label_of(image))

    def named(self, path: str) -> str | None:
        """Return the file of this path, as label() compares names; None where there is none."""
        return path if path in self.files else self._by_form.get(one_spelling(path))

    def below(self, place: str) -> list[str]:
        """Return the files below a folder, "" for all, as label() compares names."""
        prefix = f"{place}/" if place else ""
        there = [path for path in self.files if path.startswith(prefix)]
        form = one_spelling(prefix)
        return there or [path for written, path in self._by_form.items() if written.startswith(form)]

    def is_dropping(self, path: str) -> bool:
        """Tell whether a system wrote this file for itself, as `.DS_Store`: no list of pages can mean it."""
        return self.left_out.get(path) == _LEFT_BEHIND


def read_folder(storage: Storage, uri: str) -> Folder:
    """List the data set at `uri`; StepError DataUnreadable, saying what lies there instead, when it is no folder."""
    path = local_path(uri)
    if path is not None and is_file(path):
        raise bad_input(Reason.DATA_UNREADABLE, f"{uri} is a file.", _of_file(path.name))
    listing = storage.walk(uri)
    hidden = {path: why for path in listing.files if (why := _hidden(path)) is not None}
    files = frozenset(listing.files) - hidden.keys()
    lost = [Problem(Reason.FILE_UNUSABLE, place, why) for place, why in sorted(listing.unusable.items())]
    lost += [
        Problem(Reason.FILE_UNUSABLE, path, "a name with backslashes: its archive was made on Windows")
        for path in sorted(files)
        if "\\" in path
    ]
    lost += _only_hidden(hidden, files)
    by_form = {one_spelling(path): path for path in files if not path.isascii()}
    return Folder(uri, files, hidden, tuple(lost), by_form)


def account(storage: Storage, folder: Folder, taken: Collection[str]) -> tuple[dict[str, str], list[Problem]]:
    """Return what is left out, by path with why, and what must not be left out; `taken` are the images of pages."""
    used = {label for image in taken if (label := folder.label(image)) is not None} | set(taken)
    expected = {one_spelling(label_of(image)) for image in folder.images}
    unlabelled, by_stem = {image for image in folder.images if folder.label(image) is None}, _by_stem(folder.images)
    left_out, lost = dict(folder.left_out), [*folder.lost, *_shared_labels(folder, taken)]
    for path in sorted(folder.files - used):
        name, of = PurePosixPath(path).name, [image for image in _like(path, by_stem) if image in unlabelled]
        if _suffix(path) in OTHER_IMAGES | _ARCHIVES:
            lost.append(_other_image(path))
        elif _suffix(path) in IMAGE_SUFFIXES:
            left_out[path] = "in no split of data.yaml"
        elif name in _KNOWN:
            continue
        elif one_spelling(path) in expected:
            left_out[path] = "the label of a page in no split"
        elif _suffix(path) == ".txt" and _is_label(storage, folder.uri, path):
            lost.append(Problem(Reason.IMAGE_MISSING, path, _of_no_image(next(iter(of), None))))
        elif (pages := used.intersection(of)) and _is_of_other_tools(storage, folder.uri, path):
            lost.append(Problem(Reason.FILE_UNUSABLE, path, f"a label of {min(pages)} in a format that is not read"))
        else:
            left_out[path] = _NEITHER
    neither = [path for path, why in left_out.items() if why == _NEITHER]
    of_many = _labels_of_many(storage, folder.uri, neither, unlabelled & used)
    return {path: why for path, why in left_out.items() if path not in of_many}, [*lost, *of_many.values()]


def _labels_of_many(storage: Storage, uri: str, paths: Iterable[str], bare: Collection[str]) -> dict[str, Problem]:
    """Return by path the files that have labels of many pages, one of those without a label among them.

    Such a page is none without a box. What else these files say is passed over.
    """
    names = {one_spelling(PurePosixPath(image).name): image for image in sorted(bare, reverse=True)}
    problems: dict[str, Problem] = {}
    for path in paths if names else ():
        if _suffix(path) not in _OF_MANY:
            continue
        text = _ESCAPED.sub(lambda code: chr(int(code[1], 16)), text_in(storage.read(join(uri, path))))
        boxes = _KEYS_OF_MANY.search(text) or (_suffix(path) == ".csv" and _FOUR_NUMBERS.search(text))
        said = names.keys() & set(map(one_spelling, _BETWEEN.split(text))) if boxes else ()
        if said:
            message = f"it has labels in a format that is not read, and {names[min(said)]}, which it names, has none"
            problems[path] = Problem(Reason.FILE_UNUSABLE, path, message)
    return problems


def _of_no_image(image: str | None) -> str:
    """Return what is wrong with a label that is no page's; `image` has its name, and no label."""
    if image is None:
        return "a label, and there is no image of its name"
    return f"a label, and that of {image} is looked for at {label_of(image)}"


def _stem(path: str) -> str:
    """Return a name by which image and label go together, wherever they lie: of p.png, p.txt and p.png.txt it is p."""
    name = PurePosixPath(one_spelling(path))
    return PurePosixPath(name.stem).stem if _suffix(name.stem) in IMAGE_SUFFIXES else name.stem


def _by_stem(images: Iterable[str]) -> dict[str, list[str]]:
    by_stem: dict[str, list[str]] = {}
    for image in images:
        by_stem.setdefault(_stem(image), []).append(image)
    return by_stem


def _like(path: str, by_stem: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the images that a file may be of by its name: of several those whose folders are called most alike.

    Azure writes p.png.labels.json, and p.pdf.labels.json of a page that came of a PDF.
    """
    name = _stem(path)
    while name not in by_stem and (shorter := PurePosixPath(name).stem) != name:
        name = shorter
    alike = {image: _folders_alike(path, image) for image in by_stem.get(name, ())}
    return [image for image, count in alike.items() if count == max(alike.values())]


def _folders_alike(one: str, other: str) -> int:
    """Return how many folders have one name, from the last ones upwards."""
    above = (reversed(PurePosixPath(path).parts[:-1]) for path in (one, other))
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*above, strict=False)))


def _is_of_other_tools(storage: Storage, uri: str, path: str) -> bool:
    """Tell whether a file is the label of one page as VOC, labelme, Azure, VisDrone, KITTI and others have it."""
    if _suffix(path) == ".txt":
        return looks_like_other_label(storage.read(join(uri, path)))
    if _suffix(path) not in _OTHER_LABELS:
        return False
    return _LABEL_KEYS.search(text_in(storage.read(join(uri, path)))) is not None


def lost_images(folder: Folder) -> list[Problem]:
    """Return a problem for all that may be a page and cannot be read as one."""
    others = [_other_image(path) for path in sorted(folder.files) if _suffix(path) in OTHER_IMAGES | _ARCHIVES]
    return [*folder.lost, *others]


def is_archive(path: str) -> bool:
    """Tell whether a file's name says that others are packed in it."""
    return _suffix(path) in _ARCHIVES


def _other_image(path: str) -> Problem:
    if is_archive(path):
        return Problem(Reason.FILE_UNUSABLE, path, "an archive, which may hold pages: unpack it, or move it out")
    message = f"pages are {', '.join(sorted(IMAGE_SUFFIXES))}; this is {_suffix(path)}"
    return Problem(Reason.FILE_UNUSABLE, path, message)


def _shared_labels(folder: Folder, images: Iterable[str]) -> list[Problem]:
    """Return a problem for every two images that have one label: it can be right for one of them only."""
    owner: dict[str, str] = {}
    problems: list[Problem] = []
    for image in sorted(images):
        label = folder.label(image) or label_of(image)
        other = owner.setdefault(label, image)
        if other != image:
            message = f"it has the same label as {other}, {label}"
            problems.append(Problem(Reason.LABEL_SHARED, image, message))
    return problems


def summary(left_out: Mapping[str, str]) -> list[str]:
    """Return what was left out for a person: a line for each reason, with the count and the first few places."""
    by_reason: dict[str, list[str]] = {}
    for path, why in sorted(left_out.items()):
        by_reason.setdefault(why, []).append(path)
    return [
        f"left out, {why}: {', '.join(paths[:_SHOWN])}" + (f" and {len(paths) - _SHOWN} more" if paths[_SHOWN:] else "")
        for why, paths in by_reason.items()
    ]


_SHOWN: Final = 5
"""Places that a line of the summary names."""


def _hidden(path: str) -> str | None:
    """Return why a file is passed over by its name alone, or None."""
    parts = PurePosixPath(path).parts
    if any(part.lower() in _BINS or part.startswith(".Trash-") for part in parts[:-1]):
        return _IN_BIN
    if parts[-1] in _DROPPINGS or parts[-1].startswith("._") or _DROPPED_FOLDERS.intersection(parts[:-1]):
        return _LEFT_BEHIND
    return "hidden" if any(part.startswith(".") for part in parts) else None


def _only_hidden(hidden: Mapping[str, str], files: Collection[str]) -> list[Problem]:
    """Return a problem for every hidden image that is nowhere else: a copy may be passed over, a page may not.

    What somebody deleted is no page any more.
    """
    names = {PurePosixPath(path).name for path in files}
    problems = []
    for path in sorted(path for path, why in hidden.items() if why != _IN_BIN):
        if _SMALL_COPIES.intersection(PurePosixPath(path).parts[:-1]):
            continue
        name = PurePosixPath(path).name.removeprefix("._")
        plain = name.replace("-checkpoint.", ".")
        if _suffix(path) in IMAGE_SUFFIXES | OTHER_IMAGES and name not in names and plain not in names:
            message = "only a hidden folder has it; move it out, or delete it"
            problems.append(Problem(Reason.FILE_UNUSABLE, path, message))
    return problems


def _is_label(storage: Storage, uri: str, path: str) -> bool:
    return "labels" in PurePosixPath(path).parts[:-1] or looks_like_label(storage.read(join(uri, path)))


def _of_file(name: str) -> str:
    if name in ("data.yaml", "dataset.yaml"):
        return "Name the folder that it lies in."
    if is_archive(name):
        return f"Unpack it first, for example: unzip {name} -d folder; then name the folder."
    return "Name a folder with images/ and labels/."


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()
