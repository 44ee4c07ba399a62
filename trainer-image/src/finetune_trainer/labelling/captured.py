"""Captured pages by their prediction: from where the server left them, or from a folder that was exported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import PurePosixPath
from typing import Final

from ..data.images import inspect_image
from ..documents.production import CapturedPage, parse_page
from ..errors import Reason, StepError, bad_input
from ..production.layout import DAYS, OWNER_FILE, STRATA, Production
from ..storage import Storage, join
from .drawing import PageFile, page_file

RECORDS: Final = "records"
IMAGES: Final = "images"
_AT_ONCE: Final = 500
"""Records that are read together."""


@dataclass(slots=True)
class CapturedPages:
    """Records by prediction id, and the pictures of their pages. Keeps the records that were read.

    `unreadable` says of the records that `records` passed over why, in sentences.
    """

    storage: Storage
    uri: str
    places: dict[str, str]
    """Where each record lies."""
    production: bool
    """Whether these are the server's own, of which pages are drawn; an export has them as pictures."""
    unreadable: list[str] = field(default_factory=list)
    _records: dict[str, CapturedPage] = field(default_factory=dict)
    _images: dict[str, str] = field(default_factory=dict)
    """Of an export: the name of each picture."""

    def record(self, prediction: str) -> CapturedPage | None:
        """Return a record; None where there is none, or no more. StepError ContractViolated or DataUnreadable."""
        place = self.places.get(prediction)
        if prediction in self._records or place is None:
            return self._records.get(prediction)
        data = self.storage.read_if_there(place)
        if data is None:
            return None
        self._records[prediction] = parse_page(data, place)
        return self._records[prediction]

    def records(self) -> Iterator[CapturedPage]:
        """Yield all records that can be read, in the order of their ids; one that has gone meanwhile is none."""
        missing = sorted(prediction for prediction in self.places if prediction not in self._records)
        self.unreadable.clear()
        for start in range(0, len(missing), _AT_ONCE):
            places = {self.places[prediction]: prediction for prediction in missing[start : start + _AT_ONCE]}
            for place, data in self.storage.read_those_there(places).items():
                try:
                    self._records[places[place]] = parse_page(data, place)
                except StepError as error:
                    self.unreadable.append(error.message)
        yield from (self._records[prediction] for prediction in sorted(self._records))

    def page(self, prediction: str) -> PageFile | str:
        """Return the page of a record as a picture, or why it is not to be had."""
        record = self.record(prediction)
        if record is None:
            return "its record has expired, or was erased"
        if self.production:
            place = join(self.places[prediction].rsplit("/", 3)[0], "files", record.page.sha256)
            came = self.storage.read_if_there(place)
            return "its bytes have expired, or were erased" if came is None else page_file(record, came)
        if prediction not in self._images:
            return "its picture is not in the exported folder any more"
        name = self._images[prediction]
        data = self.storage.read(join(self.uri, IMAGES, name))
        picture = inspect_image(data)
        if isinstance(picture, str):
            return picture
        if picture.pixels != record.page.pixels:
            return "the picture in the exported folder was changed"
        return PageFile(data, PurePosixPath(name).suffix, picture)


def captured_pages(
    storage: Storage, uri: str, *, since: date | None = None, until: date | None = None
) -> CapturedPages:
    """Return what lies at `uri`: an exported folder, or a Deployment's production pages (those of these days).

    Raises StepError DataUnreadable where neither is, and says where they may lie.
    """
    names = storage.names(uri)
    if RECORDS in names:
        places = {
            name.removesuffix(".json"): join(uri, RECORDS, name)
            for name in storage.names(join(uri, RECORDS))
            if name.endswith(".json") and not name.startswith("._")  # as macOS leaves it beside what is copied
        }
        images = {PurePosixPath(name).stem: name for name in storage.names(join(uri, IMAGES))}
        return CapturedPages(storage, uri, places, production=False, _images=images)
    if OWNER_FILE not in names and DAYS not in names:
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"Neither captured pages of a Deployment nor an export of them lie at {uri}{_deeper(storage, uri, names)}.",
            "Name the production pages as <uri>/<namespace>/<deployment>, or the folder of `production export`.",
        )
    return CapturedPages(storage, uri, dict(_places(storage, Production(uri), since, until)), production=True)


def deployment_pages(storage: Storage, uri: str, since: date | None, until: date | None) -> CapturedPages:
    """Return a Deployment's production pages; StepError DataUnreadable where they are not at `uri`."""
    pages = captured_pages(storage, uri, since=since, until=until)
    if not pages.production:
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"{uri} is a folder that was exported already.",
            "Name the production pages, <uri>/<namespace>/<deployment>.",
        )
    return pages


def _places(
    storage: Storage, production: Production, since: date | None, until: date | None
) -> Iterator[tuple[str, str]]:
    for day in production.dates(storage):
        if (since is not None and day < since) or (until is not None and day > until):
            continue
        for stratum in STRATA:
            folder = production.pages(day, stratum)
            for name in storage.names(folder):
                if name.endswith(".json"):
                    yield name.removesuffix(".json"), join(folder, name)


def _deeper(storage: Storage, uri: str, names: list[str]) -> str:
    """Return the Deployments that have pages below, as part of a sentence; "" where there are none."""
    try:
        below = [
            f"{namespace}/{deployment}"
            for namespace in names[:20]
            for deployment in storage.names(join(uri, namespace))[:20]
            if OWNER_FILE in storage.names(join(uri, namespace, deployment))
        ]
    except StepError:
        return ""
    return f"; there are some in {', '.join(below[:5])}" if below else ""
