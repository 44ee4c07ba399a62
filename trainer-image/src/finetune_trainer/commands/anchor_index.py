"""`anchor index URI`: the anchor is checked as a whole, and its index written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from ..progress import PageLines

HELP: Final = "check the data set and write finetune-index.json beside data.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("uri", help="folder of data.yaml: path, file://, s3:// or gs://")
    parser.add_argument(
        "--allow-background", action="store_true", help="missing or empty labels mean pages without any field"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, _scratch: Path) -> str:
    """Write the index, and return what it holds."""
    from ..data.anchor import build_index, write_index
    from ..storage import Storage, normalise

    storage, uri = Storage(), normalise(options.uri)
    lines = PageLines("anchor index")
    index = build_index(storage, uri, allow_background=options.allow_background, counted=lines)
    where = write_index(storage, uri, index)
    splits = index.splits
    return (
        f"{where}: {len(index.classes)} classes; {len(splits.train)} train, {len(splits.val)} val, "
        f"{len(splits.test)} test pages"
    )
