"""Renders the chart with the Helm that the local cluster builds."""

import subprocess
from collections.abc import Callable
from typing import Any

import yaml

from house.crds import ROOT

CHART = ROOT / "charts" / "finetune-operator"

Render = Callable[..., list[dict[str, Any]]]


class Refused(Exception):
    """Helm refused to render; the text is what it said."""


def helm_path() -> str:
    """Return the path of Helm, built on first use."""
    command = [str(ROOT / "local-cluster" / "cluster"), "tools", "build", "helm"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]


def render_chart(helm: str, *settings: str) -> list[dict[str, Any]]:
    """Render the chart as release `r` in namespace `ml`, with `--set` for each setting. Raises Refused."""
    words = [helm, "template", "r", str(CHART), "--namespace", "ml", *(f"--set={setting}" for setting in settings)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(done.stderr)
    return [manifest for manifest in yaml.load_all(done.stdout, yaml.CSafeLoader) if manifest]
