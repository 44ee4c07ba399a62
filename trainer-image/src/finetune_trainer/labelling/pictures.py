"""The pictures that came with an export, found by what its document calls them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote

from ..data.folder import OTHER_IMAGES
from ..data.images import IMAGE_SUFFIXES
from ..texts import one_spelling

_SHOWN: Final = 5

_SPLIT: Final = re.compile(r"(train|val|test)(?:ing|id|idation)?\d*")
"""How folders of splits are called: of each a page may be called 0001."""


@dataclass(frozen=True, slots=True)
class _Named:
    """Paths of files: as they are, by their one spelling, and by that of their last part.

    By that in small letters, too, which is one name on Windows, and without its suffix.
    """

    paths: frozenset[str]
    by_path: Mapping[str, str]
    by_name: Mapping[str, Sequence[str]]
    by_letters: Mapping[str, Sequence[str]]
    by_stem: Mapping[str, str]

    @classmethod
    def of(cls, files: Iterable[str], suffixes: Collection[str]) -> _Named:
        """Return the files whose names end so."""
        paths = sorted(file for file in files if PurePosixPath(file).suffix.lower() in suffixes)
        by_name: dict[str, list[str]] = {}
        by_letters: dict[str, list[str]] = {}
        for path in paths:
            name = one_spelling(PurePosixPath(path).name)
            by_name.setdefault(name, []).append(path)
            by_letters.setdefault(name.casefold(), []).append(path)
        by_stem = {one_spelling(PurePosixPath(path).stem): path for path in paths}
        return cls(frozenset(paths), {one_spelling(path): path for path in paths}, by_name, by_letters, by_stem)

    def meant(self, name: str) -> Sequence[str]:
        """Return what a name may mean: the file of this path, which may be one of Windows, else of the end of it.

        Else of its last part alone. Of what is none, and may be an address, the same without what that escapes.
        """
        if name in self.paths:
            return [name]
        return self._written(name) or self._written(unquote(name.partition("?")[0]))

    def _written(self, name: str) -> Sequence[str]:
        written = one_spelling(name.replace("\\", "/"))
        if written in self.by_path:
            return [self.by_path[written]]
        parts = PurePosixPath(written).parts
        same = (self.by_name.get(parts[-1]) or self.by_letters.get(parts[-1].casefold(), ())) if parts else ()
        below = [path for path in same if PurePosixPath(one_spelling(path)).parts[-len(parts) :] == parts]
        return below or [path for path in same if not _is_of_another_split(parts, PurePosixPath(path).parts)]


def _is_of_another_split(named: Sequence[str], lies: Sequence[str]) -> bool:
    """Tell whether a file lies in one split, and is named as one of another."""
    of_named, of_lies = (
        {match[1] for part in parts[:-1] if (match := _SPLIT.fullmatch(part.casefold()))} for parts in (named, lies)
    )
    return bool(of_named and of_lies) and of_named.isdisjoint(of_lies)


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
            alike = None if images else self._images.by_stem.get(PurePosixPath(one_spelling(name)).stem)
            return None if alike is None else f"no picture is called so; {alike} is called alike"
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        return f"{others[0]} is its picture, and of another kind than pages, which are {kinds}"

    def beside(self, images: Collection[str | None]) -> list[str]:
        """Return the pictures that are none of these."""
        return sorted((self._images.paths | self._others.paths).difference(images))
