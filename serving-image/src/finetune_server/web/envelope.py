"""What a body is wrapped in: a content coding and a multipart form, opened within the limit of a body."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ..errors import RequestError
from ..pages.formats import HOW_TO_SEND

_FORM: Final = b"multipart/form-data"
_GZIP: Final = 31
"""zlib's word for a stream with gzip's header."""

_SLICE_BYTES: Final = 16 * 1024
_MOST_MEMBERS: Final = 10_000
"""Of gzip data; tools that make many put some kilobytes into each."""

_MOST_PARTS: Final = 100
"""Of a form, of which one is wanted; each costs time and memory beside its bytes."""


def is_wrapped(encoding: str, content_type: str) -> bool:
    """Tell whether the page has to be taken out of something first."""
    return _coding(encoding) != "" or content_type.lower().lstrip().startswith("multipart/")


def unwrapped(body: bytes, encoding: str, content_type: str, limit: int) -> tuple[bytes, str | None]:
    """Return the page's own bytes, and the document that a form names. Raises `RequestError` 400, 413, 415 or 422."""
    body, parts = _opened(body, encoding, content_type, limit)
    if parts is None:
        return body, None
    files = [part for part in parts if part.is_file] or [part for part in parts if part.name != "document"]
    if len(files) != 1:
        raise RequestError(422, "FormInvalid", f"the form has {len(files)} files; {HOW_TO_SEND}")
    texts = {part.name: part.content.decode(errors="replace") for part in parts if part is not files[0]}
    options = sorted(texts.keys() & {"page", "pages", "dpi"})
    if options:
        raise RequestError(422, "FormInvalid", f"{', '.join(options)} belong into the address: /predict?page=2&dpi=150")
    return files[0].content, texts.get("document")


def text_and_file(body: bytes, encoding: str, content_type: str, limit: int) -> tuple[bytes, bytes | None]:
    """Return a body, or a form's part `report` and its file, None where there is none. Raises as `unwrapped` does."""
    body, parts = _opened(body, encoding, content_type, limit)
    if parts is None:
        return body, None
    reports = [part for part in parts if part.name == "report"]
    files = [part for part in parts if part.is_file and part.name != "report"]
    if len(reports) != 1 or len(files) > 1:
        raise RequestError(
            422,
            "FormInvalid",
            f"the form has {len(reports)} parts called report and {len(files)} files: "
            "send one report, as JSON, and one file or none",
        )
    return reports[0].content, files[0].content if files else None


def _opened(body: bytes, encoding: str, content_type: str, limit: int) -> tuple[bytes, list[_Part] | None]:
    """Return the body as it was before it was compressed, and its parts where it is a form."""
    coding = _coding(encoding)
    if coding:
        if coding not in ("gzip", "x-gzip"):
            raise RequestError(
                415, "EncodingUnsupported", f"Content-Encoding is {coding!r}: send gzip, or the bytes as they are"
            )
        body = _gunzipped(body, limit)
    kind, options = parse_options_header(content_type)
    if not kind.startswith(b"multipart/"):
        return body, None
    if kind != _FORM or not options.get(b"boundary"):
        raise RequestError(415, "MediaTypeUnsupported", f"{content_type[:100]!r} has no boundary; {HOW_TO_SEND}")
    return body, _parts(body, options[b"boundary"])


def _coding(encoding: str) -> str:
    text = encoding.strip().lower()
    return "" if text == "identity" else text


def _gunzipped(body: bytes, limit: int) -> bytes:
    inflated, members, stream = bytearray(), 0, None
    # In slices: what follows a member is copied for each member, and there may be many.
    for at in range(0, len(body), _SLICE_BYTES):
        data = body[at : at + _SLICE_BYTES]
        while data := data if stream else data.lstrip(b"\0"):  # zeros may lie between members
            if stream is None:
                stream, members = zlib.decompressobj(_GZIP), members + 1
            try:
                inflated += stream.decompress(data, limit + 1 - len(inflated))
            except zlib.error:
                raise RequestError(
                    400, "BodyNotGzip", "Content-Encoding is gzip, the body is not, or damaged"
                ) from None
            if len(inflated) > limit:
                raise RequestError(413, "BodyTooLarge", f"inflated, the body is larger than {limit} bytes")
            if members > _MOST_MEMBERS:
                raise RequestError(400, "BodyNotGzip", f"the gzip data has more than {_MOST_MEMBERS} members; send one")
            data, stream = (stream.unused_data, None) if stream.eof else (b"", stream)
    if stream is not None:
        raise RequestError(400, "BodyIncomplete", "the gzip data ends before its end")
    return bytes(inflated)


@dataclass(slots=True)
class _Part:
    """A part of a form."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return the field's name."""
        return (
            parse_options_header(self.headers.get(b"content-disposition"))[1].get(b"name", b"").decode(errors="replace")
        )

    @property
    def is_file(self) -> bool:
        """Tell whether it was sent as a file."""
        return b"filename" in parse_options_header(self.headers.get(b"content-disposition"))[1]

    @property
    def content(self) -> bytes:
        """Return the bytes."""
        return b"".join(self.pieces)


def _too_many_parts() -> RequestError:
    return RequestError(422, "FormInvalid", f"the form has more than {_MOST_PARTS} parts; {HOW_TO_SEND}")


class _Collector:
    """Parts as the parser finds them."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self._name = b""
        self._value = b""

    def part_begin(self) -> None:
        """Begin a part. Raises `RequestError` 422 for one too many."""
        if len(self.parts) == _MOST_PARTS:
            raise _too_many_parts()
        self.parts.append(_Part())

    def header_field(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of a header's name."""
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of a header's value."""
        self._value += data[start:end]

    def header_end(self) -> None:
        """Take the header."""
        self.parts[-1].headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def part_data(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of the part."""
        self.parts[-1].pieces.append(data[start:end])


def _parts(body: bytes, boundary: bytes) -> list[_Part]:
    # The parser looks at each, also where more follows: millions of them take seconds. One ends the form.
    if body.count(b"\r\n--" + boundary) > _MOST_PARTS + 1:
        raise _too_many_parts()
    collector = _Collector()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": collector.part_begin,
                "on_header_field": collector.header_field,
                "on_header_value": collector.header_value,
                "on_header_end": collector.header_end,
                "on_part_data": collector.part_data,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise RequestError(400, "FormInvalid", f"the form is damaged: {error}"[:300]) from None
    return collector.parts
