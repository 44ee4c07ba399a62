"""The command line: `job` for the operator; `anchor`, `pool`, `production` and `import` for people."""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .commands import (
    anchor_index,
    import_base,
    job,
    pool_add,
    pool_correct,
    pool_lineage,
    pool_stats,
    pool_withdraw,
    production_export,
    production_list,
)
from .environment import paths_from, prepare_process
from .errors import ErrorClass, PartlyDoneError, Reason, StepError, exit_code
from .terminal import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and return the process's exit code."""
    options = command_line().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error: not every terminal can show every name
    if options.command == "job":
        paths = paths_from(os.environ)
        return job.run(options, paths, prepare_process(paths.scratch, os.environ))
    try:
        # People's commands write only what they are asked to; caches and homes go to a folder that is removed again.
        with tempfile.TemporaryDirectory(prefix="finetune-trainer-") as scratch:
            prepare_process(Path(scratch), os.environ)
            done = options.run(options, Path(scratch))
    except StepError as error:
        return _refused(error)
    except OSError as error:  # what storage raises it has translated
        return _refused(_of_own_files(error))
    print(done)
    return 0


def _refused(error: StepError) -> int:
    """Print what is wrong and how to mend it, and return the exit code."""
    if isinstance(error, PartlyDoneError):
        print(error.done)
    said = f"error: {error.reason}: {error.message}\nremedy: {error.remedy}"
    print(printable(said, kept="\n\t"), file=sys.stderr)
    return exit_code(error.error_class)


def _of_own_files(error: OSError) -> StepError:
    """Return what it means that files of a command's own cannot be written."""
    return StepError(
        ErrorClass.UNAVAILABLE,
        Reason.STORAGE_UNAVAILABLE,
        f"Files that a command keeps while it runs cannot be written: {error}.",
        "Let TMPDIR name a folder that may be written, with room for the pictures of what you add.",
    )


def command_line() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser = argparse.ArgumentParser(prog="finetune-trainer", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    job.add_arguments(commands.add_parser("job", help=job.HELP))
    anchor = commands.add_parser("anchor", help="the anchor data set").add_subparsers(dest="action", required=True)
    anchor_index.add_arguments(anchor.add_parser("index", help=anchor_index.HELP))
    pool = commands.add_parser("pool", help="the pool of verified pages").add_subparsers(dest="action", required=True)
    pool_add.add_arguments(pool.add_parser("add", help=pool_add.HELP))
    pool_correct.add_arguments(pool.add_parser("correct", help=pool_correct.HELP))
    pool_withdraw.add_arguments(pool.add_parser("withdraw", help=pool_withdraw.HELP))
    pool_lineage.add_arguments(pool.add_parser("lineage", help=pool_lineage.HELP))
    pool_stats.add_arguments(pool.add_parser("stats", help=pool_stats.HELP))
    production = commands.add_parser("production", help="pages captured in production")
    production_actions = production.add_subparsers(dest="action", required=True)
    production_list.add_arguments(production_actions.add_parser("list", help=production_list.HELP))
    production_export.add_arguments(production_actions.add_parser("export", help=production_export.HELP))
    import_base.add_arguments(commands.add_parser("import", help=import_base.HELP))
    return parser
