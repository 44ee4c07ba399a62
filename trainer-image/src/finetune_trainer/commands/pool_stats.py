"""`pool stats URI`: what the pool holds, as JSON."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

HELP: Final = "count batches, pages, documents, boxes, what was corrected and withdrawn"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("uri", help="the pool")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, _scratch: Path) -> str:
    """Return the pool's counts as JSON."""
    from ..data.pool_stats import pool_stats
    from ..storage import Storage, normalise

    return json.dumps(asdict(pool_stats(Storage(), normalise(options.uri))), indent=2, ensure_ascii=False)
