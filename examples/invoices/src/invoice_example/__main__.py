"""Command line of the example: generate the documents, train the base model."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from functools import partial
from pathlib import Path

from .recipe import recipe
from .sizes import Sizes


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    command: str = options.command
    try:
        match command:
            case "generate":
                # Imported where needed: a pod that trains has no renderer, and one that renders has no torch.
                from .dataset import write_example

                sizes = Sizes(**{f.name: getattr(options, f.name) for f in fields(Sizes)})
                with ProcessPoolExecutor(options.workers) as pool:
                    mapper = partial(pool.map, chunksize=16)
                    write_example(options.out, seed=options.seed, sizes=sizes, mapper=mapper)
            case "train-base":
                from .train_base import train_base

                train_base(options.data, options.out, seed=options.seed, threads=options.threads)
            case "recipe":
                print(json.dumps(recipe(), indent=2))
            case _:
                raise AssertionError(f"the parser let an unknown command through: {command}")
    except (FileExistsError, FileNotFoundError, RuntimeError, ValueError) as error:
        print(f"invoice_example {command}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="invoice_example", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    generate = commands.add_parser("generate", help="render the invoices as YOLO data sets")
    generate.add_argument("--out", type=Path, required=True, help="a folder that is new or empty")
    generate.add_argument("--seed", type=int, default=0)
    generate.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that render")
    for field in fields(Sizes):
        generate.add_argument(f"--{field.name}", type=int, default=field.default)
    train = commands.add_parser("train-base", help="train the base model from random weights")
    train.add_argument("--data", type=Path, required=True, help="the folder anchor/")
    train.add_argument("--out", type=Path, required=True, help="where the checkpoint goes")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    commands.add_parser("recipe", help="print classes, serving settings and training parameters as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
