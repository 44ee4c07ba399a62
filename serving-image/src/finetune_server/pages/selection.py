"""Which pages of what document a request asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..errors import RequestError
from ..preprocess import Page
from .formats import HOW_TO_SEND, Kind, described, sniff

HIGHEST_PAGE: Final = 100_000
_RANGE: Final = re.compile(r"([0-9]{1,6})(?:(-)([0-9]{0,6}))?")


@dataclass(frozen=True, slots=True)
class Selection:
    """Pages from 1 on: ranges of first and last, where None is the document's end. `many` answers are a list."""

    ranges: tuple[tuple[int, int | None], ...]
    many: bool

    def of(self, count: int, *, most: int) -> list[int]:
        """Return the numbers within a document of `count` pages. Raises `RequestError` 422 for others and too many."""
        ranges = [(first, last or max(first, count)) for first, last in self.ranges]
        highest = max(last for _, last in ranges)
        if highest > count:
            raise RequestError(422, "PageOutOfRange", f"page {highest} asked for, the document has {count}")
        total, seen = 0, 0
        for first, last in sorted(ranges):  # a page that is asked for twice is read once
            total += max(0, last - max(first - 1, seen))
            seen = max(seen, last)
        if total > most:
            raise RequestError(
                422,
                "TooManyPages",
                f"{total} pages asked for, at most {most} are read at once (FINETUNE_MAX_PAGES); "
                "ask for them in ranges, as pages=1-10",
            )
        return list(dict.fromkeys(number for first, last in ranges for number in range(first, last + 1)))


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One document as it was sent, and which of its pages to read at which resolution (PDF only)."""

    content: bytes
    kind: Kind
    selection: Selection
    dpi: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """A page's pixels; `warnings` are (reason, message) of what may be missing from them."""

    page: Page
    warnings: tuple[tuple[str, str], ...] = ()


def kind_of(content: bytes, media_type: str) -> Kind:
    """Return what the bytes are: they decide, whatever was declared. Raises `RequestError` 400 or 415."""
    if not content:
        raise RequestError(400, "BodyEmpty", f"the body is empty; {HOW_TO_SEND}")
    kind = sniff(content)
    if kind is not None:
        return kind
    media_type = media_type.partition(";")[0].strip().lower()
    if media_type and not media_type.startswith("image/") and not media_type.endswith(("/octet-stream", "pdf")):
        raise RequestError(415, "MediaTypeUnsupported", f"{media_type[:100]!r} is no page; {HOW_TO_SEND}")
    raise RequestError(415, "ContentUnsupported", f"the body is {described(content)}; {HOW_TO_SEND}")


def selection(query: Mapping[str, str]) -> Selection:
    """Return what `page` or `pages` asks for: one page, or `all`, or ranges as `1-3,7,9-`. Raises 400."""
    if "pages" not in query:
        number = whole_number(query, "page", default=1, low=1, high=HIGHEST_PAGE)
        return Selection(((number, number),), many=False)
    if "page" in query:
        raise RequestError(400, "QueryInvalid", "give page or pages, not both")
    text = query["pages"].strip().lower()
    if text == "all":
        return Selection(((1, None),), many=True)
    # The same range may be named ten thousand times.
    return Selection(tuple(dict.fromkeys(_range(part.strip(), text) for part in text.split(","))), many=True)


def _range(part: str, text: str) -> tuple[int, int | None]:
    match = _RANGE.fullmatch(part)
    if match:
        first = int(match[1])
        last = first if not match[2] else int(match[3]) if match[3] else None
        if 1 <= first <= HIGHEST_PAGE and (last is None or first <= last <= HIGHEST_PAGE):
            return first, last
    raise RequestError(400, "QueryInvalid", f"pages is {text[:100]!r}; give all, or numbers and ranges as 1-3,7,9-")


def whole_number(query: Mapping[str, str], name: str, *, default: int, low: int, high: int) -> int:
    """Return a number from the query. Raises `RequestError` 400."""
    text = query.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= len(str(high)) and low <= int(text) <= high:
        return int(text)
    raise RequestError(400, "QueryInvalid", f"{name} is {text[:100]!r}; give a whole number from {low} to {high}")
