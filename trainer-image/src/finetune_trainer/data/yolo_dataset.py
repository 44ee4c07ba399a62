"""A YOLO data set's layout: which images a split has, and where their labels lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ..errors import Reason, StepError, bad_input
from ..storage import Storage, join, local_path
from ..texts import text_in
from .data_yaml import DataYaml, Split, posix_path
from .images import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from .folder import Folder


def label_of(image: str) -> str:
    """Return where the label of an image lies: the last `images` folder becomes `labels`; else beside the image."""
    path = PurePosixPath(image)
    parts = list(path.parts)
    folders = [i for i, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    return str(PurePosixPath(*parts).with_suffix(".txt"))


@dataclass(frozen=True, slots=True)
class SplitPages:
    """A split's images relative to the data set, sorted, each once; the lists that name them; how many lines repeat."""

    images: tuple[str, ...]
    lists: tuple[str, ...] = ()
    repeats: int = 0


def split_images(storage: Storage, folder: Folder, data: DataYaml, split: Split) -> SplitPages:
    """Return the pages of a split of the data set in this folder.

    Raises StepError DataUnreadable for places outside of it, for paths of Windows, and for listed images that are not
    there.
    """
    where = join(folder.uri, "data.yaml")
    written_root = posix_path(data.root, f"path: {data.root}", where)
    root = _relative(folder.uri, folder="", written=written_root, what=f"path: {data.root}")
    images: list[str] = []
    lists: list[str] = []
    for written in data.splits[split]:
        place = _place(folder, root, posix_path(written, f"{split}: {written}", where), split)
        file = folder.named(place)
        if file is not None and PurePosixPath(file).suffix.lower() == ".txt":
            lists.append(file)
            images += _listed(storage, folder, file)
        elif file is not None:
            images.append(file)
        else:
            images += _below(folder, place, f"{split}: {written}" + (f" below path: {data.root}" if root else ""))
    each = sorted(set(images))
    return SplitPages(tuple(each), tuple(lists), len(images) - len(each))


def _below(folder: Folder, place: str, what: str) -> list[str]:
    below = [path for path in folder.below(place) if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES]
    if not below:
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"{what} in data.yaml names no image below {folder.uri}.",
            "Name directories, .txt lists or images that exist, relative to data.yaml.",
        )
    return below


def _place(folder: Folder, root: str, written: str, split: Split) -> str:
    """Return a split's place. Roboflow writes `../train/images` of the folder beside data.yaml; so does ultralytics
    read it, where nothing else is there.
    """
    beside = written.removeprefix("../")
    if beside != written and not root and (folder.named(beside) or folder.below(beside.rstrip("/"))):
        return _relative(folder.uri, folder="", written=beside, what=f"{split}: {written}")
    return _relative(folder.uri, folder=root, written=written, what=f"{split}: {written}")


def _listed(storage: Storage, folder: Folder, listing: str) -> list[str]:
    images: list[str] = []
    above = str(PurePosixPath(listing).parent)
    text = text_in(storage.read(join(folder.uri, listing)))
    for number, line in enumerate(text.splitlines(), start=1):
        if not (entry := line.strip()):
            continue
        what = f"{listing} line {number}"
        # As ultralytics reads a list: "./" is relative to the list; anything else to the data set's root.
        path = _relative(folder.uri, folder=above if entry.startswith("./") else "", written=entry, what=what)
        image = folder.named(path)
        if image is not None:
            images.append(image)
        elif not folder.is_dropping(path):
            raise _not_there(folder, path, entry, what)
    return images


def _not_there(folder: Folder, path: str, entry: str, what: str) -> StepError:
    """Return the error of a list's entry that is no file of the data set; of a path of Windows it is raised."""
    posix_path(entry, entry, what)
    if path in folder.left_out:
        return bad_input(
            Reason.DATA_UNREADABLE,
            f"{what} names {entry!r}, which is {folder.left_out[path]}.",
            "Move it with its label to a folder of pages, where no name begins with a dot; or take the line out.",
        )
    return bad_input(
        Reason.DATA_UNREADABLE,
        f"{what} names {entry!r}, which is not below {folder.uri}.",
        "List existing images by a path relative to the list (./...) or to the data set.",
    )


def _relative(uri: str, *, folder: str, written: str, what: str) -> str:
    """Return `written` as a path relative to the data set at `uri`; "" is the data set itself."""
    path = PurePosixPath(written)
    if path.is_absolute():
        root = local_path(uri)
        if root is None or not path.is_relative_to(root):
            raise _outside(uri, what)
        path = path.relative_to(root)
        folder = ""
    parts: list[str] = []
    for part in (PurePosixPath(folder) / path).parts:
        if part == "..":
            if not parts:
                raise _outside(uri, what)
            parts.pop()
        elif part not in (".", ""):
            parts.append(part)
    return "/".join(parts)


def _outside(uri: str, what: str) -> StepError:
    return bad_input(
        Reason.DATA_UNREADABLE,
        f"{what} leads out of {uri}.",
        "Keep the data set in one place, with paths relative to data.yaml: pods see it under another root.",
    )
