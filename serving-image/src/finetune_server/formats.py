"""What a body is, by its first bytes, and whether it is all there: before any decoder sees it."""

from __future__ import annotations

from enum import Enum
from typing import Final

MOST_SCANS: Final = 16
"""Of a JPEG that is decoded beside the model; a progressive one has about ten. Each costs time for every pixel."""


class Kind(Enum):
    """What the first bytes say; the declared media type only has to be one of ours."""

    JPEG = "image/jpeg"
    PNG = "image/png"
    WEBP = "image/webp"
    TIFF = "image/tiff"
    BMP = "image/bmp"
    PDF = "application/pdf"


def sniff(content: bytes) -> Kind | None:
    """Return the kind of these bytes, or None where they are none of ours."""
    if content.startswith(b"\xff\xd8\xff"):
        return Kind.JPEG
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return Kind.PNG
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return Kind.WEBP
    if content.startswith((b"II*\x00", b"MM\x00*")):
        return Kind.TIFF
    if content.startswith(b"BM"):
        return Kind.BMP
    # Readers accept leading bytes before a PDF's header, and mail gateways leave some there.
    return Kind.PDF if b"%PDF-" in content[:1024] else None


def needs_process(content: bytes, kind: Kind) -> bool:
    """Tell whether decoding may take any time and memory, whatever the page's size, so that it must be killable."""
    match kind:
        case Kind.PDF | Kind.TIFF:
            return True
        case Kind.JPEG:
            return content.count(b"\xff\xda") > MOST_SCANS
        case Kind.PNG | Kind.WEBP | Kind.BMP:
            return False


def is_complete(content: bytes, kind: Kind) -> bool:
    """Tell whether OpenCV may see it.

    Of a cut JPEG it makes a page that is grey where data is missing, whose fields are just not detected. For a PNG
    chunk it allocates whatever length, up to 4 GiB, the chunk claims.
    """
    match kind:
        case Kind.JPEG:
            return _jpeg_is_complete(content)
        case Kind.PNG:
            return _png_is_complete(content)
        case Kind.WEBP | Kind.TIFF | Kind.BMP | Kind.PDF:
            return True


def _png_is_complete(content: bytes) -> bool:
    """Tell whether the chunks lie end to end within the data, up to the one that ends the image."""
    at = 8
    while at + 12 <= len(content):
        length, name = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        at += 12 + length
        if name == b"IEND":
            return at <= len(content)
    return False


def _jpeg_is_complete(content: bytes) -> bool:
    """Tell whether an end marker follows the first scan; segments before it (thumbnails among them) are skipped."""
    at = 2
    while content[at : at + 1] == b"\xff":
        marker, length = content[at + 1 : at + 2], content[at + 2 : at + 4]
        if marker == b"\xda":
            return content.find(b"\xff\xd9", at) >= 0
        at += 1 if marker == b"\xff" else 2 + int.from_bytes(length, "big")
    return False
