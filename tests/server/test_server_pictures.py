"""Pictures in PDFs, and JPEGs, that are blank or grey where data is missing: the answer says so."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from server import hostile
from server.support import Answer, ServerProcess, encode

NOISE = np.random.default_rng(1).integers(0, 256, (256, 256, 3)).astype(np.uint8)
JPEG = encode(NOISE, ".jpg")
JP2 = encode(NOISE, ".jp2")
RAW = zlib.compress(NOISE.tobytes())
CUT = JPEG[: len(JPEG) // 2]
END = b"\xff\xd9"


def picture(data: bytes, filters: bytes, more: bytes = b"/ColorSpace/DeviceRGB/BitsPerComponent 8") -> bytes:
    head = b"<</Type/XObject/Subtype/Image/Width 256/Height 256/Filter%s%s/Length %d>>" % (filters, more, len(data))
    return head + b"stream\n" + data + b"\nendstream"


def showing(*objects: bytes, draw: bytes = b"144 0 0 144 0 0 cm /I Do", extra: bytes = b"") -> bytes:
    return hostile.pdf_of(draw, extra=b"/Resources<</XObject<</I 5 0 R>>>>" + extra, objects=objects)


def reasons(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.content
    return [warning["reason"] for warning in answer.json.get("warnings", [])]


ONE_BIT = b"/ColorSpace/DeviceGray/BitsPerComponent 1"
LOST = {
    "a JPEG of which the head is there": picture(JPEG[:300], b"/DCTDecode"),
    "half a JPEG": picture(CUT, b"/DCTDecode"),
    "half a JPEG with an end": picture(CUT + END, b"/DCTDecode"),
    "half a JPEG in deflate": picture(zlib.compress(CUT), b"[/FlateDecode/DCTDecode]"),
    "half a JPEG 2000": picture(JP2[: len(JP2) // 2], b"/JPXDecode"),
    "no JBIG2": picture(b"junk" * 50, b"/JBIG2Decode", ONE_BIT),
    "an empty fax": picture(b"", b"/CCITTFaxDecode", ONE_BIT),
    "an unknown filter": picture(NOISE.tobytes(), b"/FooDecode"),
    "unknown colours": picture(RAW, b"/FlateDecode", b"/ColorSpace/Foo/BitsPerComponent 8"),
}
WHITE = np.full((256, 256, 3), 255, np.uint8)
WHOLE = {
    "a JPEG": picture(JPEG, b"/DCTDecode"),
    "a JPEG in deflate": picture(zlib.compress(JPEG), b"[/FlateDecode/DCTDecode]"),
    "a JPEG without its end": picture(JPEG[:-2], b"/DCTDecode"),
    "a grey JPEG": picture(encode(WHITE // 2 + 1, ".jpg"), b"/DCTDecode"),
    "a white JPEG": picture(encode(WHITE, ".jpg"), b"/DCTDecode"),
    "a JPEG 2000": picture(JP2, b"/JPXDecode"),
    "a white JPEG 2000": picture(encode(WHITE, ".jp2"), b"/JPXDecode"),
    "white": picture(zlib.compress(WHITE.tobytes()), b"/FlateDecode"),
    "a stencil": picture(zlib.compress(bytes(256 * 32)), b"/FlateDecode", b"/ImageMask true/BitsPerComponent 1"),
    "a palette": picture(
        zlib.compress(bytes(256 * 256)), b"/FlateDecode", b"/ColorSpace[/Indexed/DeviceRGB 1<ffffff000000>]"
        b"/BitsPerComponent 8"
    ),
    "nothing there": b"null",
}  # fmt: skip


@pytest.mark.parametrize("story", LOST)
def test_a_picture_that_cannot_be_drawn_is_no_silent_blank(server: ServerProcess, story: str) -> None:
    answer = server.predict(showing(LOST[story]), "application/pdf")
    assert reasons(answer) == ["DataDamaged"]
    assert "256 x 256" in answer.json["warnings"][0]["message"]


@pytest.mark.parametrize("story", WHOLE)
def test_a_picture_that_is_drawn_has_no_warning(server: ServerProcess, story: str) -> None:
    assert reasons(server.predict(showing(WHOLE[story]), "application/pdf")) == []


FORM = (
    b"<</Type/XObject/Subtype/Form/BBox[0 0 999 999]/Matrix[%s]/Resources<</XObject<</I 6 0 R>>>>/Length %d>>stream\n"
    b"%s\nendstream"
)
LOST_JP2 = LOST["half a JPEG 2000"]


@pytest.mark.parametrize("extra", [b"", b"/Rotate 90", b"/Rotate 180", b"/CropBox[60 60 130 130]", b"/UserUnit 2"])
def test_a_lost_picture_is_found_where_it_stands(server: ServerProcess, extra: bytes) -> None:
    """In a form, turned, beside a text that is drawn, and under a stamp."""
    inner = b"q 50 0 0 50 0 0 cm /I Do Q 0 0 0 rg 10 10 9 9 re f"
    form = FORM % (b"1 0 0 1 30 30", len(inner), inner)
    draw = b"0 0 0 rg 0 0 144 20 re f q 0 1 -1 0 144 20 cm 1 0 0 rg /I Do Q"
    assert reasons(server.predict(showing(form, LOST_JP2, draw=draw, extra=extra), "application/pdf")) == [
        "DataDamaged"
    ]
    whole = showing(form, WHOLE["a white JPEG 2000"], draw=draw, extra=extra)
    assert reasons(server.predict(whole, "application/pdf")) == []


def test_a_lost_picture_beyond_the_page_is_not_missed(server: ServerProcess) -> None:
    draw = b"144 0 0 144 500 500 cm /I Do"
    assert reasons(server.predict(showing(LOST_JP2, draw=draw), "application/pdf")) == []


def test_forms_that_double_are_not_walked_for_ever(server: ServerProcess) -> None:
    assert reasons(server.predict(hostile.nested_pdf(12), "application/pdf")) == []


def claiming(height: int) -> bytes:
    """The JPEG, whose frame says that it is of this height."""
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + struct.pack(">H", height) + JPEG[at + 2 :]


@pytest.mark.parametrize("content", [claiming(400), CUT + END])
@pytest.mark.parametrize("query", ["", "?pages=all"])
def test_a_jpeg_with_less_data_than_it_claims_says_so(server: ServerProcess, content: bytes, query: str) -> None:
    answer = server.predict(content, "image/jpeg", query)
    assert answer.status == 200
    (page,) = answer.json["pages"] if query else [answer.json]
    assert [warning["reason"] for warning in page["warnings"]] == ["DataDamaged"]


@pytest.mark.parametrize("content", [JPEG, encode(WHITE // 2 + 1, ".jpg"), claiming(200)])
def test_a_whole_jpeg_has_no_warning(server: ServerProcess, content: bytes) -> None:
    assert reasons(server.predict(content, "image/jpeg")) == []
