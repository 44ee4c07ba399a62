"""Options that several commands have."""

from __future__ import annotations

import argparse

from ..data.background import USUAL


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
