"""Decodes what a client sent into a page of pixels, within limits that are checked before the work is done."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum
from io import BytesIO
from typing import Final

import cv2
import imagesize
import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_raw

from .errors import RequestError
from .preprocess import Page

POINTS_PER_INCH: Final = 72


class Kind(Enum):
    """What the first bytes say; the declared media type only has to be one of ours."""

    JPEG = "image/jpeg"
    PNG = "image/png"
    WEBP = "image/webp"
    TIFF = "image/tiff"
    BMP = "image/bmp"
    PDF = "application/pdf"


_UNDECLARED: Final = ("", "application/octet-stream")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One document as it was sent, and which of its pages (1-based) to read at which resolution (PDF only)."""

    content: bytes
    media_type: str
    page: int
    dpi: int


class PageDecoder:
    """Bytes to pixels. One instance a process: PDFium is not thread-safe, so its calls take turns."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._pdfium_lock = threading.Lock()

    def decode(self, request: PageRequest) -> Page:
        """Return the page as BGR (height, width, 3), EXIF applied. Raises `RequestError` (400, 415, 422)."""
        kind = _kind(request)
        if kind is Kind.PDF:
            with self._pdfium_lock:
                return self._decode_pdf(request)
        if request.page != 1:
            raise RequestError(422, "PageOutOfRange", f"page {request.page} asked for, an image has one")
        return self._decode_image(request.content, kind)

    def _decode_image(self, content: bytes, kind: Kind) -> Page:
        unreadable = RequestError(422, "ImageUnreadable", f"the {kind.value} data is damaged or of an unknown variant")
        try:
            width, height = imagesize.get(BytesIO(content))
        except ValueError:
            raise unreadable from None
        if width <= 0 or height <= 0:
            raise unreadable
        self._check_pixels(width, height)
        if not _is_complete(content, kind):
            raise RequestError(422, "ImageTruncated", f"the {kind.value} data ends before the image does")
        try:
            page = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:
            raise unreadable from None
        if page is None:
            raise unreadable
        return np.asarray(page, np.uint8)

    def _decode_pdf(self, request: PageRequest) -> Page:
        try:
            document = pdfium.PdfDocument(request.content)
        except pdfium.PdfiumError as error:
            if error.err_code == pdfium_raw.FPDF_ERR_PASSWORD:
                raise RequestError(422, "PdfEncrypted", "the PDF needs a password; send it decrypted") from None
            raise RequestError(422, "PdfUnreadable", "the PDF is damaged") from None
        try:
            document.init_forms()  # or filled-in form fields stay blank
            if not 1 <= request.page <= len(document):
                raise RequestError(422, "PageOutOfRange", f"page {request.page} asked for, the PDF has {len(document)}")
            scale = request.dpi / POINTS_PER_INCH
            page = document[request.page - 1]
            self._check_pixels(*(max(1, round(side * scale)) for side in page.get_size()))
            bitmap = page.render(scale=scale, maybe_alpha=False, force_bitmap_format=pdfium_raw.FPDFBitmap_BGR)
            # The bitmap's memory is PDFium's and goes with the document: copied before that is closed.
            pixels: Page = bitmap.to_numpy().copy()
            return pixels
        except pdfium.PdfiumError:
            raise RequestError(422, "PdfUnreadable", f"page {request.page} of the PDF is damaged") from None
        finally:
            document.close()

    def _check_pixels(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise RequestError(
                422,
                "TooManyPixels",
                f"the page is {width} x {height}, at most {self._max_pixels} pixels are accepted; "
                "send it smaller or with a lower dpi",
            )


def _kind(request: PageRequest) -> Kind:
    supported = ", ".join(kind.value for kind in Kind)
    media_type = request.media_type.partition(";")[0].strip().lower()
    if media_type not in _UNDECLARED and media_type not in {kind.value for kind in Kind}:
        raise RequestError(415, "MediaTypeUnsupported", f"{media_type!r} is not one of {supported}")
    if not request.content:
        raise RequestError(400, "BodyEmpty", "send the bytes of one image or PDF as the body")
    kind = _sniff(request.content)
    if kind is None:
        raise RequestError(415, "ContentUnsupported", f"the body is none of {supported}")
    return kind


def _sniff(content: bytes) -> Kind | None:
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


def _is_complete(content: bytes, kind: Kind) -> bool:
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
