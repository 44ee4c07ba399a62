"""What a client may rely on: the fields of a page, and an answer that says what is wrong with a request."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pypdfium2 as pdfium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_server.errors import RequestError
from server.support import CLASSES, DEADLINE, Answer, ServerProcess, decode, encode, page_with, pdf

PAGE = encode(page_with("red", at=(32, 48)))


def size(answer: Answer) -> tuple[int, int]:
    """Width and height of the page."""
    return answer.json["page"]["width"], answer.json["page"]["height"]


def encrypted_pdf() -> bytes:
    """A PDF that claims the standard security handler with a password that nobody has."""
    secret = b"<" + b"ab" * 32 + b">"
    encrypt = b"/Encrypt<</Filter/Standard/V 1/R 2/P -44/O" + secret + b"/U" + secret + b">>/ID[<00><00>]"
    return pdf((144, 144)).replace(b"trailer<<", b"trailer<<" + encrypt)


def pdf_for_a_certificate() -> bytes:
    """A PDF that only the owner of a certificate can open."""
    encrypt = b"/Encrypt<</Filter/Adobe.PubSec/SubFilter/adbe.pkcs7.s4/V 1/Recipients[<00>]>>/ID[<00><00>]"
    return pdf((144, 144)).replace(b"trailer<<", b"trailer<<" + encrypt)


def huge_png() -> bytes:
    """A PNG of 30000 x 30000 pixels in 100 bytes: its header is what a decoder allocates by."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("colour", CLASSES)
@pytest.mark.parametrize(
    ("suffix", "media_type"),
    [
        (".png", "image/png"),
        (".jpg", "image/jpeg"),
        (".webp", "image/webp"),
        (".tiff", "image/tiff"),
        (".bmp", "image/bmp"),
        (".png", "application/octet-stream"),
        (".png", "image/png; charset=binary"),
    ],
)
def test_a_field_is_found_by_name_and_place(server: ServerProcess, colour: str, suffix: str, media_type: str) -> None:
    answer = server.predict(encode(page_with(colour, at=(32, 48)), suffix), media_type)
    assert answer.status == 200
    assert size(answer) == (128, 128)
    assert answer.json["model"]["name"] == "invoice-fields"
    assert answer.json["model"]["version"] == "ft_v1.1"
    (field,) = answer.json["fields"]
    assert field["field"] == colour
    assert field["confidence"] > 0.9
    # The cell at (32, 48), 16 pixels wide on this page, in a box half a cell wider.
    assert field["box"] == [28, 44, 52, 68]


def test_boxes_are_in_pixels_of_a_page_that_is_not_square(server: ServerProcess) -> None:
    # 256 x 128 is halved twice to 64 x 32 and padded by 16 above; cells are 32 pixels of the page.
    page = page_with("green", at=(192, 0), side=32, width=256, height=128)
    (field,) = server.predict(encode(page)).json["fields"]
    assert field["box"] == [184, 0, 232, 40]  # clipped to the page above


def test_an_empty_page_has_no_fields(server: ServerProcess) -> None:
    answer = server.predict(encode(np.zeros((50, 80, 3), np.uint8)))
    assert (answer.status, answer.json["fields"]) == (200, [])


def test_a_grey_page_is_read_like_a_coloured_one(server: ServerProcess) -> None:
    grey = np.zeros((128, 128), np.uint8)
    grey[48:64, 32:48] = 255
    assert {f["field"] for f in server.predict(encode(grey)).json["fields"]} == {*CLASSES}


def test_exif_orientation_is_applied(server: ServerProcess) -> None:
    upright = encode(page_with("red", at=(32, 48), width=128, height=64), ".jpg")
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"  # 6: turn by 90 degrees clockwise
    turned = upright[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + upright[2:]
    assert size(server.predict(turned, "image/jpeg")) == (64, 128)


@pytest.mark.parametrize(("dpi", "side"), [(36, 72), (72, 144), (144, 288)])
def test_a_pdf_page_is_rendered_at_the_resolution_asked_for(server: ServerProcess, dpi: int, side: int) -> None:
    answer = server.predict(pdf((144, 144)), "application/pdf", f"?dpi={dpi}")
    assert size(answer) == (side, side)
    (field,) = answer.json["fields"]
    scale = dpi / 72
    assert field["field"] == "red"
    assert field["confidence"] == pytest.approx(1, abs=0.15)  # edges are blended at some sizes
    assert field["box"] == pytest.approx([31.5 * scale, 31.5 * scale, 58.5 * scale, 58.5 * scale], abs=0.01)


def test_the_page_of_a_pdf_is_chosen_by_number(server: ServerProcess) -> None:
    document = pdf((144, 144), (144, 144), colours=("red", "blue"))
    names = [server.predict(document, "application/pdf", f"?page={n}").json["fields"][0]["field"] for n in (1, 2)]
    assert names == ["red", "blue"]


def test_leading_bytes_before_a_pdf_are_ignored(server: ServerProcess) -> None:
    assert pdfium.PdfDocument(b"\r\n" + pdf((144, 144)))  # PDFium itself agrees
    assert server.predict(b"\r\n" + pdf((144, 144)), "application/pdf").status == 200


JPEG = encode(page_with("red", at=(32, 48)), ".jpg")
BAD = [
    ("no body", b"", "image/png", "", 400, "BodyEmpty"),
    ("page not a number", PAGE, "image/png", "?page=one", 400, "QueryInvalid"),
    ("page zero", PAGE, "image/png", "?page=0", 400, "QueryInvalid"),
    ("digits of another script", PAGE, "image/png", "?page=%D9%A1", 400, "QueryInvalid"),
    ("resolution too high", PAGE, "image/png", "?dpi=100000", 400, "QueryInvalid"),
    ("a form", PAGE, "multipart/form-data; boundary=x", "", 400, "FormInvalid"),
    ("JSON", b"{}", "application/json", "", 415, "MediaTypeUnsupported"),
    ("text that says PNG", b"hello", "image/png", "", 415, "ContentUnsupported"),
    ("a GIF that says PNG", b"GIF89a" + bytes(20), "image/png", "", 415, "ContentUnsupported"),
    ("too many bytes", bytes(2_000_001), "image/png", "", 413, "BodyTooLarge"),
    ("half a PNG header", PAGE[:20], "image/png", "", 422, "ImageTruncated"),
    ("a PNG cut short", PAGE[:60], "image/png", "", 422, "ImageTruncated"),
    ("a PNG chunk of 4 GiB", PAGE[:33] + b"\xff" + PAGE[34:], "image/png", "", 422, "ImageTruncated"),
    ("a JPEG without dimensions", b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg", "", 422, "ImageTruncated"),
    ("half a JPEG", JPEG[: len(JPEG) * 3 // 4], "image/jpeg", "", 422, "ImageTruncated"),
    ("900 megapixels", huge_png(), "image/png", "", 422, "TooManyPixels"),
    ("page two of an image", PAGE, "image/png", "?page=2", 422, "PageOutOfRange"),
    ("page two of one", pdf((144, 144)), "application/pdf", "?page=2", 422, "PageOutOfRange"),
    ("half a PDF", b"%PDF-1.4\n1 0 obj", "application/pdf", "", 422, "PdfUnreadable"),
    ("a locked PDF", encrypted_pdf(), "application/pdf", "", 422, "PdfEncrypted"),
    ("a PDF for a certificate", pdf_for_a_certificate(), "application/pdf", "", 422, "PdfEncrypted"),
    ("a PDF page of 5 metres", pdf((14_400, 14_400)), "application/pdf", "", 422, "TooManyPixels"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "media_type", "query", "status", "reason"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_bad_input_is_refused_with_a_reason(
    server: ServerProcess, body: bytes, media_type: str, query: str, status: int, reason: str
) -> None:
    before = server.metrics()
    answer = server.predict(body, media_type, query)
    assert (answer.status, answer.reason) == (status, reason)
    assert answer.json["error"]["message"]
    counted = [k for k in before if k.startswith("finetune_documents_total")]
    assert counted
    assert all(server.metrics()[k] == before[k] for k in counted), "a refused page is not a document"


def test_a_body_of_unknown_length_is_limited_too(server: ServerProcess) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
    connection.request(
        "POST", "/predict", iter([bytes(500_000)] * 5), {"Content-Type": "image/png"}, encode_chunked=True
    )
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [("GET", "/predict", 405, "MethodNotAllowed"), ("GET", "/other", 404, "NotFound")],
)
def test_unknown_routes_answer_in_the_same_form(
    server: ServerProcess, method: str, path: str, status: int, reason: str
) -> None:
    answer = server.request(method, path)
    assert (answer.status, answer.reason) == (status, reason)


def test_jpeg_is_decoded_as_opencv_does(server: ServerProcess) -> None:
    noisy = np.random.default_rng(7).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    noisy[:, :, 2] = 255
    data = encode(noisy, ".jpg")
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    small = cv2.resize(decoded, (64, 64), interpolation=cv2.INTER_LINEAR).astype(np.float64) / 255
    best = small[:, :, 2].reshape(8, 8, 8, 8).mean(axis=(1, 3)).max()
    confidences = [f["confidence"] for f in server.predict(data, "image/jpeg").json["fields"] if f["field"] == "red"]
    assert max(confidences) == pytest.approx(best, abs=1e-3)


def test_version_says_what_is_loaded(server: ServerProcess) -> None:
    version = server.get("/version").json
    assert version.keys() == {"name", "version", "sha256", "uri", "classes", "imageSize"}
    assert (version["name"], version["version"]) == ("invoice-fields", "ft_v1.1")
    assert (version["classes"], version["imageSize"]) == ([*CLASSES], 64)


SEEDS = [encode(page_with("red", at=(32, 48)), suffix) for suffix in (".png", ".jpg", ".webp", ".tiff", ".bmp")]
SEEDS.append(pdf((144, 144)))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A page with a few bytes changed, most often in its first ones, and perhaps its end missing."""
    content = bytearray(draw(st.sampled_from(SEEDS)))
    places = st.integers(0, min(60, len(content) - 1)) | st.integers(0, len(content) - 1)
    for place in draw(st.lists(places, max_size=4)):
        content[place] = draw(st.sampled_from([0, 1, 127, 255]) | st.integers(0, 255))
    return bytes(content[: draw(st.none() | st.integers(0, len(content)))])


@settings(max_examples=400, deadline=None)
@given(damaged())
def test_a_damaged_page_is_read_or_refused_and_never_an_accident(content: bytes) -> None:
    try:
        page = decode(content, max_pixels=1_000_000)
    except RequestError as error:
        status, pixels = error.status, 0
    else:
        status, pixels = 200, page.shape[0] * page.shape[1]
    assert status in (200, 400, 415, 422)
    assert pixels <= 1_000_000
