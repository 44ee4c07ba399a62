"""What a body is, by its first bytes, and whether it is all there: before any decoder sees it."""

from __future__ import annotations

from enum import Enum
from typing import Final

from . import jpeg, png, tiff

MOST_SCANS: Final = 16
"""Of a JPEG that is decoded beside the model; a progressive one has about ten. Each costs time for every pixel."""

MOST_PROMPT_PIXELS: Final = 12_000_000
"""Of an image that waits for none but its like: A4 at 300 dpi has 9 million."""

HOW_TO_SEND: Final = (
    "send the bytes of one image (JPEG, PNG, WebP, TIFF, BMP) or PDF as the body, as `curl --data-binary @page.jpg` "
    "does, or as the only file of a form, as `curl -F file=@page.jpg` does"
)


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
    if content.startswith(png.SIGNATURE):
        return Kind.PNG
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return Kind.WEBP
    if content.startswith(tiff.SIGNATURES):
        return Kind.TIFF
    if content.startswith(b"BM"):
        return Kind.BMP
    # Readers accept leading bytes before a PDF's header, and mail gateways leave some there.
    return Kind.PDF if b"%PDF-" in content[:1024] else None


_OTHERS: Final = {
    b"GIF8": "a GIF",
    b"\x1f\x8b": "gzip data (say so: Content-Encoding: gzip)",
    b"PK\x03\x04": "a zip archive or an office document",
    b"\x00\x00\x00\x0cjP": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"%!PS": "PostScript",
    b"{\\rtf": "RTF",
    b"\xd0\xcf\x11\xe0": "an office document",
    b"AT&TFORM": "DjVu",
    b"/9j/": "base64 text (send the bytes themselves)",
    b"iVBORw0": "base64 text (send the bytes themselves)",
    b"JVBERi0": "base64 text (send the bytes themselves)",
    b"data:": "a data URL (send the bytes themselves)",
    b"{": "JSON",
    b"<": "HTML, SVG or other XML",
}


def described(content: bytes) -> str:
    """Return what a body that is none of ours seems to be."""
    if content[4:8] == b"ftyp":
        return "HEIC, AVIF or a video"
    start = content[:1024].lstrip()
    return next((name for first, name in _OTHERS.items() if start.startswith(first)), "of no kind known here")


def needs_process(content: bytes, kind: Kind) -> bool:
    """Tell whether decoding may take any time and memory, whatever the page's size, so that it must be killable."""
    match kind:
        case Kind.PDF | Kind.TIFF:
            return True
        case Kind.JPEG:
            return not jpeg.is_complete(content) or content.count(b"\xff\xda") > MOST_SCANS
        case Kind.PNG:
            return png.is_animated(content)
        case Kind.WEBP | Kind.BMP:
            return False


def is_large(content: bytes, kind: Kind) -> bool:
    """Tell whether the head says, or does not say, that decoding takes more than a moment. For PNG, JPEG, WebP, BMP."""
    return not 0 < _pixels(content, kind) <= MOST_PROMPT_PIXELS


def _pixels(content: bytes, kind: Kind) -> int:
    """Return how many the head says, 0 where that is not known."""
    if kind is Kind.PNG:
        return int.from_bytes(content[16:20], "big") * int.from_bytes(content[20:24], "big")
    if kind is Kind.JPEG:
        return jpeg.pixels(content)
    if kind is Kind.BMP and content[14:18] == b"\x28\0\0\0":
        return int.from_bytes(content[18:22], "little") * abs(int.from_bytes(content[22:26], "little", signed=True))
    if kind is Kind.WEBP and content[12:16] == b"VP8X":
        return (int.from_bytes(content[24:27], "little") + 1) * (int.from_bytes(content[27:30], "little") + 1)
    if kind is Kind.WEBP and content[12:16] == b"VP8L":
        sides = int.from_bytes(content[21:25], "little")
        return ((sides & 0x3FFF) + 1) * ((sides >> 14 & 0x3FFF) + 1)
    if kind is Kind.WEBP:
        return (int.from_bytes(content[26:28], "little") & 0x3FFF) * (int.from_bytes(content[28:30], "little") & 0x3FFF)
    return 0
