"""Checking that an image can be decoded by everything that will read it, and what its pixels are."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from .decoding import decode_page, is_plain
from .libtiff import opencv_speaks, tiff_damage

IMAGE_SUFFIXES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Of the files that are taken for pages."""

_FORMATS: Final = frozenset({"BMP", "JPEG", "MPO", "PNG", "TIFF", "WEBP"})
"""What such a file may hold, whatever its name says; a subset of what training takes."""

_WITH_ALPHA: Final = frozenset({"RGBA", "RGBa", "LA", "La", "PA"})
_WITH_PREVIEW: Final = frozenset({"JPEG", "MPO"})
"""Cameras write a second, smaller picture into these."""

_SMALLEST: Final = 10
"""Pixels of a side; ultralytics drops smaller images."""

MOST_PIXELS: Final = 178_956_970
"""Of a page: beyond, Pillow takes an image for an attack, and training opens every page with Pillow."""

_JPEG: Final = b"\xff\xd8\xff"
_TIFF: Final = (b"II", b"MM")
_SCAN: Final = b"\xda"
_ALONE: Final = frozenset([b"\x00", b"\x01", b"\xff", *(bytes([marker]) for marker in range(0xD0, 0xDA))])
"""What may follow 0xff without a length of its own."""

_END_OF_IMAGE: Final = b"\xff\xd9"
_POINTER: Final = b"version https://git-lfs.github.com/spec/"
_COMPLAINTS: Final = ("Corrupt JPEG data", "Premature end of JPEG", "premature end of data")
"""How libjpeg says that it made up what it could not read. It says so to nobody but its standard error."""

_LEFT_OVER: Final = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
"""Bytes of the last scan that were not needed: a camera's padding, or what a damaged scan did not come to."""

_TURNED: Final = "turned by their EXIF orientation; labels must be of the turned page"
_NOT_TURNED: Final = (
    "marked as turned where it is not looked for (XMP, EXIF of some programs), and not turned; labels must be of the "
    "page as it is stored"
)

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Picture:
    """What a readable image shows.

    `pixels` is the digest of its decoded pixels: equal for two files of one picture. `look` is 256 bits of hex that
    differ little between copies that were compressed or scaled anew. `remarks` are what a person should know.
    """

    width: int
    height: int
    pixels: str
    look: str
    remarks: tuple[str, ...] = ()


def inspect_image(data: bytes) -> Picture | str:
    """Return what these bytes show, or why they are no usable page.

    Pillow tries them, which training scans with, and OpenCV, which all decode with.
    """
    if not data:
        return "the file is empty"
    if data.startswith(_POINTER):
        return "a pointer of git-lfs, not the image; run `git lfs pull` where it comes from"
    whole = complete_jpeg(data)
    with warnings.catch_warnings():
        # Pillow warns of EXIF data that a camera wrote badly, in words that look like a fault of this program.
        warnings.simplefilter("ignore")
        opened = _open(whole)
    if isinstance(opened, str):
        return opened
    decoded = _decode(whole)
    if isinstance(decoded, str):
        return decoded
    height, width = decoded.shape[:2]
    if _TURNED in opened and _is_as_stored(whole):
        opened = tuple(_NOT_TURNED if remark == _TURNED else remark for remark in opened)
    remarks = opened if whole is data else (*opened, _jpeg_remark(data))
    return Picture(width, height, pixels_digest(decoded), _look(decoded), remarks)


def pixels_digest(page: Pixels) -> str:
    """Return the digest of a page's pixels: of its size, and of BGR row by row."""
    height, width = page.shape[:2]
    digest = hashlib.sha256(f"{width}x{height}:".encode())
    digest.update(np.ascontiguousarray(page).data)
    return digest.hexdigest()


def _is_as_stored(data: bytes) -> bool:
    """Tell whether a page is not turned: Pillow finds marks of it in more places than OpenCV, which decodes.

    Held against each other small, which is fast. Of a TIFF both read the same mark, and OpenCV always turns it.
    """
    if data.startswith(_TIFF):
        return False
    encoded = np.frombuffer(data, np.uint8)
    read, stored = (
        cv2.imdecode(encoded, cv2.IMREAD_REDUCED_COLOR_8 | more) for more in (0, cv2.IMREAD_IGNORE_ORIENTATION)
    )
    return read is not None and stored is not None and np.array_equal(read, stored)


def _jpeg_remark(data: bytes) -> str:
    if data.endswith(_END_OF_IMAGE):
        return "JPEGs with stray bytes between their segments, read without them"
    return "JPEGs without an end marker, read as if they had one"


def _open(data: bytes) -> tuple[str, ...] | str:
    """Return remarks on an image that Pillow opens and that training would take, or why it would not."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(io.BytesIO(data)) as image:
            size, kind, mode = image.size, image.format or "", image.mode
            if kind in _FORMATS and size[0] * size[1] <= MOST_PIXELS:
                image.verify()
        with Image.open(io.BytesIO(data)) as image:  # what was verified cannot be asked any more
            transparent = mode in _WITH_ALPHA or "transparency" in image.info
            deep = mode in ("I", "F") or ";16" in f"{mode} {getattr(image, 'tile', '')}"
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
            frames = getattr(image, "n_frames", 1)
    except (UnidentifiedImageError, ImportError):
        # Once ultralytics is imported, it has Pillow look for codecs that are not in the image.
        return "no image of a kind that is read: its content is something else"
    except Exception as error:  # noqa: BLE001 - Pillow raises many kinds for damaged files
        text = re.sub(r" <_io[^>]*>", "", str(error))
        return f"{type(error).__name__}: {text}"
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    if kind not in _FORMATS:
        return f"a {kind} file by its content, whatever its name says; training reads {', '.join(sorted(_FORMATS))}"
    if size[0] * size[1] > MOST_PIXELS:
        return f"{size[0]} x {size[1]} pixels, at most {MOST_PIXELS:,} in all are read; scale it down"
    if min(size) < _SMALLEST:
        return f"{size[0]} x {size[1]} pixels, at least {_SMALLEST} x {_SMALLEST} needed"
    said = {
        "transparent, which is shown on white": transparent,
        "16 bits a channel, of which the upper 8 in use are read": deep,
        _TURNED: turned,
        "of several pages or frames, of which the first is used": frames > 1 and kind not in _WITH_PREVIEW,
    }
    return tuple(remark for remark, holds in said.items() if holds)


def _decode(data: bytes) -> Pixels | str:
    with _standard_error() as said, opencv_speaks():
        try:
            image = decode_page(data)
        except cv2.error as error:
            return f"OpenCV cannot decode it: {' '.join(str(error).split())[:200]}"
    if image is None:
        return "OpenCV cannot decode it"
    complaints = _LEFT_OVER.sub(lambda match: _unless_padding(match, data), "".join(said))
    if any(complaint in complaints for complaint in _COMPLAINTS):
        return f"damaged: {' '.join(complaints.split())[:120]}"
    if (damage := tiff_damage(complaints)) is not None:
        return f"damaged: {damage[:120]}"
    return image


def _unless_padding(match: re.Match[str], data: bytes) -> str:
    """Return libjpeg's words on bytes left over, or nothing where all of them are zeros or ones."""
    end = data.rfind(_END_OF_IMAGE)
    return match.group() if data[max(end - int(match[1]), 0) : end].strip(b"\x00\xff") else ""


@contextmanager
def _standard_error() -> Iterator[list[str]]:
    """Catch what a C library writes to standard error; filled when the block ends."""
    said: list[str] = []
    with tempfile.TemporaryFile() as caught:
        kept = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            said.append(caught.read().decode(errors="replace"))


def _look(image: Pixels) -> str:
    """Return the signs of the page's 16 x 16 lowest frequencies, as hex (a perceptual hash)."""
    grey: Any = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.packbits(cv2.dct(small)[:16, :16] > 0).tobytes().hex()


def picture_remarks(pictures: Iterable[tuple[str, Picture]]) -> list[str]:
    """Return a line for every remark on pictures by place: how many are so, and the first of them."""
    places: dict[str, list[str]] = {}
    for place, picture in pictures:
        for remark in picture.remarks:
            places.setdefault(remark, []).append(place)
    return [f"{len(at)} pages are {remark} (first: {at[0]})" for remark, at in places.items()]


def complete_jpeg(data: bytes) -> bytes:
    """Return the same bytes; a JPEG without stray bytes between its segments, and with its end marker.

    Pillow refuses the first and ultralytics re-encodes the second in place; OpenCV decodes both to the same pixels.
    """
    if not data.startswith(_JPEG):
        return data
    clean = _without_stray_bytes(data)
    return clean if clean.endswith(_END_OF_IMAGE) else clean + _END_OF_IMAGE


def _without_stray_bytes(data: bytes) -> bytes:
    """Return a JPEG's segments end to end, up to its first scan and all that follows."""
    kept, at = [data[:2]], 2
    while (begin := data.find(b"\xff", at)) >= 0:
        marker = data[begin + 1 : begin + 2]
        if marker == _SCAN:
            kept.append(data[begin:])
            break
        at = begin + 1
        if marker and marker not in _ALONE:
            at = begin + 2 + int.from_bytes(data[begin + 2 : begin + 4], "big")
            kept.append(data[begin:at])
    whole = b"".join(kept)
    return data if len(whole) == len(data) or not kept[-1].startswith(b"\xff" + _SCAN) else whole


def as_trained(data: bytes) -> bytes:
    """Return a file that every reader decodes to the page's pixels: the same bytes where it is one already.

    Training decodes by itself, as any reader does, without what `decode_page` knows of transparency and depth.
    """
    if is_plain(data):
        return complete_jpeg(data)
    page = decode_page(data)
    return data if page is None else cv2.imencode(".png", page)[1].tobytes()
