"""The pictures that came with an export, found by what its document calls them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from ..data.folder import OTHER_IMAGES
from ..data.images import IMAGE_SUFFIXES
from ..texts import one_spelling

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class _Named:
    """Paths of files: as they are, by their one spelling, and by that of their last part."""

    paths: frozenset[str]
    by_path: Mapping[str, str]
    by_name: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, files: Iterable[str], suffixes: Collection[str]) -> _Named:
        """Return the files whose names end so."""
        paths = sorted(file for file in files if PurePosixPath(file).suffix.lower() in suffixes)
        by_name: dict[str, list[str]] = {}
        for path in paths:
            by_name.setdefault(one_spelling(PurePosixPath(path).name), []).append(path)
        return cls(frozenset(paths), {one_spelling(path): path for path in paths}, by_name)

    def meant(self, name: str) -> Sequence[str]:
        """Return what a name may mean: the file of this path, which may be one of Windows, else of the end of it.

        Else of its last part alone.
        """
        if name in self.paths:
            return [name]
        written = one_spelling(name.replace("\\", "/"))
        if written in self.by_path:
            return [self.by_path[written]]
        parts = PurePosixPath(written).parts
        same = self.by_name.get(parts[-1], ()) if parts else ()
        below = [path for path in same if PurePosixPath(one_spelling(path)).parts[-len(parts) :] == parts]
        return below or same


@dataclass(frozen=True, slots=True)
class Pictures:
    """The images below an export, and files of other kinds that are pictures all the same."""

    _images: _Named
    _others: _Named

    @classmethod
    def of(cls, files: Iterable[str]) -> Pictures:
        """Return the pictures among these files."""
        paths = tuple(files)
        return cls(_Named.of(paths, IMAGE_SUFFIXES), _Named.of(paths, OTHER_IMAGES))

    def find(self, name: str) -> str | None:
        """Return the image of this name; None where that is none's, or several'."""
        meant = self._images.meant(name)
        return meant[0] if len(meant) == 1 else None

    def trouble(self, name: str) -> str | None:
        """Return why a picture of this name came and is not found; None where it is found, or none came."""
        images = self._images.meant(name)
        if len(images) > 1:
            return f"{len(images)} pictures may be meant by its name: {', '.join(images[:_SHOWN])}"
        others = () if images else self._others.meant(name)
        if not others:
            return None
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        return f"{others[0]} is its picture, and of another kind than pages, which are {kinds}"

    def beside(self, images: Collection[str | None]) -> list[str]:
        """Return the pictures that are none of these."""
        return sorted((self._images.paths | self._others.paths).difference(images))
