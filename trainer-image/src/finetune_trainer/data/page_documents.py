"""Which document a new page belongs to: as a map says, or a document of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from ..errors import Reason, bad_input

_TOOL_PREFIX: Final = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""Label Studio puts eight hex digits before the name of every file that is uploaded."""

_TOOL_SUFFIX: Final = re.compile(r"_(?:jpe?g|png|bmp|tiff?|webp)[.]rf[.][0-9a-f]+$", re.IGNORECASE)
"""Roboflow writes the old suffix and a digest behind every name."""

_SHOWN: Final = 5


def own_document(batch: str, image: str) -> str:
    """Return the id of a page that is a document of its own: by batch and place, so that no two pages share one."""
    return f"{batch}/{PurePosixPath(image).with_suffix('')}"


def said_documents(images: Sequence[str], said: Mapping[str, str]) -> dict[str, str]:
    """Return the document of every image that the map names.

    Keys are stems (`p1`), names (`p1.png`) or paths (`images/train/p1.png`), with or without what labelling tools
    write around a name. Raises StepError for a key that is no page's: a typing error would make it a document.
    """
    by_key: dict[str, list[str]] = {}
    for image in images:
        for key in _keys(image):
            by_key.setdefault(key, []).append(image)
    unknown = sorted(key for key in said if key not in by_key)
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"--documents names pages that are not there: {', '.join(map(repr, unknown[:_SHOWN]))}{more}.",
            f"Name pages by their file's stem, for example {PurePosixPath(images[0]).stem!r}."
            if images
            else "There is no page at all in the folder.",
        )
    return {image: document for key, document in said.items() for image in by_key[key]}


def _keys(image: str) -> set[str]:
    path = PurePosixPath(image)
    plain = _TOOL_SUFFIX.sub("", _TOOL_PREFIX.sub("", path.stem))
    return {path.stem, path.name, image, str(path.with_suffix("")), plain, plain + path.suffix}
