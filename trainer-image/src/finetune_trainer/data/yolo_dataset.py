"""A YOLO data set's layout: which images a split has, and where their labels lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from ..errors import Reason, StepError, bad_input
from ..storage import Storage, join, local_path
from .data_yaml import DataYaml, Split
from .images import IMAGE_SUFFIXES


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


def split_images(storage: Storage, uri: str, data: DataYaml, split: Split, objects: frozenset[str]) -> SplitPages:
    """Return the pages of a split; `objects` are all paths below `uri`.

    Raises StepError DataUnreadable for places outside of `uri` and for listed images that are not there.
    """
    root = _relative(uri, folder="", written=data.root, what=f"path: {data.root}")
    images: list[str] = []
    lists: list[str] = []
    for written in data.splits[split]:
        place = _place(uri, root, written, split, objects)
        if place in objects and PurePosixPath(place).suffix.lower() == ".txt":
            lists.append(place)
            images += _listed(storage, uri, place, objects)
        elif place in objects:
            images.append(place)
        else:
            images += _below(uri, place, f"{split}: {written}", objects)
    each = sorted(set(images))
    return SplitPages(tuple(each), tuple(lists), len(images) - len(each))


def _below(uri: str, place: str, what: str, objects: frozenset[str]) -> list[str]:
    prefix = f"{place}/" if place else ""
    below = [o for o in objects if o.startswith(prefix) and PurePosixPath(o).suffix.lower() in IMAGE_SUFFIXES]
    if not below:
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"{what} in data.yaml names no image below {uri}.",
            "Name directories, .txt lists or images that exist, relative to data.yaml.",
        )
    return below


def _place(uri: str, root: str, written: str, split: Split, objects: frozenset[str]) -> str:
    """Return a split's place. Roboflow writes `../train/images` of the folder beside data.yaml; so does ultralytics
    read it, where nothing else is there.
    """
    beside = written.removeprefix("../")
    if beside != written and not root and any(o == beside or o.startswith(f"{beside.rstrip('/')}/") for o in objects):
        return _relative(uri, folder="", written=beside, what=f"{split}: {written}")
    return _relative(uri, folder=root, written=written, what=f"{split}: {written}")


def _listed(storage: Storage, uri: str, listing: str, objects: frozenset[str]) -> list[str]:
    images: list[str] = []
    folder = str(PurePosixPath(listing).parent)
    text = storage.read(join(uri, listing)).decode("utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if not (entry := line.strip()):
            continue
        # As ultralytics reads a list: "./" is relative to the list; anything else to the data set's root.
        image = _relative(
            uri,
            folder=folder if entry.startswith("./") else "",
            written=entry,
            what=f"{listing} line {number}",
        )
        if image not in objects:
            raise bad_input(
                Reason.DATA_UNREADABLE,
                f"{listing} line {number} names {entry!r}, which is not below {uri}.",
                "List existing images by a path relative to the list (./...) or to the data set.",
            )
        images.append(image)
    return images


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
