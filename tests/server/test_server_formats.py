"""What a decoder is not shown: data that is cut or costs more than its picture. What it is shown all the same."""

from __future__ import annotations

import struct
import time
import zlib

import numpy as np
import pytest

from finetune_server.errors import RequestError
from finetune_server.pages.formats import Kind, jpeg_is_complete, needs_process
from server.hostile import scans_jpeg
from server.support import decode, encode, page_with

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
    ],
)
def test_a_jpeg_that_every_viewer_shows_is_read(story: str, content: bytes) -> None:
    np.testing.assert_array_equal(decode(content), decode(JPEG), story)


@pytest.mark.parametrize("length", [3, 4, 20, 21, 22, len(JPEG) // 2, len(JPEG) - 2])
def test_a_cut_jpeg_is_seen_as_such(length: int) -> None:
    assert jpeg_is_complete(JPEG)
    assert not jpeg_is_complete(JPEG[:length])


def test_what_may_take_any_time_is_decoded_where_it_can_be_killed() -> None:
    assert needs_process(scans_jpeg(scans=20, side=64), Kind.JPEG)
    assert not needs_process(JPEG, Kind.JPEG)
    assert needs_process(b"", Kind.PDF)
    assert needs_process(b"", Kind.TIFF)
    assert needs_process(png(BLACK, chunk(b"acTL", struct.pack(">II", 2, 0))), Kind.PNG)
    assert not needs_process(png(BLACK), Kind.PNG)
