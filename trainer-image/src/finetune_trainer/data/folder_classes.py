"""The classes of a folder that comes in: what its indices mean, and how they become the anchor's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from ..documents.classes import check_classes, spelling
from ..errors import Reason, StepError, bad_input
from ..storage import Storage, join
from ..texts import text_in
from .data_yaml import parse_data_yaml
from .folder import Folder, is_archive

_LISTS: Final = ("data.yaml", "classes.txt", "obj.names")
"""What says the classes: as ultralytics reads it, as labelImg and Label Studio write it, and as CVAT does."""


def folder_classes(storage: Storage, folder: Folder) -> tuple[str, ...]:
    """Return the class names of the folder's indices.

    Raises StepError ClassListDiffers where nothing says them, or two files say different ones.
    """
    first = next((name for name in _LISTS if name in folder.files), None)
    if first is None:
        there, remedy = what_lies_there(
            folder, "Export with data.yaml (names:) or classes.txt, one class a line, in the anchor's order."
        )
        raise bad_input(
            Reason.CLASS_LIST_DIFFERS,
            f"{folder.uri} has none of {', '.join(_LISTS)}, so what its class indices mean is unknown{there}.",
            remedy,
        )
    names = _names(storage, folder, first)
    check_lists(storage, folder, first, names, folder.images)
    return names


def check_lists(storage: Storage, folder: Folder, first: str, names: Sequence[str], images: Iterable[str]) -> None:
    """Raise StepError ClassListDiffers where another list says other classes for all or some of these images.

    A list speaks for what lies below its own folder: several exports in one folder may have several orders, and
    labelImg writes what its indices mean beside the labels.
    """
    others = sorted(path for path in folder.files if path != first and path.rpartition("/")[2] in _LISTS)
    spoken = _folders_of(folder, images) if others else set()
    for other in others:
        if other.rpartition("/")[0] not in spoken:
            continue
        otherwise = _names(storage, folder, other)
        if otherwise != tuple(names):
            raise bad_input(
                Reason.CLASS_LIST_DIFFERS,
                f"{folder.uri} says two things about its classes: {first} has {', '.join(names)}; "
                f"{other} has {', '.join(name + spelling(name, names) for name in otherwise)}.",
                "Delete the file that is not the export's. Where these are several exports, renumber the labels of "
                "one; or add the folder of each by itself.",
            )


def _folders_of(folder: Folder, images: Iterable[str]) -> set[str]:
    """Return all folders, relative and "" for the whole, that these images or their labels lie below."""
    direct = {path.rpartition("/")[0] for i in images for path in (i, folder.label(i) or i)}
    return {"" if str(above) == "." else str(above) for path in direct for above in PurePosixPath(path, "x").parents}


def _names(storage: Storage, folder: Folder, path: str) -> tuple[str, ...]:
    data, where = storage.read(join(folder.uri, path)), join(folder.uri, path)
    if path.endswith(".yaml"):
        return parse_data_yaml(data, where).names
    return _listed(text_in(data), where)


def _listed(text: str, where: str) -> tuple[str, ...]:
    """Return the names of a list, one a line; StepError ClassListInvalid where a line may or may not be a class.

    An empty one is a class to some tools, and none to others: what follows would have another index.
    """
    names = [line.strip() for line in text.rstrip().splitlines()]
    doubtful = next((n for n, name in enumerate(names) if not name or name in names[:n]), None)
    if doubtful is not None:
        what = f"the name {names[doubtful]!r} again" if names[doubtful] else "no name, and names follow"
        raise bad_input(
            Reason.CLASS_LIST_INVALID,
            f"Line {doubtful + 1} of {where} has {what}, so what the indices of its labels mean is unknown.",
            "Write each class on a line of its own, once, in the order of the labels' indices.",
        )
    return tuple(names)


def renumbering(names: Sequence[str], *, anchor: Sequence[str], folder: str, by_name: bool) -> Mapping[int, int]:
    """Return the anchor's index of each of the folder's; StepError ClassListDiffers unless lists are equal.

    `by_name` (--map-classes) takes another order, and some of the classes only.
    """
    unknown = [name + spelling(name, anchor) for name in names if name not in anchor]
    if unknown:
        raise bad_input(
            Reason.CLASS_LIST_DIFFERS,
            f"The folder {folder} has classes that the anchor has not: {', '.join(unknown)}. "
            f"Known are {', '.join(anchor)}.",
            "Rename or leave them out; or name what a new base is to learn with --append-classes, in its order.",
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


def what_lies_there(folder: Folder, otherwise: str) -> tuple[str, str]:
    """Return what somebody may have meant instead of this folder, as part of a sentence, and how it is mended.

    Without any guess "" and `otherwise`.
    """
    deeper = sorted(path.removesuffix("/data.yaml") for path in folder.files if path.endswith("/data.yaml"))
    if deeper:
        places = [join(folder.uri, path) for path in deeper]
        more = f" and {len(places) - 1} more below it" if places[1:] else ""
        return f"; there is one in {places[0]}{more}", "Name that folder" + ("; one after the other." if more else ".")
    other = sorted(path for path in folder.files if "/" not in path and path.endswith((".yaml", ".yml")))
    if other:
        return f"; {other[0]} lies there", f"Rename {other[0]} to data.yaml."
    letters = sorted(path for path in folder.files if path not in _LISTS and path.lower() in _LISTS)
    if letters:
        return f"; {letters[0]} lies there", f"Rename {letters[0]} to {letters[0].lower()}."
    names = sorted(path for path in folder.files if path.rpartition("/")[2] in _LISTS[1:])
    if names:
        return f"; {names[0]} has the class names", "Write them into a data.yaml (names:, train:, val:, test:) there."
    archives = sorted(path for path in folder.files if is_archive(path))
    return (f"; {archives[0]} lies there", "Unpack it, and name the folder.") if archives else ("", otherwise)
