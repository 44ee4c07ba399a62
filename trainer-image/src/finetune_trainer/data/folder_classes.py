"""The classes of a folder that comes in: what its indices mean, and how they become the anchor's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ..documents.classes import check_classes
from ..errors import Reason, StepError, bad_input
from ..storage import Storage, join
from .data_yaml import parse_data_yaml
from .folder import Folder

_LISTS: Final = ("classes.txt", "obj.names")
"""One name a line: as labelImg and Label Studio write it, and as CVAT does."""


def folder_classes(storage: Storage, folder: Folder) -> tuple[str, ...]:
    """Return the class names of the folder's indices.

    Raises StepError ClassListDiffers where nothing says them, or two files say different ones.
    """
    lists: dict[str, tuple[str, ...]] = {}
    if "data.yaml" in folder.files:
        where = join(folder.uri, "data.yaml")
        lists["data.yaml"] = parse_data_yaml(storage.read(where), where).names
    for name in _LISTS:
        if name in folder.files:
            text = storage.read(join(folder.uri, name)).decode("utf-8-sig", errors="replace")
            lists[name] = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not lists:
        raise bad_input(
            Reason.CLASS_LIST_DIFFERS,
            f"{folder.uri} has neither data.yaml nor classes.txt, so what its class indices mean is unknown"
            f"{what_lies_there(folder)}.",
            "Export with data.yaml (names:) or classes.txt, one class a line, in the anchor's order.",
        )
    (first, names), *others = lists.items()
    for other, otherwise in others:
        if otherwise != names:
            raise bad_input(
                Reason.CLASS_LIST_DIFFERS,
                f"{folder.uri} says two things about its classes: {first} has {', '.join(names)}; "
                f"{other} has {', '.join(otherwise)}.",
                "Delete the file that is not the export's.",
            )
    return names


def renumbering(names: Sequence[str], *, anchor: Sequence[str], folder: str, by_name: bool) -> Mapping[int, int]:
    """Return the anchor's index of each of the folder's; StepError ClassListDiffers unless lists are equal.

    `by_name` (--map-classes) takes another order, and some of the classes only.
    """
    unknown = [name for name in names if name not in anchor]
    if unknown:
        raise bad_input(
            Reason.CLASS_LIST_DIFFERS,
            f"The folder {folder} has classes that the anchor has not: {', '.join(unknown)}. "
            f"The anchor's are {', '.join(anchor)}.",
            "Classes can be added when a new base is trained, and at no other time; rename or leave out the others.",
        )
    if by_name:
        return {index: list(anchor).index(name) for index, name in enumerate(names)}
    if tuple(names) != tuple(anchor):
        try:
            check_classes(names, f"The folder {folder}", expected=anchor)
        except StepError as error:
            raise bad_input(
                Reason.CLASS_LIST_DIFFERS,
                error.message,
                "Repeat it with --map-classes, which renumbers the labels by their names.",
            ) from None
    return {index: index for index in range(len(names))}


def renumber(label: bytes, classes: Mapping[int, int]) -> bytes:
    """Return a label with the anchor's indices; the same bytes where no index changes. The label must be valid."""
    if all(old == new for old, new in classes.items()):
        return label
    rows = (line.split() for line in label.decode("utf-8-sig").splitlines() if line.strip())
    return "".join(f"{classes[int(float(index))]} {' '.join(rest)}\n" for index, *rest in rows).encode()


def what_lies_there(folder: Folder) -> str:
    """Return what somebody may have meant instead of this folder, as part of a sentence; "" for no guess."""
    deeper = sorted(path.removesuffix("/data.yaml") for path in folder.files if path.endswith("/data.yaml"))
    if deeper:
        return f"; there is one in {join(folder.uri, deeper[0])}: name that folder"
    other = sorted(path for path in folder.files if "/" not in path and path.endswith((".yaml", ".yml")))
    if other:
        return f"; {other[0]} lies there: rename it to data.yaml"
    names = sorted(path for path in folder.files if path.rpartition("/")[2] == "obj.names")
    if names:
        return f"; {names[0]} has the class names: write them into a data.yaml (names:, train:, val:, test:)"
    archives = sorted(path for path in folder.files if path.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz")))
    return f"; {archives[0]} lies there: unpack it" if archives else ""
