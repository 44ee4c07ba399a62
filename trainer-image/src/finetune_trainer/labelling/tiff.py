"""The pages of a TIFF: its directories, of which OpenCV reads the first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

SIGNATURES: Final = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")

_MOST_DIRECTORIES: Final = 100_000


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a file counts: byte order, where the first directory's offset lies, widths in bytes."""

    order: Literal["little", "big"]
    first_at: int
    offset_bytes: int
    count_bytes: int
    entry_bytes: int


def directories(content: bytes) -> list[int]:
    """Return where the pages' directories lie, in order; a chain that leads astray ends there."""
    layout = _layout(content)
    offsets: dict[int, None] = {}
    at = _number(content, layout.first_at, layout.offset_bytes, layout)
    while 0 < at <= len(content) - layout.count_bytes and at not in offsets and len(offsets) < _MOST_DIRECTORIES:
        offsets[at] = None
        entries = _number(content, at, layout.count_bytes, layout)
        at = _number(content, at + layout.count_bytes + entries * layout.entry_bytes, layout.offset_bytes, layout)
    return list(offsets)


def beginning_with(content: bytes, directory: int) -> bytes:
    """Return the same file, its first page the one of `directory`."""
    layout = _layout(content)
    offset = directory.to_bytes(layout.offset_bytes, layout.order)
    return content[: layout.first_at] + offset + content[layout.first_at + layout.offset_bytes :]


def _layout(content: bytes) -> _Layout:
    order: Literal["little", "big"] = "little" if content[:2] == b"II" else "big"
    if b"+" in content[2:4]:  # BigTIFF
        return _Layout(order, first_at=8, offset_bytes=8, count_bytes=8, entry_bytes=20)
    return _Layout(order, first_at=4, offset_bytes=4, count_bytes=2, entry_bytes=12)


def _number(content: bytes, at: int, width: int, layout: _Layout) -> int:
    return int.from_bytes(content[at : at + width], layout.order)
