"""Pages that hurt: made by hand, each as small as it can be."""

from __future__ import annotations

import struct
import zlib


def pdf_of(content: bytes, *, extra: bytes = b"", objects: tuple[bytes, ...] = (), box: str = "0 0 144 144") -> bytes:
    """A PDF of one page; `extra` goes into its dictionary, `objects` are numbered from 5."""
    packed = zlib.compress(content, 9)
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[" + box.encode() + b"]/Contents 4 0 R" + extra + b">>",
        b"<</Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (len(packed), packed),
        *objects,
    ]
    body = b"%PDF-1.4\n" + b"".join(b"%d 0 obj%s endobj\n" % (n, part) for n, part in enumerate(parts, 1))
    return body + b"trailer<</Root 1 0 R/Size %d>>\n%%%%EOF" % (len(parts) + 1)


def slow_pdf() -> bytes:
    """A tiling pattern of steps so small that filling one square takes minutes."""
    tile = b"0 0 1 1 re f"
    pattern = (
        b"<</Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 1 1]/XStep 0.001/YStep 0.001"
        b"/Resources<<>>/Length %d>>stream\n%s\nendstream" % (len(tile), tile)
    )
    fill = b"/Pattern cs /P scn 0 0 144 144 re f"
    return pdf_of(fill, extra=b"/Resources<</Pattern<</P 5 0 R>>>>", objects=(pattern,))


def hungry_pdf() -> bytes:
    """Five million rectangles: each is an object in memory before any is drawn."""
    return pdf_of(b"0 0 1 1 re f\n" * 5_000_000)


def nested_pdf(depth: int = 26) -> bytes:
    """Forms that each draw the next one twice."""
    forms = []
    for number in range(depth):
        draws = b"/F Do /F Do" if number < depth - 1 else b"0 0 9 9 re f"
        following = b"/XObject<</F %d 0 R>>" % (6 + number) if number < depth - 1 else b""
        forms.append(
            b"<</Type/XObject/Subtype/Form/BBox[0 0 144 144]/Resources<<%s>>/Length %d>>stream\n%s\nendstream"
            % (following, len(draws), draws)
        )
    return pdf_of(b"/F Do", extra=b"/Resources<</XObject<</F 5 0 R>>>>", objects=tuple(forms))


def big_picture_pdf(side: int = 30_000) -> bytes:
    """A picture of 900 megapixels in some kilobytes."""
    rows = zlib.compress(bytes(side * side // 8), 9)
    picture = (
        b"<</Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceGray/BitsPerComponent 1"
        b"/Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (side, side, len(rows), rows)
    )
    return pdf_of(b"144 0 0 144 0 0 cm /I Do", extra=b"/Resources<</XObject<</I 5 0 R>>>>", objects=(picture,))


def lying_tiff(width: int = 20_000, height: int = 20_000) -> bytes:
    """A TIFF that says its size twice: libtiff goes by the first, of a type that others pass over."""

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        return struct.pack("<HHII", tag, kind, count, value)

    strip = zlib.compress(bytes(width * 3 * 8))
    strips = (height + 7) // 8
    data_at = 8
    offsets_at = data_at + len(strip)
    counts_at = offsets_at + 4 * strips
    bits_at = counts_at + 4 * strips
    directory_at = bits_at + 6
    tags = [
        entry(256, 9, 1, width), entry(256, 3, 1, 64), entry(257, 9, 1, height), entry(257, 3, 1, 64),
        entry(258, 3, 3, bits_at), entry(259, 3, 1, 8),
        entry(262, 3, 1, 2), entry(273, 4, strips, offsets_at), entry(277, 3, 1, 3), entry(278, 4, 1, 8),
        entry(279, 4, strips, counts_at), entry(284, 3, 1, 1),
    ]  # fmt: skip
    return (
        b"II*\0" + struct.pack("<I", directory_at) + strip
        + struct.pack(f"<{strips}I", *[data_at] * strips) + struct.pack(f"<{strips}I", *[len(strip)] * strips)
        + struct.pack("<3H", 8, 8, 8) + struct.pack("<H", len(tags)) + b"".join(tags) + bytes(4)
    )  # fmt: skip


def scans_jpeg(scans: int = 20_000, side: int = 4000) -> bytes:
    """A progressive JPEG whose scans all refine the same coefficients of every block, some bytes each."""

    def segment(marker: int, data: bytes) -> bytes:
        return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data

    # Codes: one symbol of one bit, an end-of-band run of 2^14 blocks.
    head = b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64)
    head += segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    head += segment(0xC4, b"\x00" + b"\1" + bytes(15) + b"\0") + segment(0xC4, b"\x10" + b"\1" + bytes(15) + b"\xe0")
    first = segment(0xDA, b"\1\1\0\0\0\1") + bytes((side // 8) ** 2 // 8 + 8)
    again = segment(0xDA, b"\1\1\0\1\x3f\1") + bytes(2 * ((side // 8) ** 2 >> 14) + 8)
    return head + first + again * scans + b"\xff\xd9"
