"""`anchor index URI`: the anchor is checked as a whole, and its index written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from ..progress import PageLines
from .options import add_background

HELP: Final = "check the data set and write finetune-index.json beside data.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("uri", help="folder of data.yaml: path, file://, s3:// or gs://")
    add_background(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, _scratch: Path) -> str:
    """Write the index, and return what it holds."""
    from ..data.anchor import build_index, write_index
    from ..storage import Storage, normalise

    storage, uri = Storage(), normalise(options.uri)
    lines = PageLines("anchor index")
    indexed = build_index(storage, uri, background=options.allow_background, counted=lines)
    where = write_index(storage, uri, indexed.index)
    splits = indexed.index.splits
    counts = (
        f"{where}: {len(indexed.index.classes)} classes; {len(splits.train)} train, {len(splits.val)} val, "
        f"{len(splits.test)} test pages"
    )
    return "\n".join([counts, *indexed.remarks])
