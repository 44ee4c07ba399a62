"""`pool add URI`: pages that somebody verified, as a labelling tool wrote them, become one batch of the pool."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import Reason, StepError, bad_input
from ..progress import PageLines, utc_now
from .options import TOOLS, add_verified_folder

if TYPE_CHECKING:
    from ..labelling.arriving import Staged
    from ..storage import Storage

HELP: Final = "add verified pages as one batch, or refuse them with a list of problems"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_verified_folder(parser, verifier=False)
    parser.add_argument("--format", choices=TOOLS, default="yolo", help="what wrote it: a YOLO folder without it")
    parser.add_argument(
        "--captured", metavar="URI", help="the folder of `production export`, or the Deployment's production pages"
    )
    parser.add_argument("--only-labelled", action="store_true", help="leave out tasks that nobody finished")
    parser.add_argument(
        "--annotator",
        action="append",
        type=_annotator,
        default=[],
        metavar="NUMBER=NAME",
        help="who a user of the tool is, where it exports numbers; may be repeated",
    )
    parser.add_argument("--source", default="", help="where the pages come from that were not captured")
    parser.add_argument(
        "--documents", type=Path, metavar="JSON", help="map from a page (stem, file name or path) to its document"
    )
    parser.add_argument("--only-new", action="store_true", help="leave out pages that the pool has with the same label")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, scratch: Path) -> str:
    """Add the batch, and return its id and size."""
    from ..data.pool_batch import NewBatch, Verification, add_batch
    from ..storage import Storage, normalise

    plain = options.format == "yolo" and options.captured is None
    if plain:
        _check_said(options)
    said = Verification(by=options.verified_by or "", at=options.verified_at or date.min, source=options.source)
    new = NewBatch(
        folder_uri=normalise(options.source_folder),
        anchor_uri=normalise(options.anchor),
        verification=said,
        documents=_documents(options.documents),
        background=options.allow_background,
        only_new=options.only_new,
        map_classes=options.map_classes,
    )
    storage = Storage()
    remarks: tuple[str, ...] = ()
    if not plain:
        staged = _staged(storage, options, scratch / "returned")
        remarks = staged.remarks
        new = replace(new, folder_uri=staged.folder.as_uri(), origins=staged.origins, map_classes=False)
    added = add_batch(storage, normalise(options.uri), new, utc_now(), PageLines("pool add"))
    return "\n".join([f"batch {added.batch.id}: {len(added.batch.samples)} pages added", *remarks, *added.remarks])


def _staged(storage: Storage, options: argparse.Namespace, folder: Path) -> Staged:
    """Return what a labelling tool wrote as a YOLO folder, each page with its origin."""
    from ..data.anchor import read_index
    from ..data.pool_batch import Origin
    from ..labelling.arriving import Arrival, stage
    from ..labelling.captured import captured_pages
    from ..storage import normalise

    captured = captured_pages(storage, normalise(options.captured)) if options.captured is not None else None
    at = options.verified_at.isoformat() if options.verified_at is not None else None
    arrival = Arrival(
        uri=normalise(options.source_folder),
        tool=options.format,
        captured=captured,
        origin=Origin(source=options.source.strip(), verified_by=(options.verified_by or "").strip(), verified_at=at),
        only_labelled=options.only_labelled,
        annotators=dict(options.annotator),
    )
    classes = read_index(storage, normalise(options.anchor)).classes
    return stage(storage, arrival, classes, folder, PageLines("pool add, matching"))


def _annotator(text: str) -> tuple[str, str]:
    number, equals, name = text.partition("=")
    if not number.strip().isdecimal() or not equals or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not NUMBER=NAME, for example 1=ann@example.com")
    return number.strip(), name.strip()


def _check_said(options: argparse.Namespace) -> None:
    """Raise StepError VerifierMissing where nothing says who verified a YOLO folder, when, and whence it comes."""
    said = {
        "--verified-by": options.verified_by is not None,
        "--verified-at": options.verified_at is not None,
        "--source": bool(options.source.strip()),
    }
    missing = [name for name, there in said.items() if not there]
    if missing:
        raise bad_input(
            Reason.VERIFIER_MISSING,
            f"A YOLO folder does not say it, and {', '.join(missing)} is not given.",
            "Say who verified the pages, when, and where they come from (a ticket or report).",
        )


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
