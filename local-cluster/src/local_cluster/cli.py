"""The command line: `cluster COMMAND`."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from . import control_planes, images, node, packages, preflight, tools
from .errors import ClusterError
from .settings import Settings, settings_from

#: Programs that run as they are, against the node cluster.
PASSED_ON = ("kubectl", "helm")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command and return the exit status: 0, or 1 with the problem and its remedy on standard error."""
    try:
        settings = settings_from(environ)
        # argparse would take these programs' own options, such as a leading -n, for ours.
        if arguments and arguments[0] in PASSED_ON:
            _become(settings, arguments[0], arguments[1:])
        options = _parser().parse_args(arguments)
        status: int = options.run(options, settings)
        return status
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; every command can be run again", file=sys.stderr)
        return 130


def _preflight(options: argparse.Namespace, settings: Settings) -> int:
    findings = (
        preflight.control_plane_findings(settings)
        if options.control_plane
        else preflight.node_findings(settings, options.disk)
    )
    for finding in findings:
        print(f"missing: {finding.problem}\n  remedy: {finding.remedy}", file=sys.stderr)
    if not findings:
        print("nothing is missing")
    return 1 if findings else 0


def _packages(_options: argparse.Namespace, _settings: Settings) -> int:
    packages.install(tools.say)
    return 0


def _tools(options: argparse.Namespace, settings: Settings) -> int:
    paths = (
        tools.build(settings, options.names) if options.action == "build" else [tools.tool_path(settings, options.name)]
    )
    for path in paths:
        print(path)
    return 0


def _control_plane(options: argparse.Namespace, settings: Settings) -> int:
    if options.action == "up":
        print(control_planes.up(settings, options.name).kubeconfig)
    else:
        control_planes.down(settings, options.name)
    return 0


def _node(options: argparse.Namespace, settings: Settings) -> int:
    match options.action:
        case "up":
            print(node.up(settings))
        case "down":
            node.down(settings, purge=options.purge)
        case _:
            return _node_status(settings)
    return 0


def _node_status(settings: Settings) -> int:
    now = node.status(settings)
    print("ready" if now.ready else " ".join(filter(None, (now.step, now.problem))))
    return 0 if now.ready else 1


def _image(options: argparse.Namespace, settings: Settings) -> int:
    match options.action:
        case "base":
            print(images.import_base(settings, tools.say))
        case "s3":
            print(images.import_s3_server(settings, tools.say))
        case "prometheus":
            print(images.import_prometheus(settings, tools.say))
        case "import":
            images.import_archive(settings, options.file)
        case _:
            arguments = _build_arguments(options.build_arg)
            recipe = images.Recipe(options.dockerfile, options.context, options.tag, arguments)
            print(images.build(settings, recipe, tools.say, if_missing=options.if_missing))
    return 0


def _build_arguments(pairs: Sequence[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise ClusterError(f"--build-arg {pair} has no value", "write it as NAME=VALUE")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _become(settings: Settings, name: str, arguments: Sequence[str]) -> NoReturn:
    """Turn this process into kubectl or Helm, against the node cluster and never against an ambient KUBECONFIG."""
    (binary,) = tools.build(settings, [name])
    kubeconfig = node.control_plane_of(settings).kubeconfig
    if not kubeconfig.exists():
        raise ClusterError("the node is not running", "run: local-cluster/cluster node up")
    environ = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    os.execve(binary, [name, *arguments], environ)  # noqa: S606 - no shell is the point


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cluster",
        description="A real Kubernetes from package registries alone. Caches: FINETUNE_CACHE "
        "(~/.cache/finetune-operator); running clusters: FINETUNE_STATE (/var/tmp/finetune-operator).",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser("preflight", help="say what is missing before anything starts; 1 where something is")
    check.add_argument("--control-plane", action="store_true", help="only what a control plane without a node needs")
    check.add_argument(
        "--disk",
        type=float,
        default=preflight.NODE_GIB,
        metavar="GIB",
        help=f"free space for images and volumes in FINETUNE_STATE (default {preflight.NODE_GIB:g}); 25 GiB for each "
        "trainer image that is baked",
    )
    check.set_defaults(run=_preflight)
    install = commands.add_parser("packages", help="Debian's part of the node")
    install.add_argument("action", choices=["install"], help="install what is missing, with apt")
    install.set_defaults(run=_packages)
    _add_tools(commands.add_parser("tools", help="build the programs, or say where they are"))
    _add_control_plane(commands.add_parser("control-plane", help="a Kubernetes without nodes, for tests"))
    _add_node(commands.add_parser("node", help="the one cluster of this machine that runs pods"))
    _add_image(commands.add_parser("image", help="make images and give them to the node"))
    for name in PASSED_ON:  # For the help alone: `main` hands these on before parsing.
        commands.add_parser(name, help=f"run {name} against the node cluster, with all its options")
    return parser


def _add_node(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_node)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("up", help="start it and print its kubeconfig's path")
    down = actions.add_parser("down", help="stop it and undo its traces, also after a crash; imported images stay")
    down.add_argument("--purge", action="store_true", help="remove the imported images too")
    actions.add_parser("status", help="print how it is; 0 where it is ready")


def _add_image(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_image)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("base", help="make the base image, import it, and print its name")
    actions.add_parser("s3", help="build an S3 server (versitygw), import it as an image, and print its name")
    actions.add_parser("prometheus", help="build Prometheus, import it as an image, and print its name")
    build = actions.add_parser("build", help="build a Dockerfile on the base image, import it, and print its name")
    build.add_argument("dockerfile", type=Path, metavar="DOCKERFILE")
    build.add_argument("context", type=Path, metavar="CONTEXT")
    build.add_argument("tag", metavar="TAG", help="NAME:TAG, which becomes localhost/NAME:TAG")
    build.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    build.add_argument("--if-missing", action="store_true", help="only where the node has no image of that name yet")
    importing = actions.add_parser("import", help="import an OCI or docker archive")
    importing.add_argument("file", type=Path, metavar="FILE")


def _add_tools(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_tools)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="build what is missing and print the paths")
    build.add_argument("names", nargs="*", metavar="NAME", help="default: all that a node needs, and helm")
    path = actions.add_parser("path", help="print the path of a built program")
    path.add_argument("name", metavar="NAME")


def _add_control_plane(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_control_plane)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    up = actions.add_parser("up", help="start one and print its kubeconfig's path; several run side by side")
    up.add_argument("name", metavar="NAME")
    down = actions.add_parser("down", help="stop one and remove its data")
    down.add_argument("name", metavar="NAME")
