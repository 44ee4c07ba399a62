"""The pictures that came with an export, found by what its document calls them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ..data.images import IMAGE_SUFFIXES
from ..texts import one_spelling


@dataclass(frozen=True, slots=True)
class Pictures:
    """Paths of images below an export: as they are, by their one spelling, and by that of their last part."""

    _paths: frozenset[str]
    _by_path: Mapping[str, str]
    _by_name: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, files: Iterable[str]) -> Pictures:
        """Return the images among these files."""
        paths = sorted(file for file in files if PurePosixPath(file).suffix.lower() in IMAGE_SUFFIXES)
        by_name: dict[str, list[str]] = {}
        for path in paths:
            by_name.setdefault(one_spelling(PurePosixPath(path).name), []).append(path)
        return cls(frozenset(paths), {one_spelling(path): path for path in paths}, by_name)

    def find(self, name: str) -> str | None:
        """Return the image of this name: by its path, which may be one of Windows, else by the end of it.

        Else by its last part alone; None where that is none's, or several'.
        """
        if name in self._paths:
            return name
        written = one_spelling(name.replace("\\", "/"))
        if written in self._by_path:
            return self._by_path[written]
        parts = PurePosixPath(written).parts
        same = self._by_name.get(parts[-1], ()) if parts else ()
        below = [path for path in same if PurePosixPath(one_spelling(path)).parts[-len(parts) :] == parts]
        meant = below or same
        return meant[0] if len(meant) == 1 else None
