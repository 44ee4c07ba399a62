"""A captured page as a picture: the bytes that came, or what the server's renderer drew of them, by the same pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np

from ..data.decoding import decode_page
from ..data.images import MOST_PIXELS, Picture, Pixels, complete_jpeg, inspect_image, pixels_digest
from ..digests import sha256_of
from ..documents.production import CapturedPage
from .tiff import beginning_with, directories

POINTS_PER_INCH: Final = 72

_SHOWN_ANYWHERE: Final = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}
"""Kinds of files that every browser shows, and so every labelling tool, with their suffix."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """A page as a file of its own that labelling tools show and a pool takes."""

    data: bytes
    suffix: str
    picture: Picture


def page_file(record: CapturedPage, data: bytes) -> PageFile | str:
    """Return the page of a record from the bytes that came, or why it is not to be had.

    What is returned has the pixels that were answered: boxes drawn on others would be labels of another page.
    """
    if sha256_of(data) != record.page.sha256:
        return "its bytes are not those that were captured"
    as_came = _as_it_came(record, data)
    if as_came is not None and as_came.picture.pixels == record.page.pixels:
        return as_came
    drawn = _draw(record, data)
    if isinstance(drawn, str):
        return drawn
    if pixels_digest(drawn) != record.page.pixels:
        how = f"drew it with {record.renderer}" if record.renderer else "decoded it"
        return f"it comes to other pixels here than where the server {how}: use the trainer's image of that release"
    png = cv2.imencode(".png", drawn)[1].tobytes()
    picture = inspect_image(png)
    return picture if isinstance(picture, str) else PageFile(png, ".png", picture)


def _as_it_came(record: CapturedPage, data: bytes) -> PageFile | None:
    """Return the file as it is, where every tool shows it as it was answered: upright, as its pixels lie."""
    suffix = _SHOWN_ANYWHERE.get(record.kind)
    if suffix is None or record.page.number != 1:
        return None
    picture = inspect_image(data)
    return None if isinstance(picture, str) or picture.remarks else PageFile(data, suffix, picture)


def _draw(record: CapturedPage, data: bytes) -> Pixels | str:
    number = record.page.number
    try:
        match record.kind:
            case "application/pdf":
                return _pdf_page(data, number, record.page.dpi or POINTS_PER_INCH)
            case "image/tiff":
                places = directories(data)
                page = decode_page(data if number == 1 else beginning_with(data, places[number - 1]))
            case _:
                page = decode_page(complete_jpeg(data))
    except (cv2.error, IndexError) as error:
        return f"page {number} cannot be read: {' '.join(str(error).split())[:120]}"
    return page if page is not None else "its image cannot be decoded"


def _pdf_page(data: bytes, number: int, dpi: int) -> Pixels | str:
    """Draw a page of a PDF as the server does: serving-image, pages/documents.py."""
    import pypdfium2 as pdfium
    import pypdfium2.raw as pdfium_raw

    try:
        document: Any = pdfium.PdfDocument(data)
        document.init_forms()  # or filled-in form fields stay blank
        page = document[number - 1]
        scale = dpi / POINTS_PER_INCH
        width, height = (math.ceil(side * scale) for side in page.get_size())
        if not 0 < width * height <= MOST_PIXELS:
            return f"page {number} would be {width} x {height} pixels"
        bitmap = page.render(scale=scale, maybe_alpha=False, force_bitmap_format=pdfium_raw.FPDFBitmap_BGR)
    except pdfium.PdfiumError as error:
        return f"page {number} of the PDF cannot be drawn: {error}"
    return np.asarray(bitmap.to_numpy(), np.uint8)
