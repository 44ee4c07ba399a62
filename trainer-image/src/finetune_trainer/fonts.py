"""The font of plots: one that is always there, and the check whether it has a text's characters."""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path
from typing import Final

_RIGHT_TO_LEFT: Final = frozenset({"R", "AL"})
"""Unicode's classes of letters that need reordering, and joining, which neither drawing library does by itself."""


def font_file() -> Path:
    """Return the file of DejaVu Sans: matplotlib always brings it, and it has Latin, Greek, Cyrillic and more.

    No font has every script. Those that cover many have tens of megabytes, and would be in every image for the few
    class names that need them.
    """
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def is_drawable(text: str) -> bool:
    """Tell whether the font draws the text as it is read, without a box for a character that it does not have."""
    characters = _characters()
    return all(ord(c) in characters and unicodedata.bidirectional(c) not in _RIGHT_TO_LEFT for c in text)


@cache
def _characters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(font_file())).get_charmap())
