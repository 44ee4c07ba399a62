"""Options and reading that `production list` and `production export` share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..errors import PartlyDoneError, Reason, bad_input
from .options import as_date

if TYPE_CHECKING:
    from ..documents.production import Stratum
    from ..labelling.captured import CapturedPages
    from ..labelling.choosing import Chosen

_STRATA: Final[Mapping[str, Stratum]] = {"random": "Random", "uncertain": "Uncertain", "reported": "Reported"}

_SHOWN: Final = 5


def add_choice(parser: argparse.ArgumentParser, *, limit: int) -> None:
    """Add what chooses pages; `limit` is how many without --limit."""
    parser.add_argument("uri", help="production pages of a Deployment: <uri>/<namespace>/<deployment>")
    parser.add_argument("--stratum", action="append", choices=sorted(_STRATA), default=[], help="may be repeated")
    parser.add_argument("--field", metavar="NAME", help="only pages where it was found, missing or reported")
    parser.add_argument("--since", type=as_date, metavar="YYYY-MM-DD", help="first day, UTC")
    parser.add_argument("--until", type=as_date, metavar="YYYY-MM-DD", help="last day, UTC")
    parser.add_argument("--limit", type=_count, default=limit, metavar="N", help=f"at most so many pages ({limit})")
    parser.add_argument("--pool", metavar="URI", help="leave out pages that this pool has, or had")


@dataclass(frozen=True, slots=True)
class Choice:
    """A Deployment's captured pages, those to label, the most useful first, and lines for a person.

    `unreadable` are sentences on records and reports that were left out.
    """

    pages: CapturedPages
    chosen: Sequence[Chosen]
    remarks: tuple[str, ...]
    unreadable: tuple[str, ...]

    def done(self, lines: Sequence[str]) -> str:
        """Return what a command says at its end; PartlyDoneError where something was left out."""
        text = "\n".join([*lines, *self.remarks])
        if not self.unreadable:
            return text
        more = f" And {len(self.unreadable) - _SHOWN} more." if len(self.unreadable) > _SHOWN else ""
        error = bad_input(
            Reason.CONTRACT_VIOLATED,
            f"{len(self.unreadable)} files of {self.pages.uri} cannot be read, and were left out: "
            f"{' '.join(self.unreadable[:_SHOWN])}{more}",
            "Everything else was done. Delete these files or restore them; those of a newer server need its trainer.",
        )
        raise PartlyDoneError(text, error)


def chosen_pages(options: argparse.Namespace) -> Choice:
    """Choose among a Deployment's captured pages; a pool that nobody has added to yet has none of them."""
    from ..data.pool import replayed
    from ..data.pool_log import read_log
    from ..labelling.captured import deployment_pages
    from ..labelling.choosing import Wanted, choose, read_reports
    from ..storage import Storage, normalise

    storage, uri = Storage(), normalise(options.uri)
    pages = deployment_pages(storage, uri, options.since, options.until)
    known: set[str] = set()
    remarks: tuple[str, ...] = ()
    if options.pool is not None:
        pool = normalise(options.pool)
        log = read_log(storage, pool)
        known = {page.last.pixels or "" for page in replayed(pool, log, {}).pages}
        remarks = () if log else (f"no batch of a pool lies below {pool}: nothing was left out for it",)
    wanted = Wanted([_STRATA[name] for name in options.stratum], options.field, options.limit)
    reports = read_reports(storage, uri, options.since)
    chosen = choose(pages.records(), reports, wanted, known)
    return Choice(pages, chosen, remarks, (*pages.unreadable, *reports.unreadable))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count of pages (1 or more)")
    return int(text)
