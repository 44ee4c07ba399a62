"""The command line: `job` for the operator; `anchor`, `pool` and `import` for people."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import get_args

from finetune_trainer import __version__
from finetune_trainer.environment import paths_from, prepare_process
from finetune_trainer.errors import Reason, StepError, bad_input, exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the process's exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "job":
        return _job(options)
    # People's commands write only what they are asked to; caches and homes go to a folder that is removed again.
    with tempfile.TemporaryDirectory(prefix="finetune-trainer-") as scratch:
        prepare_process(Path(scratch), os.environ)
        try:
            return _command(options, Path(scratch))
        except StepError as error:
            print(f"error: {error.reason}: {error.message}\nremedy: {error.remedy}", file=sys.stderr)
            return exit_code(error.error_class)


def _parser() -> argparse.ArgumentParser:
    from finetune_trainer.documents.result import StepName

    parser = argparse.ArgumentParser(prog="finetune-trainer", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)

    job = commands.add_parser("job", help="run one step of a run (started by the operator)")
    job.add_argument("step", choices=get_args(StepName))
    job.add_argument("--inputs", required=True, metavar="JSON", help="the step's inputs (docs/reference/contracts.md)")

    anchor = commands.add_parser("anchor", help="the anchor data set").add_subparsers(dest="action", required=True)
    index = anchor.add_parser("index", help="check the data set and write finetune-index.json beside data.yaml")
    index.add_argument("uri", help="folder of data.yaml: path, file://, s3:// or gs://")
    _background(index)

    pool = commands.add_parser("pool", help="the pool of verified pages").add_subparsers(dest="action", required=True)
    add = pool.add_parser("add", help="add a YOLO folder as one batch, or refuse it with a list of problems")
    add.add_argument("uri", help="the pool")
    add.add_argument("--from", dest="source_folder", required=True, metavar="YOLO_DIR")
    add.add_argument("--anchor", required=True, metavar="URI", help="its classes count; its val and test pages do not")
    add.add_argument("--verified-by", required=True, metavar="NAME")
    add.add_argument("--verified-at", required=True, type=_date, metavar="YYYY-MM-DD")
    add.add_argument("--source", required=True, help="where the pages come from, a ticket or report")
    add.add_argument("--documents", type=Path, metavar="JSON", help="map from file stem to document id")
    _background(add)
    stats = pool.add_parser("stats", help="count batches, pages, documents, boxes")
    stats.add_argument("uri")

    _import_parser(commands.add_parser("import", help="make a ModelVersion of a best.pt; prints the manifest"))
    return parser


def _background(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-background", action="store_true", help="missing or empty labels mean pages without any field"
    )


def _import_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, metavar="BEST.pt")
    parser.add_argument("--model", required=True, help="the model's name, as in the policy")
    parser.add_argument("--version", required=True, help="base_v1, base_v2, ...")
    parser.add_argument("--artifacts", required=True, metavar="URI", help="the policy's artifacts.uri")
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--classes", help="comma-separated, in order; default: the checkpoint's")
    parser.add_argument("--image-size", type=int, required=True, metavar="PIXELS")
    parser.add_argument("--confidence", default="0.25", help="serving confidence (default: %(default)s)")
    parser.add_argument("--nms-iou", default="0.7", help="serving NMS IoU (default: %(default)s)")
    parser.add_argument("--max-detections", type=int, default=300, help="default: %(default)s")
    parser.add_argument("--pretrained", metavar="NAME.pt", help="general weights that training may have started from")


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no date (YYYY-MM-DD)") from error


def _job(options: argparse.Namespace) -> int:
    paths = paths_from(os.environ)
    cpus = prepare_process(paths.scratch, os.environ)
    from finetune_trainer.steps.job import Job, run_job

    return run_job(Job(options.step, options.inputs, paths, cpus))


def _command(options: argparse.Namespace, scratch: Path) -> int:
    match options.command, getattr(options, "action", None):
        case "anchor", "index":
            _anchor_index(options)
        case "pool", "add":
            _pool_add(options)
        case "pool", "stats":
            _pool_stats(options)
        case _:
            from finetune_trainer.importing import ImportRequest, import_base

            print(import_base(ImportRequest.from_options(options), scratch), end="")
    return 0


def _anchor_index(options: argparse.Namespace) -> None:
    from finetune_trainer.data.anchor import build_index, write_index
    from finetune_trainer.storage import Storage, normalise

    storage, uri = Storage(), normalise(options.uri)
    index = build_index(storage, uri, options.allow_background)
    where = write_index(storage, uri, index)
    splits = index.splits
    print(f"{where}: {len(index.classes)} classes; {len(splits.train)} train, {len(splits.val)} val, "
          f"{len(splits.test)} test pages")  # fmt: skip


def _pool_add(options: argparse.Namespace) -> None:
    from finetune_trainer.data.pool import Verification, add_batch
    from finetune_trainer.storage import Storage, normalise

    batch = add_batch(
        Storage(),
        normalise(options.uri),
        normalise(options.source_folder),
        normalise(options.anchor),
        Verification(options.verified_by, options.verified_at, options.source),
        _documents(options.documents),
        options.allow_background,
        datetime.now(UTC),
    )
    print(f"batch {batch.id}: {len(batch.samples)} pages added")


def _documents(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise bad_input(
            Reason.DATA_UNREADABLE, f"--documents {path} cannot be read: {error}.", 'Write JSON: {"stem": "document"}.'
        ) from error
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise bad_input(
            Reason.DATA_UNREADABLE, f"--documents {path} is no map of texts.", 'Write JSON: {"stem": "document"}.'
        )
    return content


def _pool_stats(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from finetune_trainer.data.pool import pool_stats
    from finetune_trainer.storage import Storage, normalise

    print(json.dumps(asdict(pool_stats(Storage(), normalise(options.uri))), indent=2, ensure_ascii=False))
