"""`pool lineage URI`: which runs learned from what is withdrawn or corrected by now, as JSON."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

HELP: Final = "say which runs trained on pages that are withdrawn or corrected by now"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("uri", help="the pool")
    parser.add_argument("--artifacts", required=True, metavar="URI", help="the policy's artifacts.uri")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, _scratch: Path) -> str:
    """Return the runs and their pages as JSON."""
    from ..data.lineage import pool_lineage
    from ..storage import Storage, normalise

    lineage = pool_lineage(Storage(), normalise(options.uri), normalise(options.artifacts))
    return json.dumps(asdict(lineage), indent=2, ensure_ascii=False)
