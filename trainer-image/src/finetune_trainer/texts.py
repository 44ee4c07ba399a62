"""Text as other systems write it: accents in two spellings, other encodings, JSON that says one thing twice."""

from __future__ import annotations

import codecs
import reprlib
import unicodedata
from typing import Any, Final

_SHOWN: Final = 80
"""Characters of a text or number that are shown of a value."""

_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def one_spelling(name: str) -> str:
    """Return a name with its accents written in the one way (NFC) that most systems have; macOS has the other."""
    return unicodedata.normalize("NFC", name)


def document_spelling(document: str) -> str:
    """Return a document's id as people read it: tools on macOS write accents otherwise, and tables space around."""
    return one_spelling(document).strip()


def text_in(data: bytes) -> str:
    """Return what a list says: UTF-8, or UTF-16 with its mark, as Windows' shell writes it. What is neither shows."""
    encoding = "utf-16" if data.startswith(_UTF_16) else "utf-8-sig"
    return data.decode(encoding, errors="replace")


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; ValueError where it says two things under one name: of these JSON takes the last one."""
    content = dict(pairs)
    for key, value in pairs if len(content) < len(pairs) else ():
        if content[key] != value:
            raise ValueError(f"it names {key!r} twice, with {beginning(value)} and {beginning(content[key])}")
    return content


def beginning(value: Any) -> str:
    """Return how a value that others wrote begins: a few names of YAML's stand for more than memory holds."""
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxother = 2, _SHOWN, _SHOWN
    return short.repr(value)
