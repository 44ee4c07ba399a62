"""What CONTRIBUTING says of make and of the workflow is so."""

import re
import subprocess
from typing import Any

import yaml

from house.crds import ROOT


def _planned(*words: str) -> str:
    """Return the command that make would run last."""
    command = ["make", "--dry-run", "--no-print-directory", "e2e", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].strip()


def test_every_story_is_run_unless_one_is_named() -> None:
    assert _planned().endswith("tests/e2e")


def test_one_story_is_run_by_its_name() -> None:
    assert _planned("STORY=cannot_start").endswith("tests/e2e -k 'cannot_start'")


def test_one_story_is_run_on_the_cluster_of_a_demo() -> None:
    assert _planned("STORY=guide", "ON_DEMO=mounted").endswith("tests/e2e -k 'guide' --on-demo=mounted")


def test_workflows_run_what_everybody_runs_with_actions_pinned_by_commit() -> None:
    workflow: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = workflow["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    used = [step["uses"] for step in steps if "uses" in step]
    assert [name for name in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", name)] == []
    assert workflow["permissions"] == {"contents": "read"}
