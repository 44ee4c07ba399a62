"""The command line: `cluster COMMAND`."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from local_cluster import control_planes, tools
from local_cluster.errors import ClusterError
from local_cluster.settings import Settings, settings_from


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command and return the exit status: 0, or 1 with the problem and its remedy on standard error."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options, settings_from(environ))
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; every command can be run again", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace, settings: Settings) -> int:
    match (options.command, getattr(options, "action", None)):
        case ("tools", "build"):
            for path in tools.build(settings, options.names):
                print(path)
        case ("tools", "path"):
            print(tools.tool_path(settings, options.name))
        case ("control-plane", "up"):
            print(control_planes.up(settings, options.name).kubeconfig)
        case ("control-plane", "down"):
            control_planes.down(settings, options.name)
        case unknown:
            raise AssertionError(f"the parser let {unknown} through")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cluster",
        description="A real Kubernetes from package registries alone. Caches: FINETUNE_CACHE "
        "(~/.cache/finetune-operator); running clusters: FINETUNE_STATE (/var/tmp/finetune-operator).",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_tools(commands.add_parser("tools", help="build the programs, or say where they are"))
    _add_control_plane(commands.add_parser("control-plane", help="a Kubernetes without nodes, for tests"))
    return parser


def _add_tools(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="build what is missing and print the paths")
    build.add_argument("names", nargs="*", metavar="NAME", help="default: all of them")
    path = actions.add_parser("path", help="print the path of a built program")
    path.add_argument("name", metavar="NAME")


def _add_control_plane(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    up = actions.add_parser("up", help="start one and print its kubeconfig's path; several run side by side")
    up.add_argument("name", metavar="NAME")
    down = actions.add_parser("down", help="stop one and remove its data")
    down.add_argument("name", metavar="NAME")
