"""`pool add URI`: pages that somebody verified, as a labelling tool wrote them, become one batch of the pool."""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Final

from ..errors import Reason, StepError, bad_input
from ..local_files import is_utf8
from ..progress import PageLines, utc_now
from ..texts import each_once
from .arriving import add_arrival, arrived
from .options import as_text

HELP: Final = "add verified pages as one batch, or refuse them with a list of problems"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_arrival(parser)
    parser.add_argument("--source", type=as_text, default="", help="where the pages come from that were not captured")
    parser.add_argument(
        "--documents", type=Path, metavar="JSON", help="map from a page (stem, file name or path) to its document"
    )
    parser.add_argument("--only-new", action="store_true", help="leave out pages that the pool has with the same label")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, scratch: Path) -> str:
    """Add the batch, and return its id and size."""
    from ..data.pool_batch import NewBatch, Verification, add_batch
    from ..storage import Storage, normalise

    storage, source = Storage(), options.source.strip()
    came = arrived(storage, options, scratch, source=source, needed={"--source": source})
    new = NewBatch(
        folder_uri=came.folder_uri,
        anchor_uri=normalise(options.anchor),
        verification=Verification(by=options.verified_by or "", at=options.verified_at or date.min, source=source),
        documents=_documents(options.documents),
        background=options.allow_background,
        only_new=options.only_new,
        map_classes=came.map_classes,
        appended=options.append_classes,
        fields=came.fields,
        origins=came.origins,
        called=came.called,
    )
    with came.named_as_given():
        added = add_batch(storage, normalise(options.uri), new, utc_now(), PageLines("pool add"))
    return "\n".join([f"batch {added.batch.id}: {len(added.batch.samples)} pages added", *came.remarks, *added.remarks])


def _documents(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=each_once)
    except (OSError, ValueError, RecursionError) as error:
        raise _no_map(f"--documents {path} cannot be read: {error}.") from error
    if not isinstance(content, dict) or not all(isinstance(v, str) and is_utf8(v) for v in content.values()):
        raise _no_map(f"--documents {path} is no map of texts.")
    return content


def _no_map(message: str) -> StepError:
    return bad_input(Reason.DATA_UNREADABLE, message, 'Write JSON: {"stem": "document"}.')
