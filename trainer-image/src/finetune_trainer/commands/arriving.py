"""Options and reading that `pool add` and `pool correct` share: what a labelling tool wrote, as a verified folder."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Reason, StepError, bad_input
from ..progress import PageLines
from .options import TOOLS, add_verified_folder, as_text

if TYPE_CHECKING:
    from ..data.pool_batch import Origin
    from ..labelling.arriving import Staged
    from ..storage import Storage


@dataclass(frozen=True, slots=True)
class Arrived:
    """A YOLO folder, by image what its task says of it, and lines for a person. `given` is the place that was named.

    `map_classes` says that labels are to be renumbered by the names of their classes, `fields` for how many of them,
    the first ones, labels were made at most; None: for those that the folder lists. `called` has by image what the tool
    called it.
    """

    folder_uri: str
    given: str
    origins: Mapping[str, Origin]
    map_classes: bool
    remarks: tuple[str, ...] = ()
    fields: int | None = None
    called: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @contextmanager
    def named_as_given(self) -> Iterator[None]:
        """Let messages name the place that somebody gave, where what a tool wrote was staged elsewhere."""
        try:
            yield
        except StepError as error:
            said = (text.replace(self.folder_uri, self.given) for text in (error.message, error.remedy))
            raise StepError(error.error_class, error.reason, *said) from error


def add_arrival(parser: argparse.ArgumentParser) -> None:
    """Add what says where labels are, which tool wrote them, and who verified them."""
    add_verified_folder(parser)
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


def arrived(
    storage: Storage, options: argparse.Namespace, scratch: Path, *, source: str, needed: Mapping[str, str]
) -> Arrived:
    """Return the folder that was named, or what a labelling tool wrote as one below `scratch`.

    `source` is where pages come from that were not captured; `needed` are texts, by option, that a YOLO folder needs
    beside its verifier. Raises StepError where they are missing, or with a list of tasks that cannot be taken.
    """
    from ..storage import normalise

    if options.format == "yolo" and options.captured is None:
        _check_said(options, needed)
        folder = normalise(options.source_folder)
        return Arrived(folder, folder, {}, options.map_classes)
    staged, given = _staged(storage, options, scratch / "returned", source), normalise(options.source_folder)
    return Arrived(staged.folder.as_uri(), given, staged.origins, True, staged.remarks, staged.fields, staged.called)


def _staged(storage: Storage, options: argparse.Namespace, folder: Path, source: str) -> Staged:
    from ..data.anchor import read_index
    from ..data.incoming import extended
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
        origin=Origin(source=source, verified_by=(options.verified_by or "").strip(), verified_at=at),
        only_labelled=options.only_labelled,
        background=options.allow_background > 0,
        annotators=dict(options.annotator),
        appended=options.append_classes,
    )
    classes = extended(read_index(storage, normalise(options.anchor)).classes, options.append_classes)
    return stage(storage, arrival, classes, folder, PageLines(f"pool {options.action}, matching"))


def _annotator(text: str) -> tuple[str, str]:
    number, equals, name = text.partition("=")
    if not number.strip().isdecimal() or not equals or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not NUMBER=NAME, for example 1=ann@example.com")
    return number.strip(), as_text(name.strip())


def _check_said(options: argparse.Namespace, needed: Mapping[str, str]) -> None:
    """Raise StepError VerifierMissing where nothing says who verified a YOLO folder, when, and what else is needed."""
    said = {
        "--verified-by": options.verified_by is not None,
        "--verified-at": options.verified_at is not None,
        **{option: bool(text) for option, text in needed.items()},
    }
    missing = [name for name, there in said.items() if not there]
    if missing:
        where = ", and where they come from (a ticket or report)" if "--source" in missing else ""
        raise bad_input(
            Reason.VERIFIER_MISSING,
            f"A YOLO folder does not say it, and {', '.join(missing)} is not given.",
            f"Say who verified the pages, and when{where}.",
        )
