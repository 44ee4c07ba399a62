"""`pool withdraw URI`: pages train and judge no more; with --erase their bytes go, too."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..progress import PageLines, utc_now
from .options import as_text

if TYPE_CHECKING:
    from ..data.withdrawals import Withdrawn

HELP: Final = "withdraw pages, with --erase their bytes too; a withdrawn page stays withdrawn"

BEYOND: Final = (
    "Not in reach of this command: older versions of these files, where the bucket keeps versions; pictures of them "
    "that runs published (plots/new-pages.jpg of evaluations); what trained on them (`pool lineage` says which runs "
    "did); the folders that they came from; the anchor, where it has the same pages."
)
"""What a person has to look after who erases pages."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("uri", help="the pool")
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="FILE",
        help="an image, or a folder of them; known by its pixels",
    )
    parser.add_argument("--document", action="append", default=[], metavar="ID", help="all pages of a document")
    parser.add_argument("--batch", action="append", default=[], metavar="ID", help="all pages of a batch")
    parser.add_argument("--sha256", action="append", default=[], metavar="DIGEST", help="of an image or of its pixels")
    parser.add_argument("--withdrawn-by", type=as_text, required=True, metavar="NAME", help="who withdraws them")
    parser.add_argument(
        "--reason", type=as_text, required=True, metavar="TEXT", help="why: whoever adds one of them again is told"
    )
    parser.add_argument("--erase", action="store_true", help="remove images and labels, every one that the pages had")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, _scratch: Path) -> str:
    """Withdraw the pages, and return what was done, and what this command cannot do."""
    from ..data.withdrawals import Leaving, withdraw
    from ..storage import Storage, normalise

    leaving = Leaving(
        by=options.withdrawn_by,
        reason=options.reason,
        images=tuple(normalise(image) for image in options.image),
        documents=tuple(options.document),
        batches=tuple(options.batch),
        digests=tuple(options.sha256),
        erase=options.erase,
    )
    return _said(
        withdraw(Storage(), normalise(options.uri), leaving, utc_now(), PageLines("pool withdraw")), leaving.erase
    )


def _said(withdrawn: Withdrawn, erase: bool) -> str:
    entry = withdrawn.withdrawal
    images = {sample.image for sample in entry.samples} if entry else set()
    pages = sum(not images.isdisjoint(page.copies) for page in withdrawn.pages)
    lines = [f"withdrawal {entry.id}: {pages} pages withdrawn" if entry else "these pages were withdrawn before"]
    if erase:
        lines += [f"{len(withdrawn.removed)} files removed", BEYOND]
    return "\n".join(lines)
