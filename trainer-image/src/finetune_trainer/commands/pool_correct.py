"""`pool correct URI`: newer labels, as a labelling tool wrote them, for pages that the pool has."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import Final

from ..progress import PageLines, utc_now
from .arriving import add_arrival, arrived
from .options import as_text

HELP: Final = "replace labels of pages that are in the pool, or refuse it with a list of problems"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_arrival(parser)
    parser.add_argument(
        "--reason", type=as_text, required=True, metavar="TEXT", help="why the labels change, a ticket or report"
    )
    parser.add_argument(
        "--only-known", action="store_true", help="leave out pages that the pool does not have any more, or never had"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, scratch: Path) -> str:
    """Correct the labels, and return the id of the correction and its size."""
    from ..data.corrections import NewLabels, correct
    from ..storage import Storage, normalise

    storage = Storage()
    # Pages keep the source that the pool has of them.
    came = arrived(storage, options, scratch, source="the pool", needed={})
    new = NewLabels(
        folder_uri=came.folder_uri,
        anchor_uri=normalise(options.anchor),
        verified_by=options.verified_by or "",
        verified_at=options.verified_at or date.min,
        reason=options.reason,
        background=options.allow_background,
        map_classes=came.map_classes,
        appended=options.append_classes,
        fields=came.fields,
        only_known=options.only_known,
        origins=came.origins,
    )
    with came.named_as_given():
        made = correct(storage, normalise(options.uri), new, utc_now(), PageLines("pool correct"))
    return "\n".join(
        [
            f"correction {made.correction.id}: {len(made.correction.samples)} labels replaced",
            *came.remarks,
            *made.remarks,
        ]
    )
