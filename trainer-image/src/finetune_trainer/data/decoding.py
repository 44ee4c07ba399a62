"""From an image's bytes to the page that a person sees: OpenCV's colours, transparency on white, 8 bits of any depth.

Trainer and server have the same copy of this file (tests/contract compares them): what is trained, measured and served
are the same pixels. docs/reference/contracts.md section 4 has the rules.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

PIXEL_RULE: Final = 2
"""Number of the rules by which a file becomes pixels: one more with each change of them, here or of what is repaired
before. Figures name it in their settings. 1 read transparency and depth as OpenCV alone does."""

_MOST_TAGS: Final = 512
_DEPTHS: Final = (8, 10, 12, 14)
"""Bits that cameras and scanners store in the low end of 16."""

_PIXELS_AT_ONCE: Final = 1 << 16

_ORIENTATION, _CHANNELS, _EXTRA, _BITS = 0x112, 277, 338, 258
_PREMULTIPLIED, _SEPARATE = 1, 2
"""What TIFF says of its extra channel when that is transparency."""

_EXIF_TURNS: Final = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}
_EXIF_FLIPS: Final = {
    2: (1, None),
    4: (0, None),
    5: (1, cv2.ROTATE_90_COUNTERCLOCKWISE),
    7: (1, cv2.ROTATE_90_CLOCKWISE),
}
"""By orientation: OpenCV's code of the flip, and of the turn after it."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What the head of a file says: more than 8 bits a channel, transparency, and of what kind.

    `key` is the grey that is transparent. `lost` means transparency that OpenCV does not give.
    """

    deep: bool = False
    transparent: bool = False
    premultiplied: bool = False
    may_be_unset: bool = False
    key: int | None = None
    lost: bool = False


def decode_page(content: bytes) -> Pixels | None:
    """Return BGR (height, width, 3) with EXIF orientation applied, or None. Raises `cv2.error` for too many pixels."""
    look = _look(content)
    if look.lost:
        return None
    data = np.frombuffer(content, np.uint8)
    if look.transparent:
        page = _on_white(data, look)
        if page is not None:
            return page
    if look.deep:
        deep = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        return None if deep is None else _eight_bits(deep)
    plain: Any = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return None if plain is None else np.asarray(plain, np.uint8)


def is_plain(content: bytes) -> bool:
    """Tell whether the page is what any reader decodes, training's own among them."""
    look = _look(content)
    return not (look.deep or look.transparent or look.lost)


def _on_white(data: npt.NDArray[np.uint8], look: _Look) -> Pixels | None:
    """Return the page composed on white, or None where the data has no transparency after all."""
    decoded, kinds, metadata = cv2.imdecodeWithMetadata(data, flags=cv2.IMREAD_UNCHANGED)
    if decoded is None:
        return None
    image: npt.NDArray[Any] = np.asarray(decoded)
    if image.ndim == 2 and look.key is not None:
        page = cv2.cvtColor(_eight_bits(image), cv2.COLOR_GRAY2BGR)
        page[image == look.key] = 255
    elif image.ndim == 3 and image.shape[2] == 4:
        if look.may_be_unset and not image[:, :, 3].any():
            return None
        page = _composed(image, premultiplied=look.premultiplied)
    else:
        return None
    exif = next(
        (bytes(m.ravel()) for kind, m in zip(kinds, metadata, strict=True) if kind == cv2.IMAGE_METADATA_EXIF), b""
    )
    return _turned(np.asarray(page, np.uint8), _tags(exif.removeprefix(b"Exif\0\0")).get(_ORIENTATION, 1))


def _composed(image: npt.NDArray[Any], *, premultiplied: bool) -> Pixels:
    """Return BGRA on white; some rows at a time, because the sums take a multiple of the page's memory."""
    height, width = image.shape[:2]
    surplus = _surplus_bits(image[:, :, :3])
    page = np.empty((height, width, 3), np.uint8)
    rows = max(1, _PIXELS_AT_ONCE // width)
    for top in range(0, height, rows):
        part = image[top : top + rows]
        alpha = part[:, :, 3:]
        alpha = (alpha >> 8 if image.dtype == np.uint16 else alpha).astype(np.uint16)
        colour = (part[:, :, :3] >> surplus).astype(np.uint16)
        lit = colour if premultiplied else (colour * alpha + 127) // 255
        page[top : top + rows] = np.minimum(lit + 255 - alpha, 255)
    return page


def _eight_bits(image: npt.NDArray[Any]) -> Pixels:
    """Return the upper 8 bits of those that are used."""
    if image.dtype != np.uint16:
        return np.asarray(image, np.uint8)
    page = np.empty(image.shape, np.uint8)
    # Shifted and then cast, it would be there once more in 16 bits.
    np.right_shift(image, _surplus_bits(image), out=page, casting="unsafe")
    return page


def _surplus_bits(image: npt.NDArray[Any]) -> int:
    """Return how many bits are used beyond 8: of 16, or of fewer when no pixel needs more."""
    if image.dtype != np.uint16:
        return 0
    brightest = int(image.max())
    return next((depth for depth in _DEPTHS if brightest < 1 << depth), 16) - 8


def _turned(page: Pixels, orientation: int) -> Pixels:
    if orientation in _EXIF_TURNS:
        return np.asarray(cv2.rotate(page, _EXIF_TURNS[orientation]), np.uint8)
    if orientation in _EXIF_FLIPS:
        flip, turn = _EXIF_FLIPS[orientation]
        flipped = cv2.flip(page, flip)
        return np.asarray(flipped if turn is None else cv2.rotate(flipped, turn), np.uint8)
    return page


def _look(content: bytes) -> _Look:
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _look_of_png(content)
    if content.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return _look_of_tiff(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        extended = content[12:16] == b"VP8X" and bool(content[20:21] > b"" and content[20] & 0x10)
        lossless = content[12:16] == b"VP8L" and len(content) > 24 and bool(content[24] & 0x10)
        return _Look(transparent=extended or lossless)
    # A bitmap of 32 bits: the fourth byte is transparency, or nothing, which is then 0 all over.
    bitmap = content.startswith(b"BM") and content[28:30] == b"\x20\0"
    return _Look(transparent=bitmap, may_be_unset=bitmap)


def _look_of_png(content: bytes) -> _Look:
    depth, colour = content[24:25] or b"\x08", content[25:26]
    marked = b""
    at = 8
    while (name := content[at + 4 : at + 8]) not in (b"IDAT", b"") and not marked:
        length = int.from_bytes(content[at : at + 4], "big")
        if name == b"tRNS":
            marked = content[at + 8 : at + 8 + length]
        at += 12 + length
    key = None
    if colour == b"\0" and len(marked) == 2:
        # OpenCV spreads fewer bits over all eight.
        key = int.from_bytes(marked, "big") * (255 // ((1 << depth[0]) - 1) if depth[0] < 8 else 1)
    return _Look(deep=depth == b"\x10", transparent=colour in (b"\4", b"\6") or bool(marked), key=key)


def _look_of_tiff(content: bytes) -> _Look:
    tags = _tags(content)
    deep, extra = 8 < tags.get(_BITS, 1) <= 16, tags.get(_EXTRA, 0)
    transparent = extra in (_PREMULTIPLIED, _SEPARATE)
    if transparent and tags.get(_CHANNELS) != 4:
        return _Look(lost=True)
    # Of 8 bits OpenCV gets colours that libtiff has multiplied already.
    return _Look(deep=deep, transparent=transparent, premultiplied=extra == _PREMULTIPLIED or not deep)


def _tags(content: bytes) -> dict[int, int]:
    """Return the first value of each short or long number in a TIFF's first directory; EXIF is a TIFF, too."""
    order = "<" if content[:2] == b"II" else ">"
    # Of the offsets' width, of a directory's count, of an entry; BigTIFF has wider ones.
    offset, count, width = ("Q", "Q", 20) if content[2:4] in (b"+\0", b"\0+") else ("I", "H", 12)
    size = struct.calcsize(offset)

    def number(form: str, at: int) -> int:
        return int(struct.unpack_from(order + form, content, at)[0])

    tags: dict[int, int] = {}
    try:
        start = number(offset, size)
        first = start + struct.calcsize(count)
        for entry in range(first, first + min(number(count, start), _MOST_TAGS) * width, width):
            form = {3: "H", 4: "I"}.get(number("H", entry + 2))
            if form is not None:
                values, place = number(offset, entry + 4), entry + 4 + size
                inside = values * struct.calcsize(form) <= size
                tags.setdefault(number("H", entry), number(form, place if inside else number(offset, place)))
    except struct.error:  # it ends before it should: what was found holds
        return tags
    return tags
