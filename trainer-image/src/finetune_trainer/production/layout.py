"""Where production pages lie, and whose they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Final

from ..documents.production import Stratum, parse_owner
from ..errors import Reason, bad_input
from ..storage import Storage, join, normalise

OWNER_FILE: Final = "capture.json"
DAYS: Final = "days"
WEEKS: Final = "weeks"
STRATA: Final[tuple[Stratum, ...]] = ("Random", "Uncertain", "Reported")


@dataclass(frozen=True, slots=True)
class Production:
    """The pages of one Deployment, below a prefix of its own."""

    root: str

    def day(self, day: date) -> str:
        """Return the folder of a day, by UTC: all that is personal lies in such folders."""
        return join(self.root, DAYS, day.isoformat())

    def pages(self, day: date, stratum: Stratum) -> str:
        """Return the folder of a day's records of captured pages of a stratum, each `<prediction>.json`."""
        return join(self.day(day), "pages", stratum.lower())

    def files(self, day: date) -> str:
        """Return the folder of a day's files, each by its sha256."""
        return join(self.day(day), "files")

    def reports(self, day: date) -> str:
        """Return the folder of a day's reports."""
        return join(self.day(day), "reports")

    def windows(self, day: date) -> str:
        """Return the folder of a day's windows."""
        return join(self.day(day), "windows")

    def week(self, week: str) -> str:
        """Return the place of the totals of an ISO week."""
        return join(self.root, WEEKS, f"{week}.json")

    def dates(self, storage: Storage) -> list[date]:
        """Return the days that there are, oldest first. Folders of other names are not ours."""
        return sorted(_dates(storage.names(join(self.root, DAYS))))


def _dates(names: list[str]) -> Iterator[date]:
    for name in names:
        with suppress(ValueError):
            day = date.fromisoformat(name)
            if day.isoformat() == name:
                yield day


def production_of(storage: Storage, uri: str, namespace: str, deployment: str) -> Production:
    """Return where the pages of a Deployment lie below `uri`; StepError PrefixShared where they are another's."""
    root = join(normalise(uri), namespace, deployment)
    place = join(root, OWNER_FILE)
    if (data := storage.read_if_there(place)) is not None:
        owner = parse_owner(data, place)
        if (owner.namespace, owner.deployment) != (namespace, deployment):
            raise bad_input(
                Reason.PREFIX_SHARED,
                f"The pages below {root} are those of Deployment {owner.namespace}/{owner.deployment}, as {place} "
                f"says, not of {namespace}/{deployment}.",
                "Give each Deployment a prefix of its own (spec.data.production.uri, FINETUNE_CAPTURE_URI); nothing "
                "was counted or removed.",
            )
    return Production(root)
