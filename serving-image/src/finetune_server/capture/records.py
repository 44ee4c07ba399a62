"""What is written about pages, reports, windows and their owner: contracts/production*.schema.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from secrets import token_hex
from time import time_ns
from typing import Any, Final

from ..pages.formats import Kind
from ..preprocess import Page
from ..reading import InSource, Reading
from .sampling import Draw, Stratum
from .windows import Outcome, Window

SCHEMAS: Final = "finetune-operator.io/production"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Which pod of which Deployment this is."""

    namespace: str
    deployment: str
    pod: str

    @property
    def owner(self) -> Json:
        """Return `capture.json`."""
        return {"schema": f"{SCHEMAS}/v1", **self.names}

    @property
    def names(self) -> Json:
        """Return what every record says of it."""
        return {"namespace": self.namespace, "deployment": self.deployment}


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Bytes as they came: of an image, or of a document of several pages. `dpi` is what a PDF is drawn at."""

    content: bytes
    sha256: str
    kind: Kind
    dpi: int | None


@dataclass(frozen=True, slots=True)
class AnsweredPage:
    """A page of a source, and the answer for it. `pixels` is None where there are more than may wait."""

    prediction: str
    number: int
    reading: Reading
    pixels: Page | InSource | None

    def named(self, source: Source) -> Json:
        """Return how answers, records and reports name the page."""
        return {
            "width": self.reading.width,
            "height": self.reading.height,
            "sha256": source.sha256,
            "number": self.number,
            "dpi": source.dpi,
        }


def new_prediction() -> str:
    """Return a new id: 48 bits of the time in milliseconds, as UUIDs of version 7 have them, and 80 random ones."""
    return f"{time_ns() // 1_000_000 & (1 << 48) - 1:012x}{token_hex(10)}"


def day_of(prediction: str) -> str:
    """Return the day (UTC, YYYY-MM-DD) on which an id was made; of an id from elsewhere, any day."""
    return datetime.fromtimestamp(int(prediction[:12], 16) / 1000 % 32_503_680_000, UTC).date().isoformat()


def page_record(
    place: Place,
    source: Source,
    page: AnsweredPage,
    draw: Draw,
    *,
    missing: Sequence[str],
    document: str | None,
    model: Json,
    at: datetime,
) -> Json:
    """Return the record of a captured page, but for the digest of its pixels, which takes milliseconds to make."""
    assert draw.stratum is not None  # what is not kept has no record
    return {
        "schema": f"{SCHEMAS}-page/v1",
        "prediction": page.prediction,
        "page": page.named(source),
        "bytes": len(source.content),
        "kind": source.kind.value,
        "renderer": renderer() if source.kind is Kind.PDF else None,
        "document": document,
        "model": model,
        "fields": [
            {"field": f.name, "confidence": decimal(f.confidence, 6), "box": [decimal(c, 3) for c in f.box]}
            for f in page.reading.fields
        ],
        "missing": list(missing),
        "at": moment(at),
        "stratum": draw.stratum.value,
        "probability": decimal(draw.probability, 12),
        **place.names,
    }


def window_record(place: Place, window: Window) -> Json:
    """Return the record of a window that is over."""
    strata = {
        stratum.value: {"selected": sum(counts.values()), **{o.value: counts[o] for o in Outcome}}
        for stratum, counts in window.strata().items()
    }
    return {
        "schema": f"{SCHEMAS}-window/v1",
        "pod": place.pod,
        "from": moment(window.begin),
        "to": moment(window.end),
        "answered": {"pages": window.pages, "documents": window.documents},
        "probability": {
            "configured": decimal(window.configured, 12),
            "lowest": decimal(window.lowest, 12),
            "last": decimal(window.last, 12),
        },
        "strata": {stratum.value: strata[stratum.value] for stratum in Stratum},
        **place.names,
    }


@cache
def renderer() -> str:
    """Return the name and version of what draws PDFs. Reading them takes a millisecond, once."""
    return f"pypdfium2 {metadata.version('pypdfium2')}"


def moment(at: datetime) -> str:
    """Return a time as RFC 3339, in UTC, with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def decimal(value: float, digits: int) -> str:
    """Return a number from 0 on as a decimal string, without needless zeros."""
    text = f"{max(0.0, value):.{digits}f}"
    return text.rstrip("0").rstrip(".")


def encoded(record: Json) -> bytes:
    """Return the bytes of a file."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
