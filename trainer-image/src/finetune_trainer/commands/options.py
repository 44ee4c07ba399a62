"""Options that several commands have."""

from __future__ import annotations

import argparse
from datetime import date
from typing import Final

from ..data.background import USUAL
from ..local_files import is_utf8

TOOLS: Final = ("label-studio", "coco", "cvat", "yolo")
"""Formats of labelling tools that are read and written."""


def add_verified_folder(parser: argparse.ArgumentParser) -> None:
    """Add what every command takes that reads a verified folder into a pool: places, verifier, classes, background.

    The verifier may be left out, where the folder itself says who verified it.
    """
    parser.add_argument("uri", help="the pool")
    parser.add_argument(
        "--from", dest="source_folder", required=True, metavar="PLACE", help="a YOLO folder, or what the tool exported"
    )
    parser.add_argument(
        "--anchor", required=True, metavar="URI", help="its classes count; its val and test pages do not"
    )
    parser.add_argument(
        "--verified-by", type=as_text, metavar="NAME", help="who looked at every label, where no tool says it"
    )
    parser.add_argument("--verified-at", type=as_date, metavar="YYYY-MM-DD", help="when, where no tool says it")
    add_background(parser)
    add_appended(parser)
    parser.add_argument(
        "--map-classes",
        action="store_true",
        help="renumber labels by the names of their classes: another order, or fewer",
    )


def add_appended(parser: argparse.ArgumentParser) -> None:
    """Add --append-classes: classes behind the anchor's."""
    parser.add_argument(
        "--append-classes",
        type=_names,
        default=(),
        metavar="NAMES",
        help="comma-separated classes behind the anchor's, in the policy's order: pages are labelled for these too, "
        "and a new base learns them",
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def as_text(text: str) -> str:
    """Return a text from the command line; argparse.ArgumentTypeError where a terminal wrote it in another encoding."""
    if not is_utf8(text):
        raise argparse.ArgumentTypeError(f"{text!a} is not UTF-8")
    return text


def as_date(text: str) -> date:
    """Return a date from the command line; argparse.ArgumentTypeError."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no date (YYYY-MM-DD)") from error


def add_background(parser: argparse.ArgumentParser) -> None:
    """Add --allow-background [SHARE]; the value is the share of pages that may be empty, 0 without the option."""
    parser.add_argument(
        "--allow-background",
        nargs="?",
        type=_share,
        const=USUAL,
        default=0.0,
        metavar="SHARE",
        help="missing or empty labels mean pages without any field; at most this share of the pages that train, "
        f"{USUAL} where no number stands",
    )


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no share (0 to 1)") from error
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share (0 to 1)")
    return share
