"""Documents of production, drawn by seed from the random stratum: the same draw for the same pages and seed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from ..digests import sha256_of
from ..documents.codec import FileReference
from ..documents.plan import DrawnDocument, DrawnPage
from ..documents.production import CapturedPage, parse_page
from ..errors import StepError
from ..storage import Storage, join
from ..texts import document_spelling
from .layout import Production

_AT_ONCE: Final = 200
"""Records that are read together."""


@dataclass(frozen=True, slots=True)
class Known:
    """What models learnt from, pages (by pixels) and documents; and the labels of other pages, by pixels.

    Beside each label stands for how many classes it was made, None where for all, and no others.
    """

    pages: Collection[str]
    documents: Collection[str]
    labels: Mapping[str, tuple[FileReference, int | None]]


def days_to_draw_from(there: Sequence[date], now: datetime, *, last: int, keep: int, review: int) -> list[date]:
    """Return the days that are among the `last` ones, and whose pages still lie there `review` days from now on.

    A day goes `keep` days after it, as the scan has it.
    """
    today = now.astimezone(UTC).date()
    oldest = max(today - timedelta(days=last), today + timedelta(days=review + 1) - timedelta(days=keep))
    return [day for day in there if oldest <= day <= today]


def draw_documents(
    storage: Storage,
    production: Production,
    days: Sequence[date],
    known: Known,
    *,
    count: int,
    seed: int,
    pages: int | None = None,
) -> tuple[DrawnDocument, ...]:
    """Return at most `count` documents that no model learnt from, by the pages of each that the draw came across.

    With `pages` the draw ends at so many, too.

    Pages are taken by sha256(seed:prediction), so that no library's version can change a draw, and only as many records
    are read as are needed. A document is left out as a whole where one of its pages is known. A picture that came
    again is drawn once, whatever document it is called.
    """
    drawn: dict[str, list[DrawnPage]] = {}
    left_out: set[str] = set()
    pictures: set[str] = set()
    for place, data in _in_order(storage, production, days, seed):
        record = _parsed(data, place)
        if record is None:
            continue
        name = document_of(record)
        if name in known.documents or record.page.pixels in known.pages:
            left_out.add(name)
            drawn.pop(name, None)
        if name in left_out or record.page.pixels in pictures:
            continue
        pictures.add(record.page.pixels)
        label, fields = known.labels.get(record.page.pixels, (None, None))
        page = DrawnPage(
            prediction=record.prediction,
            record=FileReference(place, sha256_of(data)),
            pixels=record.page.pixels,
            label=label,
            fields=fields,
        )
        drawn.setdefault(name, []).append(page)
        if len(drawn) == count or len(pictures) == pages:
            break
    return tuple(map(tuple, drawn.values()))


def document_of(record: CapturedPage) -> str:
    """Return the document of a captured page, as the pool calls it once it is verified and as people read it."""
    return document_spelling(record.document or "") or f"file {record.page.sha256}"


def _in_order(storage: Storage, production: Production, days: Sequence[date], seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield place and bytes of the records of the random stratum, in the order of the draw."""
    places = {
        join(folder, name): name.removesuffix(".json")
        for folder in (production.pages(day, "Random") for day in days)
        for name in storage.names(folder)
        if name.endswith(".json")
    }
    ranked = sorted(places, key=lambda place: hashlib.sha256(f"{seed}:{places[place]}".encode()).hexdigest())
    for start in range(0, len(ranked), _AT_ONCE):
        yield from storage.read_those_there(ranked[start : start + _AT_ONCE]).items()


def _parsed(data: bytes, place: str) -> CapturedPage | None:
    """Return a record of the random stratum; None for anything else that lies there.

    A record under another name than its own is none: its pictures would have the names of another page's.
    """
    try:
        record = parse_page(data, place)
    except StepError:
        return None
    is_own = place.endswith(f"/{record.prediction}.json")
    return record if record.stratum == "Random" and is_own else None
