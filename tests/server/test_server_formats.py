"""What a decoder is not shown: data that is cut or costs more than its picture. What it is shown all the same."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from finetune_server.errors import RequestError
from finetune_server.pages import jpeg
from finetune_server.pages.formats import Kind, described, is_large, needs_process, sniff
from server.hostile import scans_jpeg
from server.support import ServerProcess, decode, encode, page_with

PAGE = page_with("red", at=(32, 48))
JPEG = encode(PAGE, ".jpg")


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(data: bytes, *before: bytes, side: int = 64) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")
    )


BLACK = bytes(64 * (64 * 3 + 1))


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt", b"iCCP", b"tEXt"])
def test_text_and_profiles_in_a_png_are_not_inflated(name: bytes) -> None:
    bomb = chunk(name, b"x\0\0" + zlib.compress(bytes(7 * 2**20), 9))
    content = png(BLACK, *[bomb] * 100)
    started = time.process_time()
    assert decode(content).shape == (64, 64, 3)
    assert time.process_time() - started < 0.5


def test_a_png_with_more_data_than_its_picture_takes_is_refused() -> None:
    content = png(bytes(300 * 2**20))
    started = time.process_time()
    with pytest.raises(RequestError) as caught:
        decode(content)
    assert (caught.value.status, caught.value.reason) == (422, "ImageUnreadable")
    assert time.process_time() - started < 0.5


def test_a_large_png_with_damaged_data_is_read_or_refused_as_a_small_one_is(server: ServerProcess) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (700, 700, 3)).astype(np.uint8)
    for side, at in ((100, 0.5), (700, 0.5), (100, 0.999), (700, 0.9999)):
        content = bytearray(encode(np.ascontiguousarray(noise[:side, :side])))
        content[int(len(content) * at)] ^= 0xFF
        answer = server.predict(bytes(content))
        assert answer.status in (200, 422), (side, at, answer.content)
        if answer.status == 422:
            assert answer.reason == "ImageUnreadable"


def test_a_large_png_is_read() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (700, 700, 3)).astype(np.uint8)
    np.testing.assert_array_equal(decode(encode(noise)), noise)


def test_a_png_of_endless_chunks_is_refused() -> None:
    with pytest.raises(RequestError, match="chunks"):
        decode(png(BLACK, chunk(b"tEXt", b"") * 60_000))


@pytest.mark.parametrize(
    ("story", "content"),
    [
        ("stray bytes before a segment", JPEG[:20] + b"\x01\x02\x03\x04" + JPEG[20:]),
        ("zeros before a segment", JPEG[:20] + b"\0\0" + JPEG[20:]),
        ("fill bytes", JPEG[:2] + b"\xff\xff" + JPEG[2:]),
        ("bytes after the end", JPEG + b"\r\n" * 20),
        ("a stray standalone marker", JPEG[:20] + b"\xff\xd0" + JPEG[20:]),
        ("half a million bytes of padding", JPEG[:20] + b"\0" * 500_000 + JPEG[20:]),
    ],
)
def test_a_jpeg_that_every_viewer_shows_is_read(story: str, content: bytes) -> None:
    np.testing.assert_array_equal(decode(content), decode(JPEG), story)


@pytest.mark.parametrize("length", [3, 4, 20, 21, 22, len(JPEG) // 2, len(JPEG) - 2])
def test_a_cut_jpeg_is_seen_as_such(length: int) -> None:
    assert jpeg.is_complete(JPEG)
    assert not jpeg.is_complete(JPEG[:length])


@pytest.mark.parametrize("piece", [b"\xff\0", b"\xff", b"\xff\xd0", b"\xff\xe0\0\2", b"\xff\xc0", b" "])
def test_the_first_look_at_a_body_costs_the_others_nothing(piece: bytes) -> None:
    scan = JPEG[: JPEG.index(b"\xff\xda") + 20]
    for start in (b"\xff\xd8\xff", b"", scan):
        content = start + piece * (20_000_000 // len(piece))
        started = time.process_time()
        kind = sniff(content)
        if kind is None:
            described(content)
        else:
            needs_process(content, kind)
            is_large(content, kind)
        assert time.process_time() - started < 0.5


def test_a_thumbnail_does_not_make_a_large_jpeg_a_small_one() -> None:
    large = encode(np.zeros((3600, 3600, 3), np.uint8), ".jpg")
    thumbnail = b"\xff\xe1" + struct.pack(">H", len(JPEG) + 2) + JPEG
    assert is_large(large[:2] + thumbnail + large[2:], Kind.JPEG)
    assert not is_large(JPEG, Kind.JPEG)


def test_what_may_take_any_time_is_decoded_where_it_can_be_killed() -> None:
    assert needs_process(scans_jpeg(scans=20, side=64), Kind.JPEG)
    assert not needs_process(JPEG, Kind.JPEG)
    assert needs_process(b"", Kind.PDF)
    assert needs_process(b"", Kind.TIFF)
    assert needs_process(png(BLACK, chunk(b"acTL", struct.pack(">II", 2, 0))), Kind.PNG)
    assert not needs_process(png(BLACK), Kind.PNG)


PAGES = Path(__file__).parent / "pages"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("os2.bmp", "a bitmap with OS/2's header"),
        ("stray_bytes.jpg", "stray bytes between segments"),
        ("grey12in16.png", "12 bits in 16: the mark is white"),
        ("alpha_blacktext.png", "black on transparency: the paper is white"),
    ],
)
def test_a_page_that_every_viewer_shows_is_no_blank(name: str, what: str) -> None:
    page = decode((PAGES / name).read_bytes())
    assert page.shape == (128, 128, 3)
    assert page.max() >= 250, what
    assert page.min() <= 5, what


def test_transparency_is_told_from_what_looks_like_it() -> None:
    black = np.zeros((8, 8, 4), np.uint8)
    assert decode(encode(black)).min() == 255, "all of it is transparent"
    # The fourth byte of such a bitmap is unused, not transparency.
    head = struct.pack("<IHHI", 0, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 8, -8, 1, 32, 0, 0, 0, 0, 0, 0)
    assert decode(b"BM" + head + bytes(8 * 8 * 4)).max() == 0


@pytest.mark.parametrize(("brightest", "bits"), [(200, 8), (1000, 10), (4095, 12), (4096, 14), (60_000, 16)])
def test_the_bits_in_use_are_those_that_the_brightest_pixel_needs(brightest: int, bits: int) -> None:
    deep = np.zeros((4, 4, 3), np.uint16)
    deep[0, 0] = brightest
    for suffix in (".png", ".tiff"):
        assert decode(encode(deep, suffix))[0, 0].tolist() == [brightest >> (bits - 8)] * 3


@pytest.mark.parametrize("depth", ["uint8", "uint16"])
def test_a_transparent_page_takes_no_multiple_of_its_memory(depth: str) -> None:
    image: npt.NDArray[Any] = np.zeros((1000, 1000, 4), depth)
    content = encode(image)
    tracemalloc.start()
    page = decode(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < image.nbytes + page.nbytes + 2 * 2**20


def test_a_transparent_page_is_turned_as_its_exif_says() -> None:
    exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    content = encode(np.full((2, 4, 4), 255, np.uint8))
    assert decode(content[:33] + chunk(b"eXIf", exif) + content[33:]).shape == (4, 2, 3)


def test_a_jpeg_without_its_end_is_read_when_nothing_else_is_missing() -> None:
    np.testing.assert_array_equal(decode(JPEG[:-2]), decode(JPEG))
    with pytest.raises(RequestError) as caught:
        decode(JPEG[: len(JPEG) * 3 // 4])
    assert caught.value.reason == "ImageTruncated"


def damaged(compression: int) -> bytes:
    """A TIFF whose picture is overwritten from the middle on."""
    noise = np.random.default_rng(3).integers(0, 4, (256, 256, 3)).astype(np.uint8) * 64
    ok, data = cv2.imencode(".tiff", noise, [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    assert ok
    content = bytearray(data.tobytes())
    end = int.from_bytes(content[4:8], "little")  # the directory comes last
    content[end // 2 : end] = bytes(end - end // 2)
    return bytes(content)


def fax(data: bytes) -> bytes:
    """A TIFF of 256 x 256 pixels in group 4 code, its directory before its data."""
    tags = [(256, 256), (257, 256), (258, 1), (259, 4), (262, 0), (273, 122), (277, 1), (278, 256), (279, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


@pytest.mark.parametrize(
    ("story", "content"),
    [
        ("LZW", damaged(5)),
        ("Deflate", damaged(8)),
        ("PackBits", damaged(32773)),
        ("a fax that ends early", fax(b"\xff" * 8)),
        ("a fax whose end stands after half of it", fax(b"\xff" * 16 + b"\x00\x10\x01")),
        ("a fax whose second half is zeros", fax(b"\xff" * 16 + bytes(100))),
    ],
)
def test_a_tiff_of_which_a_part_cannot_be_read_says_so(server: ServerProcess, story: str, content: bytes) -> None:
    answer = server.predict(content, "image/tiff")
    assert answer.status == 200, story
    assert [warning["reason"] for warning in answer.json["warnings"]] == ["DataDamaged"]


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])
def test_a_whole_tiff_has_no_warning(server: ServerProcess, compression: int) -> None:
    ok, data = cv2.imencode(".tiff", PAGE, [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    assert ok
    answer = server.predict(data.tobytes(), "image/tiff")
    assert (answer.status, "warnings" in answer.json) == (200, False)
    # A whole fax of white rows: each is the one code word "as above", and then the end of the block.
    rows = fax(bytes([0xFF] * 32) + b"\x00\x10\x01")
    assert "warnings" not in server.predict(rows, "image/tiff").json
