"""Reading a YOLO data set's layout: data.yaml, splits, label places. Nothing in data.yaml is ever executed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

import yaml

from ..documents.classes import check_class_names
from ..errors import Reason, StepError, bad_input
from ..storage import Storage, join, local_path
from .images import IMAGE_SUFFIXES

Split = Literal["train", "val", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class DataYaml:
    """Class names by index, and each split's places as written (directories, .txt lists or images)."""

    names: tuple[str, ...]
    root: str
    splits: Mapping[Split, tuple[str, ...]]


def parse_data_yaml(data: bytes, where: str) -> DataYaml:
    """Parse a data.yaml; `download` is ignored on purpose.

    Raises StepError DataUnreadable for what it cannot mean, ClassListInvalid for its class names.
    """
    try:
        content = yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise _unreadable(where, f"is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise _unreadable(where, "is not a mapping")
    names = _names(content.get("names"), where)
    if (count := content.get("nc")) is not None and count != len(names):
        raise _unreadable(where, f"says nc: {count} but has {len(names)} names")
    splits: dict[Split, tuple[str, ...]] = {}
    for split in SPLITS:
        value = content.get(split, content.get("validation") if split == "val" else None)
        places = [value] if isinstance(value, str) else value or []
        if not isinstance(places, list) or not all(isinstance(p, str) for p in places):
            raise _unreadable(where, f"has {split}: {value!r}, expected a path or a list of paths")
        splits[split] = tuple(places)
    root = content.get("path") or ""
    if not isinstance(root, str):
        raise _unreadable(where, f"has path: {root!r}, expected text")
    return DataYaml(names, root, splits)


def _names(value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, dict):
        if sorted(value) != list(range(len(value))):
            raise _unreadable(where, f"has names with the indices {sorted(map(str, value))}, expected 0, 1, 2, ...")
        value = [value[i] for i in range(len(value))]
    if not isinstance(value, list) or not value or not all(isinstance(n, str) and n for n in value):
        raise _unreadable(where, "has no names: (a list, or a mapping from index to name)")
    check_class_names(value, where)
    return tuple(value)


def _unreadable(where: str, what: str) -> StepError:
    return bad_input(Reason.DATA_UNREADABLE, f"{where} {what}.", "Write data.yaml as ultralytics documents it.")


def label_of(image: str) -> str:
    """Return where the label of an image lies: the last `images` folder becomes `labels`; else beside the image."""
    path = PurePosixPath(image)
    parts = list(path.parts)
    folders = [i for i, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    return str(PurePosixPath(*parts).with_suffix(".txt"))


def split_images(storage: Storage, uri: str, data: DataYaml, split: Split, objects: frozenset[str]) -> tuple[str, ...]:
    """Return the paths of a split's images relative to `uri`, sorted, each once; `objects` are all paths below `uri`.

    Raises StepError DataUnreadable for places outside of `uri` and for listed images that are not there.
    """
    root = _relative(uri, folder="", written=data.root, what=f"path: {data.root}")
    images: set[str] = set()
    for written in data.splits[split]:
        place = _relative(uri, folder=root, written=written, what=f"{split}: {written}")
        if place in objects and PurePosixPath(place).suffix.lower() == ".txt":
            images.update(_listed(storage, uri, place, objects))
        elif place in objects:
            images.add(place)
        else:
            prefix = f"{place}/" if place else ""
            below = {o for o in objects if o.startswith(prefix) and PurePosixPath(o).suffix.lower() in IMAGE_SUFFIXES}
            if not below:
                raise bad_input(
                    Reason.DATA_UNREADABLE,
                    f"{split}: {written} in data.yaml names no image below {uri}.",
                    "Name directories, .txt lists or images that exist, relative to data.yaml.",
                )
            images.update(below)
    return tuple(sorted(images))


def _listed(storage: Storage, uri: str, listing: str, objects: frozenset[str]) -> set[str]:
    images: set[str] = set()
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
        images.add(image)
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
