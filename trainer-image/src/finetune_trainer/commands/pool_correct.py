"""`pool correct URI`: a YOLO folder with newer labels for pages that the pool has."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from ..progress import PageLines, utc_now
from .options import add_verified_folder

HELP: Final = "replace labels of pages that are in the pool, or refuse it with a list of problems"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_verified_folder(parser)
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why the labels change, a ticket or report")
    parser.add_argument(
        "--only-known", action="store_true", help="leave out pages that the pool does not have any more, or never had"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, _scratch: Path) -> str:
    """Correct the labels, and return the id of the correction and its size."""
    from ..data.corrections import NewLabels, correct
    from ..storage import Storage, normalise

    new = NewLabels(
        folder_uri=normalise(options.source_folder),
        anchor_uri=normalise(options.anchor),
        verified_by=options.verified_by,
        verified_at=options.verified_at,
        reason=options.reason,
        background=options.allow_background,
        map_classes=options.map_classes,
        only_known=options.only_known,
    )
    made = correct(Storage(), normalise(options.uri), new, utc_now(), PageLines("pool correct"))
    return "\n".join(
        [f"correction {made.correction.id}: {len(made.correction.samples)} labels replaced", *made.remarks]
    )
