"""JPEG, before libjpeg sees it: its segments up to the first scan, its end, and how large it says it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ..preprocess import Page

END_OF_IMAGE: Final = b"\xff\xd9"
SCAN: Final = 0xDA

_MOST_SEGMENTS: Final = 10_000
"""Before the first scan; a profile or a thumbnail takes some hundreds at most. Each costs time where others wait."""

_MARKER: Final = re.compile(rb"\xff([^\x00\x01\xd0-\xd9\xff])", re.DOTALL)
"""A marker with a length of its own; what lies between, standalone markers and fill bytes among it, is passed over."""

_MOST_STRAY: Final = 1 << 20
"""Bytes between segments, all together: tools pad by some thousands, and more of them cost time where others wait."""

_LACKING: Final = 128

_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def is_complete(content: bytes) -> bool:
    """Tell whether an end marker follows the first scan; segments before it (thumbnails among them) are skipped.

    Of a cut JPEG OpenCV makes a page that is grey where data is missing, whose fields are just not detected. Stray
    bytes between segments are passed over, as every viewer does.
    """
    return any(content.find(END_OF_IMAGE, at) >= 0 for marker, at in _segments(content) if marker == SCAN)


def pixels(content: bytes) -> int:
    """Return how many the frame says, 0 where there is none before the first scan."""
    for marker, at in _segments(content):
        if marker in _FRAMES:
            return int.from_bytes(content[at + 5 : at + 7], "big") * int.from_bytes(content[at + 7 : at + 9], "big")
    return 0


def may_lack_data(page: Page) -> bool:
    """Tell whether a corner is of the grey that libjpeg has for what it lacks: the last rows', however it is turned.

    An end marker that comes early, or a frame that claims more than there is, is seen by nothing else but libjpeg's
    words, which nobody can catch beside the model.
    """
    return bool((page[:: max(1, len(page) - 1), :: max(1, page.shape[1] - 1)] == _LACKING).all(axis=2).any())


def _segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield the markers, and where they lie, up to the first scan, of which there is no skipping."""
    at, stray = 2, _MOST_STRAY
    for _ in range(_MOST_SEGMENTS):
        match = _MARKER.search(content, at, at + stray)
        if match is None:
            return
        stray -= match.start() - at
        marker, at = match[1][0], match.start()
        yield marker, at
        if marker == SCAN:
            return
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
