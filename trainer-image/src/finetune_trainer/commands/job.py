"""`job STEP`: one step of a run, as the operator starts it."""

from __future__ import annotations

import argparse
from typing import Final, get_args

from ..cpu import Cpus
from ..documents.result import StepName
from ..environment import Paths

HELP: Final = "run one step of a run (started by the operator)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("step", choices=get_args(StepName))
    parser.add_argument(
        "--inputs", required=True, metavar="JSON", help="the step's inputs (docs/reference/contracts.md)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, paths: Paths, cpus: Cpus) -> int:
    """Run the step with these CPUs, and return the exit code."""
    from ..steps.job import Job, run_job

    return run_job(Job(options.step, options.inputs, paths, cpus))
