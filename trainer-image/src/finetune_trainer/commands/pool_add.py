"""`pool add URI`: a YOLO folder that somebody verified becomes one batch of the pool."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Final

from ..errors import Reason, StepError, bad_input
from ..progress import PageLines, utc_now
from .options import add_verified_folder

HELP: Final = "add a YOLO folder as one batch, or refuse it with a list of problems"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_verified_folder(parser)
    parser.add_argument("--source", required=True, help="where the pages come from, a ticket or report")
    parser.add_argument(
        "--documents", type=Path, metavar="JSON", help="map from a page (stem, file name or path) to its document"
    )
    parser.add_argument("--only-new", action="store_true", help="leave out pages that the pool has with the same label")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, _scratch: Path) -> str:
    """Add the batch, and return its id and size."""
    from ..data.pool_batch import NewBatch, Verification, add_batch
    from ..storage import Storage, normalise

    new = NewBatch(
        folder_uri=normalise(options.source_folder),
        anchor_uri=normalise(options.anchor),
        verification=Verification(by=options.verified_by, at=options.verified_at, source=options.source),
        documents=_documents(options.documents),
        background=options.allow_background,
        only_new=options.only_new,
        map_classes=options.map_classes,
    )
    added = add_batch(Storage(), normalise(options.uri), new, utc_now(), PageLines("pool add"))
    return "\n".join([f"batch {added.batch.id}: {len(added.batch.samples)} pages added", *added.remarks])


def _documents(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _no_map(f"--documents {path} cannot be read: {error}.") from error
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise _no_map(f"--documents {path} is no map of texts.")
    return content


def _no_map(message: str) -> StepError:
    return bad_input(Reason.DATA_UNREADABLE, message, 'Write JSON: {"stem": "document"}.')
