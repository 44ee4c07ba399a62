"""Pictures of a PDF page that PDFium leaves out, or shows a part of, without a word."""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import c_int, c_uint, create_string_buffer
from math import isqrt
from typing import Any, Final

import cv2
import numpy as np
import pypdfium2.raw as pdfium_raw

from ..preprocess import Page
from . import jpeg
from .complaints import jpeg_damage, standard_error

_MOST_OBJECTS: Final = 10_000
_DEEPEST: Final = 8
"""Of forms within forms; each may show the next one many times."""

_MOST_PIXELS: Final = 36_000_000
"""Decoded a second time for a page: A4 at 600 dpi."""

_SAMPLES: Final = 10_000
_ONE_COLOUR: Final = 0.9
"""Share of a picture's place that is of one colour where it may be missing: a stamp may stand on it."""

_Matrix = tuple[float, float, float, float, float, float]


def lost_pictures(page: Any, drawn: Page) -> list[str]:
    """Return what pictures of pypdfium2's page are missing from `drawn`, or lack a part.

    Only those are decoded once more whose place is of one colour, or grey at a corner, as libjpeg fills what it lacks.
    """
    lost: dict[str, None] = {}
    left = _MOST_PIXELS
    for picture, matrix in _pictures(page):
        place = _place(page, drawn, matrix)
        width, height = _size(picture)
        if place.size == 0 or width * height > left:
            continue
        what = None
        if _last_filter(picture) == "DCTDecode":
            data = _data(picture)
            if not jpeg.is_complete(data) or jpeg.may_lack_data(place):
                left -= width * height
                what = _damage_of_jpeg(data)
        if what is None and _is_of_one_colour(place):
            left -= width * height
            what = _undecodable(picture)
        if what is not None:
            lost[f"{_last_filter(picture) or 'no filter'}, {width} x {height} pixels: {what}"] = None
    return list(lost)


def _pictures(page: Any) -> Iterator[tuple[Any, _Matrix]]:
    """Yield the pictures of a page and of its forms, each with what takes the unit square to its place on the page."""
    left = _MOST_OBJECTS
    count, get = pdfium_raw.FPDFPage_CountObjects, pdfium_raw.FPDFPage_GetObject
    levels: list[tuple[Iterator[Any], _Matrix]] = [
        (iter([get(page, index) for index in range(min(left, count(page)))]), (1, 0, 0, 1, 0, 0))
    ]
    while levels and left > 0:
        objects, outer = levels[-1]
        item = next(objects, None)
        if item is None:
            levels.pop()
            continue
        left -= 1
        kind = pdfium_raw.FPDFPageObj_GetType(item)
        if kind == pdfium_raw.FPDF_PAGEOBJ_IMAGE:
            yield item, _matrix(item, outer)
        elif kind == pdfium_raw.FPDF_PAGEOBJ_FORM and len(levels) < _DEEPEST:
            inside = min(left, pdfium_raw.FPDFFormObj_CountObjects(item))
            levels.append((_inside(item, inside), _matrix(item, outer)))


def _inside(form: Any, count: int) -> Iterator[Any]:
    return (pdfium_raw.FPDFFormObj_GetObject(form, index) for index in range(count))


def _matrix(item: Any, outer: _Matrix) -> _Matrix:
    own = pdfium_raw.FS_MATRIX()
    pdfium_raw.FPDFPageObj_GetMatrix(item, own)
    a, b, c, d, e, f = outer
    return (
        own.a * a + own.b * c,
        own.a * b + own.b * d,
        own.c * a + own.d * c,
        own.c * b + own.d * d,
        own.e * a + own.f * c + e,
        own.e * b + own.f * d + f,
    )


def _place(page: Any, drawn: Page, matrix: _Matrix) -> Page:
    """Return the part of the drawn page that a picture covers, by its upright bounds."""
    height, width = drawn.shape[:2]
    a, b, c, d, e, f = matrix
    across, down = c_int(), c_int()
    places = []
    for x, y in ((e, f), (a + e, b + f), (c + e, d + f), (a + c + e, b + d + f)):
        if not pdfium_raw.FPDF_PageToDevice(page, 0, 0, width, height, 0, x, y, across, down):
            return drawn[:0]
        places.append((across.value, down.value))
    left, right = (limit(max(0, x) for x, _ in places) for limit in (min, max))
    top, bottom = (limit(max(0, y) for _, y in places) for limit in (min, max))
    # The pixels at its edges are mixed with what lies beside it.
    return drawn[top + 1 : max(0, bottom - 1), left + 1 : max(0, right - 1)]


def _is_of_one_colour(place: Page) -> bool:
    step = max(1, isqrt(place.shape[0] * place.shape[1] // _SAMPLES))
    points = place[::step, ::step].reshape(-1, place.shape[2]).astype(np.uint32)
    _, counts = np.unique(points @ np.array([1 << 16, 1 << 8, 1], np.uint32), return_counts=True)
    return bool(counts.max() >= _ONE_COLOUR * len(points))


def _undecodable(picture: Any) -> str | None:
    bitmap = pdfium_raw.FPDFImageObj_GetBitmap(picture)
    if not bitmap:
        return "it is damaged, or of a variant that is not known here"
    pdfium_raw.FPDFBitmap_Destroy(bitmap)
    return None


def _damage_of_jpeg(data: bytes) -> str | None:
    """Return what libjpeg says; PDFium's copy of it keeps silent."""
    with standard_error() as said:
        try:
            decoded = cv2.imdecode(np.frombuffer(data + jpeg.END_OF_IMAGE, np.uint8), cv2.IMREAD_REDUCED_COLOR_8)
        except cv2.error:  # other limits than PDFium's
            return None
    return jpeg_damage(said) if decoded is not None else None


def _size(picture: Any) -> tuple[int, int]:
    width, height = c_uint(), c_uint()
    pdfium_raw.FPDFImageObj_GetImagePixelSize(picture, width, height)
    return width.value, height.value


def _last_filter(picture: Any) -> str:
    """Return the name of the filter that makes pixels, empty where there is none."""
    name = create_string_buffer(64)
    count = pdfium_raw.FPDFImageObj_GetImageFilterCount(picture)
    if count > 0:
        pdfium_raw.FPDFImageObj_GetImageFilter(picture, count - 1, name, len(name))
    return name.value.decode(errors="replace")


def _data(picture: Any) -> bytes:
    """Return a picture's data, without the filters that come before the last one."""
    length = pdfium_raw.FPDFImageObj_GetImageDataDecoded(picture, None, 0)
    data = create_string_buffer(length)
    pdfium_raw.FPDFImageObj_GetImageDataDecoded(picture, data, length)
    return data.raw
