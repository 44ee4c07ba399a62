"""`production list URI`: the captured pages worth labelling, the most useful first."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..terminal import printable
from .choosing import add_choice, chosen_pages

if TYPE_CHECKING:
    from ..labelling.choosing import Chosen

HELP: Final = "list captured pages, those most worth labelling first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_choice(parser, limit=20)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, _scratch: Path) -> str:
    """Return a line for each page; its width and height in pixels tell of pages that arrive turned, or too small."""
    choice = chosen_pages(options)
    head = f"{len(choice.chosen)} of {len(choice.pages.places)} captured pages"
    return choice.done([head, *map(_line, choice.chosen)])


def _line(page: Chosen) -> str:
    from ..labelling.choosing import confidences

    record = page.record
    sure = ", ".join(f"{name} {confidence:.2f}" for name, confidence in confidences(record).items())
    missing = f"; not found: {', '.join(record.missing)}" if record.missing else ""
    reported = f"; reported {page.reported}" if page.reports else ""
    document = f" of {record.document}" if record.document else ""
    where = f"page {record.page.number}{document}, {record.page.width}x{record.page.height}"
    said = f"{sure or 'nothing'}{missing}{reported}"
    # Ids and comments are what clients sent: a line of theirs would pass for another page.
    return printable(f"{record.prediction} {record.at[:16]} {record.stratum} {where}: {said}")
