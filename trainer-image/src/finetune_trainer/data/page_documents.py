"""Which document a new page belongs to: as a map says, or a document of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from ..errors import Reason, StepError, bad_input
from ..texts import document_spelling, one_spelling

_TOOL_PREFIX: Final = re.compile(r"^[0-9a-f]{8}(?:-|__)(?=.)")
"""Label Studio puts eight hex digits before the name of every file that is uploaded, and of some that it exports."""

_TOOL_SUFFIX: Final = re.compile(r"_[a-z]{3,4}[.]rf[.][0-9a-z]+$", re.IGNORECASE)
"""Roboflow writes the old suffix behind every name, one of HEIC or AVIF, too, and a digest or letters by chance."""

_SHOWN: Final = 5


def own_document(batch: str, image: str) -> str:
    """Return the id of a page that is a document of its own: by batch and place, so that no two pages share one.

    Roboflow writes several versions of a page, turned or darker, with a digest behind the name of each: these are one.
    """
    place = PurePosixPath(image)
    return f"{batch}/{place.with_name(_TOOL_SUFFIX.sub('', place.stem) or place.stem)}"


def said_documents(
    images: Sequence[str], said: Mapping[str, str], called: Mapping[str, Sequence[str]] | None = None
) -> dict[str, str]:
    """Return the document of every image that the map names.

    Keys are stems (`p1`), names (`p1.png`) or paths (`images/train/p1.png`), with or without what labelling tools
    write around a name; that is looked for where no key has the name as it is. `called` has by image how the tool
    called it that brought it under another name. Raises StepError for a key that is no page's, since a typing error
    would make it a document, and for two that say different documents of one page.
    """
    wanted = _by_spelling(said)
    documents: dict[str, str] = {}
    used: set[str] = set()
    for image in images:
        exact, plain = _keys((called or {}).get(image, (image,)))
        keys = sorted(exact & wanted.keys()) or sorted(plain & wanted.keys())
        for key in keys:
            if documents.setdefault(image, wanted[key]) != wanted[key]:
                raise _two_documents(f"{image} ({keys[0]!r} and {key!r})", documents[image], wanted[key])
        used.update(key for key in (exact | plain) & wanted.keys() if wanted[key] == documents[image])
    _check_used(images, called or {}, sorted(wanted.keys() - used))
    return documents


def as_known(documents: Mapping[str, str], known: Iterable[str]) -> dict[str, str]:
    """Return documents by image, each as one of those known is written where both only look alike.

    By two ids half of a document would train, and the other half judge.
    """
    written = {document_spelling(document): document for document in sorted(known, reverse=True)}
    return {image: written.get(document, document) for image, document in documents.items()}


def _by_spelling(said: Mapping[str, str]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for key, written in said.items():
        document = document_spelling(written)
        if wanted.setdefault(one_spelling(key), document) != document:
            raise _two_documents(repr(key), wanted[one_spelling(key)], document)
    return wanted


def _two_documents(page: str, one: str, other: str) -> StepError:
    return bad_input(
        Reason.DATA_UNREADABLE,
        f"--documents says two documents of {page}: {one!r} and {other!r}.",
        "Say one of them; pages that are called alike are named by their paths.",
    )


def _check_used(images: Sequence[str], called: Mapping[str, Sequence[str]], unknown: Sequence[str]) -> None:
    if not unknown:
        return
    more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
    example = PurePosixPath(called.get(images[0], (images[0],))[-1]).stem if images else ""
    raise bad_input(
        Reason.DATA_UNREADABLE,
        f"--documents names pages that are not there: {', '.join(map(repr, unknown[:_SHOWN]))}{more}.",
        f"Name pages by their file's stem, for example {example!r}." if images else "There is no page in the folder.",
    )


def _keys(names: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return by which keys a page of these names is known, and by which it is without what a tool writes around one."""
    exact: set[str] = set()
    plain: set[str] = set()
    for name in map(one_spelling, names):
        path = PurePosixPath(name)
        stem = _TOOL_SUFFIX.sub("", _TOOL_PREFIX.sub("", path.stem))
        exact |= {path.stem, path.name, name, str(path.parent / path.stem)}
        plain |= {stem, stem + path.suffix}
    return exact, plain
