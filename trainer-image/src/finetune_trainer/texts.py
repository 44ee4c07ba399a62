"""Text as other systems write it: names whose accents have two spellings, files of another encoding."""

from __future__ import annotations

import codecs
import unicodedata
from typing import Final

_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def one_spelling(name: str) -> str:
    """Return a name with its accents written in the one way (NFC) that most systems have; macOS has the other."""
    return unicodedata.normalize("NFC", name)


def text_in(data: bytes) -> str:
    """Return what a list says: UTF-8, or UTF-16 with its mark, as Windows' shell writes it. What is neither shows."""
    encoding = "utf-16" if data.startswith(_UTF_16) else "utf-8-sig"
    return data.decode(encoding, errors="replace")
