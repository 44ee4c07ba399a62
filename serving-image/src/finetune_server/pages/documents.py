"""Documents opened and their pages drawn. Runs in a process of its own, which may be killed at any point."""

from __future__ import annotations

import math
import os
from typing import Final, Protocol

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_raw

from ..errors import RequestError
from .complaints import jpeg_damage, standard_error
from .formats import Kind
from .images import decode_image, too_many_pixels
from .jpeg import END_OF_IMAGE, is_complete
from .libtiff import opencv_speaks, tiff_damage
from .missing_text import missing_fonts
from .pictures import lost_pictures
from .selection import Drawn
from .tiff import beginning_with, directories

POINTS_PER_INCH: Final = 72


class Document(Protocol):
    """Something with pages, numbered from 1."""

    @property
    def pages(self) -> int:
        """Return how many there are."""
        ...

    def draw(self, number: int, dpi: int) -> Drawn:
        """Return a page. Raises `RequestError` 422; any other exception is the document's fault, too."""
        ...


def open_document(content: bytes, kind: Kind, max_pixels: int) -> Document:
    """Open it. Raises `RequestError` 422."""
    match kind:
        case Kind.PDF:
            return Pdf(content, max_pixels)
        case Kind.TIFF:
            return Tiff(content, max_pixels)
        case Kind.JPEG | Kind.PNG | Kind.WEBP | Kind.BMP:
            return Picture(content, kind, max_pixels)


class Tiff:
    """A TIFF, whose pages are pictures of their own."""

    def __init__(self, content: bytes, max_pixels: int) -> None:
        self._content = content
        self._max_pixels = max_pixels
        self._directories = directories(content)
        # One without a directory is a page that cannot be read, rather than no page.
        self.pages = max(1, len(self._directories))

    def draw(self, number: int, dpi: int) -> Drawn:  # noqa: ARG002 - pixels have no resolution of ours
        """Return a page's picture; with a warning where libtiff has left some of it out, as viewers show it."""
        content = self._content if number == 1 else beginning_with(self._content, self._directories[number - 1])
        with standard_error() as said, opencv_speaks():
            page = decode_image(content, Kind.TIFF, self._max_pixels)
        os.write(2, b"".join(said))  # into the log, as before it was read here
        damage = tiff_damage(b"".join(said).decode(errors="replace"))
        return Drawn(page, (_damaged(f"the TIFF's data is damaged or ends too early ({damage})"),) if damage else ())


class Picture:
    """An image as a document of one page."""

    def __init__(self, content: bytes, kind: Kind, max_pixels: int) -> None:
        self._content = content
        self._kind = kind
        self._max_pixels = max_pixels
        self.pages = 1

    def draw(self, number: int, dpi: int) -> Drawn:  # noqa: ARG002 - pixels have no resolution of ours
        """Return the image. A JPEG without its end is read as if it had one, when libjpeg misses nothing else."""
        if self._kind is not Kind.JPEG:
            return Drawn(decode_image(self._content, self._kind, self._max_pixels))
        complete = is_complete(self._content)
        with standard_error() as said:
            page = decode_image(
                self._content if complete else self._content + END_OF_IMAGE, self._kind, self._max_pixels
            )
        damage = jpeg_damage(said)
        if damage and not complete:
            raise RequestError(422, "ImageTruncated", "the image/jpeg data ends before the image does")
        return Drawn(page, (_damaged(f"the JPEG has less data than its size takes ({damage})"),) if damage else ())


class Pdf:
    """A PDF, drawn by PDFium."""

    def __init__(self, content: bytes, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        try:
            self._document = pdfium.PdfDocument(content)
        except pdfium.PdfiumError as error:
            if error.err_code == pdfium_raw.FPDF_ERR_PASSWORD:
                raise RequestError(422, "PdfEncrypted", "the PDF needs a password; send it decrypted") from None
            if error.err_code == pdfium_raw.FPDF_ERR_SECURITY:
                message = "the PDF is encrypted in a way that is not read here, as by a certificate; send it decrypted"
                raise RequestError(422, "PdfEncrypted", message) from None
            raise RequestError(422, "PdfUnreadable", "the PDF is damaged") from None
        self._document.init_forms()  # or filled-in form fields stay blank

    @property
    def pages(self) -> int:
        """Return how many there are."""
        return len(self._document)

    def draw(self, number: int, dpi: int) -> Drawn:
        """Return a page as it would be printed at `dpi`."""
        try:
            page = self._document[number - 1]
            scale = dpi / POINTS_PER_INCH
            width, height = (math.ceil(side * scale) for side in page.get_size())
            if width <= 0 or height <= 0:
                raise RequestError(422, "PdfUnreadable", f"page {number} shows nothing: its crop box lies outside it")
            if width * height > self._max_pixels:
                raise too_many_pixels(f"the page is {width} x {height}, more", self._max_pixels)
            bitmap = page.render(scale=scale, maybe_alpha=False, force_bitmap_format=pdfium_raw.FPDFBitmap_BGR)
            fonts, pixels = missing_fonts(page.get_textpage()), bitmap.to_numpy()
            warnings = [_font_missing(font) for font in fonts]
            warnings += [_damaged(f"a picture in the PDF ({picture})") for picture in lost_pictures(page, pixels)]
        except pdfium.PdfiumError:
            raise RequestError(422, "PdfUnreadable", f"page {number} of the PDF is damaged") from None
        return Drawn(pixels, tuple(warnings))


def _damaged(what: str) -> tuple[str, str]:
    return "DataDamaged", f"a part of the page is missing: {what}"


def _font_missing(font: str) -> tuple[str, str]:
    message = (
        f"text in {font[:80]} is missing from the page: the PDF does not embed the font, and none here has its shapes"
    )
    return "FontMissing", message
