"""`production export URI --to DIR`: captured pages for a labelling tool, with the model's boxes as pre-labels."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from ..progress import PageLines
from .choosing import add_choice, chosen_pages
from .options import TOOLS, add_appended

HELP: Final = "write captured pages as a folder for a labelling tool"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_choice(parser, limit=100)
    parser.add_argument("--to", required=True, metavar="URI", help="a folder that is new or empty")
    parser.add_argument("--format", required=True, choices=TOOLS, help="the tool that will read it")
    parser.add_argument("--anchor", required=True, metavar="URI", help="its classes are the labels")
    add_appended(parser)
    parser.add_argument(
        "--image-url",
        metavar="TEXT",
        help="label-studio: what stands before a picture's name in its tasks; without it s3://... of the picture, or "
        "its place among Label Studio's local files",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, _scratch: Path) -> str:
    """Write the folder, and say what it has."""
    from ..data.anchor import read_index
    from ..data.incoming import extended
    from ..labelling.exporting import Target, export_pages
    from ..storage import Storage, normalise

    classes = extended(read_index(Storage(), normalise(options.anchor)).classes, options.append_classes)
    choice = chosen_pages(options)
    if choice.unreadable and not choice.chosen:
        return choice.done(["no page is left to write"])
    target = Target(normalise(options.to), options.format, options.image_url)
    lines = export_pages(choice.pages, choice.chosen, target, classes, PageLines("production export"))
    return choice.done(lines)
