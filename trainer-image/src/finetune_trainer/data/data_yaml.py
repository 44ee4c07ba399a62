"""Reading data.yaml as tools write it: class names by index, and each split's places. Nothing in it is executed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import yaml

from ..documents.classes import check_class_names
from ..errors import Reason, StepError, bad_input
from ..texts import beginning

Split = Literal["train", "val", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")

_MOST_KEYS: Final = 10_000
"""Of a mapping. Merges of merges have as many as they like, from a few lines."""

_REMEDY: Final = "Write data.yaml as ultralytics documents it."


@dataclass(frozen=True, slots=True)
class DataYaml:
    """Class names by index, and each split's places as written (directories, .txt lists or images)."""

    names: tuple[str, ...]
    root: str
    splits: Mapping[Split, tuple[str, ...]]


class _Loader(yaml.SafeLoader):
    """The safe loader, which refuses a key that is there twice: YAML's usual readers take the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping; a ConstructorError names the key and where it is repeated."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is there twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge what `<<` names; a ConstructorError where this comes to more keys than any data set has."""
        super().flatten_mapping(node)
        if len(node.value) > _MOST_KEYS:
            raise yaml.constructor.ConstructorError(None, None, "its merges (<<) grow without end", node.start_mark)


def parse_data_yaml(data: bytes, where: str) -> DataYaml:
    """Parse a data.yaml; `download` is ignored on purpose.

    Raises StepError DataUnreadable for what it cannot mean, ClassListInvalid for its class names.
    """
    try:
        content = yaml.load(data, _Loader)  # noqa: S506 - a safe loader, with one more check
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _unreadable(where, f"is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise _unreadable(where, "is not a mapping")
    names = _names(content.get("names"), where)
    count = content.get("nc")
    said = count.strip() if isinstance(count, str) else beginning(count)
    if count is not None and said != str(len(names)):
        raise _unreadable(
            where, f"says nc: {said[:80]} but has {len(names)} names", "Let nc be the number of names, or leave it out."
        )
    splits: dict[Split, tuple[str, ...]] = {}
    for split in SPLITS:
        value = content.get(split, content.get("validation") if split == "val" else None)
        places = [value] if isinstance(value, str) else value or []
        if not isinstance(places, list) or not all(isinstance(p, str) for p in places):
            raise _unreadable(where, f"has {split}: {beginning(value)}, expected a path or a list of paths")
        splits[split] = tuple(places)
    root = content.get("path") or ""
    if not isinstance(root, str):
        raise _unreadable(where, f"has path: {beginning(root)}, expected text")
    return DataYaml(names, root, splits)


def posix_path(written: str, what: str, where: str) -> str:
    r"""Return a path as it is written; StepError for one of Windows, with `where` it stands: `C:\data` is in no pod."""
    if "\\" in written or written[1:2] == ":":
        raise _unreadable(
            where,
            f"has {what}, which is a path of Windows",
            "Write paths relative to data.yaml with forward slashes, for example train: images/train, and no path:.",
        )
    return written


def _names(value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, dict):
        value = _by_index(value, where)
    if not isinstance(value, list) or not value:
        raise _unreadable(where, "has no names: (a list, or a mapping from index to name)", _NAMES_REMEDY)
    for index, name in enumerate(value):
        if not isinstance(name, str):
            raise _unreadable(
                where,
                f"calls class {index} {beginning(name)}, which YAML reads as {type(name).__name__}, not as text",
                f'Put names that are numbers, dates, yes, no, on, off or null in quotes: {index}: "{_said(name)}".',
            )
        if not name:
            raise _unreadable(where, f"has no name for class {index}", _NAMES_REMEDY)
    check_class_names(value, where)
    return tuple(value)


_NAMES_REMEDY: Final = "Write names as a list, or as a mapping with the indices 0, 1, 2, ..."


def _by_index(names: Mapping[object, object], where: str) -> list[object]:
    """Return a mapping's names in order. Keys are whole numbers, or all of them texts of such, as some tools write."""
    texts = [isinstance(key, str) for key in names]
    if any(texts) and not all(texts):
        raise _unreadable(where, "has names whose keys are partly numbers and partly text", _NAMES_REMEDY)
    try:
        by_index = {int(str(key)): name for key, name in names.items() if not isinstance(key, bool)}
    except ValueError:
        by_index = {}
    if sorted(by_index) != list(range(len(names))):
        raise _unreadable(
            where, f"has names with the indices {sorted(map(str, names))}, expected 0, 1, 2, ...", _NAMES_REMEDY
        )
    return [by_index[index] for index in range(len(names))]


def _said(name: object) -> str:
    if isinstance(name, bool):
        return "yes" if name else "no"
    if isinstance(name, list | dict | set):
        return "name"
    return "null" if name is None else str(name)


def _unreadable(where: str, what: str, remedy: str = _REMEDY) -> StepError:
    return bad_input(Reason.DATA_UNREADABLE, f"{where} {what}.", remedy)
