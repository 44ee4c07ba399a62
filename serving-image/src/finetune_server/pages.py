"""Which pages a request asks for, of what kind of document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .errors import RequestError
from .formats import Kind, sniff

_UNDECLARED: Final = ("", "application/octet-stream")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One document as it was sent, and which of its pages (1-based) to read at which resolution (PDF only)."""

    content: bytes
    kind: Kind
    page: int
    dpi: int


def kind_of(content: bytes, media_type: str) -> Kind:
    """Return what the bytes are. Raises `RequestError` 400 or 415."""
    supported = ", ".join(kind.value for kind in Kind)
    media_type = media_type.partition(";")[0].strip().lower()
    if media_type not in _UNDECLARED and media_type not in {kind.value for kind in Kind}:
        raise RequestError(415, "MediaTypeUnsupported", f"{media_type!r} is not one of {supported}")
    if not content:
        raise RequestError(400, "BodyEmpty", "send the bytes of one image or PDF as the body")
    kind = sniff(content)
    if kind is None:
        raise RequestError(415, "ContentUnsupported", f"the body is none of {supported}")
    return kind
