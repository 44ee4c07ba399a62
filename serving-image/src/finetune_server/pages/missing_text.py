"""Text of a PDF page that is not drawn: its font is neither in the PDF nor on this machine."""

from __future__ import annotations

import unicodedata
from ctypes import addressof, c_double, create_string_buffer
from typing import Any, Final

import pypdfium2.raw as pdfium_raw

_MOST_CHARACTERS: Final = 10_000
_BLANK: Final = 0.01
"""Of a character's size: PDFium gives one without a shape a box that is flat, or has no width."""


def missing_fonts(text_page: Any) -> list[str]:
    """Return the names of fonts of which characters have no shape, each once. Takes pypdfium2's text page."""
    embedded: dict[Any, bool] = {}
    missing: dict[str, None] = {}
    for index in range(min(text_page.count_chars(), _MOST_CHARACTERS)):
        if unicodedata.category(chr(pdfium_raw.FPDFText_GetUnicode(text_page, index)))[0] not in "LNS":
            continue
        piece = pdfium_raw.FPDFText_GetTextObject(text_page, index)
        font = pdfium_raw.FPDFTextObj_GetFont(piece) if piece else None
        if not font:
            continue
        key = _address(font)
        if key not in embedded:
            embedded[key] = bool(pdfium_raw.FPDFFont_GetIsEmbedded(font))
        if not embedded[key] and _is_blank(text_page, index):
            missing[_name(font)] = None
    return list(missing)


def _is_blank(text_page: Any, index: int) -> bool:
    left, right, bottom, top = (c_double() for _ in range(4))
    if not pdfium_raw.FPDFText_GetCharBox(text_page, index, left, right, bottom, top):
        return False
    size = pdfium_raw.FPDFText_GetFontSize(text_page, index)
    return bool(min(right.value - left.value, top.value - bottom.value) < _BLANK * size)


def _address(font: Any) -> int:
    return addressof(font.contents)


def _name(font: Any) -> str:
    name = create_string_buffer(128)
    pdfium_raw.FPDFFont_GetBaseFontName(font, name, len(name))
    return name.value.decode(errors="replace") or "a font without a name"
