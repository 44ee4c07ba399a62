"""The commands `fetch` and `serve`: environment in, exit code and one last line of explanation out."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from . import __version__
from .config import fetch_config, serve_config
from .errors import ExitCode, StartError
from .logs import log_to_stderr, take_in_standard_error

log = logging.getLogger("finetune_server")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="finetune-server", description="Serves the model that the pod template names. Settings: environment."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="fetch the model and verify its sha256 (init container)")
    commands.add_parser("serve", help="serve the fetched model")
    arguments = parser.parse_args(argv)
    handler = log_to_stderr()
    # As process 1 of its container it would otherwise ignore SIGTERM and hold the pod up for its whole grace period;
    # `serve` puts its drain in this one's place once it listens.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        match arguments.command:
            case "fetch":
                _fetch()
            case _:
                take_in_standard_error(handler)
                _serve()
    except StartError as error:
        # The last line is what `terminationMessagePolicy: FallbackToLogsOnError` shows in the pod's status.
        log.critical("%s", error)
        return error.exit_code
    except Exception:
        # Python would print it to where it may be too late to be taken in.
        log.critical("an unexpected error", exc_info=True)
        return ExitCode.INTERNAL
    return ExitCode.OK


def _fetch() -> None:
    # Imported here: each command pays only for its own libraries at start, in a container that waits for it.
    from .fetch import fetch, wait_for_a_model

    config = fetch_config(os.environ)
    if config.artifact is None:
        wait_for_a_model(time)
    else:
        fetch(config, config.artifact, time)


def _serve() -> None:
    # onnxruntime's official builds report to their maker by default, and read this before any call could say no.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    config = serve_config(os.environ)
    # OpenCV reads its limit when it is imported, too; processes for documents inherit it.
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(config.limits.max_pixels)
    from .server import serve

    serve(config)


def _terminate(_sig: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(ExitCode.TERMINATED)
