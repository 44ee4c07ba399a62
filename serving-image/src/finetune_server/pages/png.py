"""PNG, before libpng sees it: all there, and no more to inflate than the picture takes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

_MOST_CHUNKS: Final = 50_000
_NO_PIXELS: Final = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP"})
"""Chunks that say nothing about pixels, and that libpng inflates: two megabytes of them cost it a minute."""

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_QUICK: Final = 256 * 1024
"""Bytes of picture data that are inflated in a moment, whatever they become."""


def is_animated(content: bytes) -> bool:
    """Tell whether it may hold frames, so that what is inflated is not one picture's data."""
    return b"acTL" in content


def checked_png(content: bytes) -> bytes | None:
    """Return the PNG without chunks that have no pixels, or None where the data ends before the picture does.

    Raises `ValueError` for one whose data is more than the picture takes.
    """
    chunks = list(_chunks(content))
    if not chunks or chunks[-1][0] != b"IEND":
        return None
    data = [content[start + 8 : end - 4] for name, start, end in chunks if name == b"IDAT"]
    if sum(map(len, data)) > _QUICK:
        _check_inflated(data, content[16:29])
    if not any(name in _NO_PIXELS for name, _, _ in chunks):
        return content
    return SIGNATURE + b"".join(content[start:end] for name, start, end in chunks if name not in _NO_PIXELS)


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of the chunks that lie within the data, up to the one that ends the picture."""
    at = len(SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if end > len(content):
            return
        name = content[at + 4 : at + 8]
        yield name, at, end
        if name == b"IEND":
            return
        at = end
    raise ValueError(f"it has more than {_MOST_CHUNKS} chunks")


def _check_inflated(data: list[bytes], header: bytes) -> None:
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits = header[8] * _CHANNELS.get(header[9], 4)
    # A filter byte a row; an interlaced picture has up to twice as many rows.
    left = 2 * height + 64 + ((width * bits + 7) // 8) * height + (height + width) * 8
    stream = zlib.decompressobj()
    for part in data:
        rest = part
        while rest and not stream.eof:
            try:
                left -= len(stream.decompress(rest, 1 << 20))
            except zlib.error:  # libpng comes no further either, and says what is to be shown all the same
                return
            rest = stream.unconsumed_tail
            if left < 0:
                raise ValueError("it holds more data than its picture takes")
