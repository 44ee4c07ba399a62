"""What a terminal is given: others wrote comments and ids, and some of their characters command it."""

from __future__ import annotations

import unicodedata
from typing import Final

_CONTROLS: Final = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Categories of characters that move, colour, rename and break lines, or cannot be written."""

_ORDER: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change in which order others are read."""

_INSTEAD: Final = "\N{REPLACEMENT CHARACTER}"


def printable(text: str, *, kept: str = "") -> str:
    """Return a text without characters that control a terminal, or in which order it is read; `kept` ones stay."""
    return "".join(c if c in kept or not _commands(c) else _INSTEAD for c in text)


def _commands(character: str) -> bool:
    return character in _ORDER or unicodedata.category(character) in _CONTROLS
