"""What the stories of the loop share: pools that nothing was judged on, and a policy that decides by itself."""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from e2e.stories import USUAL, Stories

POLICY = "invoice-fields"
QUICK: dict[str, Any] = {"training": {"epochs": 1}, "mixing": {"maxOld": 60}}
"""A fired run has the policy's own training: a minute of it."""

AT_ONCE = {"cooldownSeconds": 0, "maxRunsPerWeek": 28}
"""The brakes of other stories' runs, which stand in the same status, are off."""

LAY_OUT = """
import shutil, sys
from pathlib import Path

target, shift, first, last = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
shutil.rmtree(target, ignore_errors=True)
verified = Path("/data/verified")
for folder in ("images", "labels"):
    (target / folder).mkdir(parents=True)
shutil.copy(verified / "data.yaml", target)
for image in sorted((verified / "images").iterdir())[first:last]:
    shutil.copy(image, target / "images")
    rows = (row.split() for row in (verified / "labels" / f"{image.stem}.txt").read_text().splitlines())
    moved = (" ".join([field, f"{float(x) + shift:.6f}", *others]) for field, x, *others in rows)
    (target / "labels" / f"{image.stem}.txt").write_text("\\n".join(moved) + "\\n")
"""
"""Runs in the workbench pod: verified pages with labels that somebody has moved a little, so that they are new."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of a story's own: pages of the demo with other labels, which no run of the policy was judged on."""

    stories: Stories
    name: str
    shift: float

    @property
    def uri(self) -> str:
        """Where it lies."""
        return f"file:///data/pool/{self.name}"

    def add(self, first: int, last: int) -> None:
        """Add the verified pages from one number up to another one (of 60)."""
        folder, tale = f"/tmp/{self.name}", self.stories.tale
        words = ("python3", "-", folder, str(self.shift), str(first), str(last))
        self.stories.kube.kubectl("exec", "-i", "workbench", "--", *words, stdin=LAY_OUT)
        said = ("--verified-by", "ann@example.com", "--verified-at", "2026-11-25", "--source", "the loop")
        tale.trainer("pool", "add", self.uri, "--from", folder, "--anchor", "file:///data/anchor", *said)


def new_pool(stories: Stories) -> Pool:
    """Return an empty pool whose samples will be new, also where the story was played on this cluster before."""
    number = random.randrange(10**6)
    return Pool(stories, f"loop-{number:06}", 0.0001 + number * 1e-9 + number % 30 * 1e-5)


@contextmanager
def deciding(stories: Stories, pool: Pool, triggers: dict[str, Any], **spec: Any) -> Iterator[None]:
    """Let the policy decide about a pool; afterwards it is as it was, and no run that it made is left open."""
    known = run_names(stories)
    data = {"pool": {"uri": pool.uri}}
    stories.patch_policy(data=data, scan={"intervalSeconds": 60}, triggers=AT_ONCE | triggers, **QUICK | spec)
    try:
        yield
    finally:
        usual = {"epochs": stories.tale.recipe["training"]["epochs"], "lr0": stories.tale.recipe["training"]["lr0"]}
        data = {"pool": {"uri": "file:///data/pool/invoices"}}
        stories.patch_policy(data=data, scan=None, triggers=None, training=usual, mixing=None, **USUAL)
        for name in run_names(stories) - known:
            if not stories.run_status(name).get("verdict"):
                stories.kube.kubectl("delete", "finetunerun", name, "--ignore-not-found")


def run_names(stories: Stories, policy: str = POLICY) -> set[str]:
    """Return the names of a policy's runs."""
    return {run["metadata"]["name"] for run in stories.kube.items("finetuneruns") if run["spec"]["policy"] == policy}


def due(stories: Stories, policy: str = POLICY) -> tuple[str, str]:
    """Return reason and message of the condition Due."""
    conditions = (stories.kube.get("finetunepolicy", policy) or {}).get("status", {}).get("conditions", ())
    condition: dict[str, str] = next((c for c in conditions if c["type"] == "Due"), {})
    return condition.get("reason", ""), condition.get("message", "")


def wait_due(stories: Stories, reason: str, words: str, seconds: float = 180, policy: str = POLICY) -> None:
    """Wait until the condition Due gives that reason, and these words."""

    def said() -> bool:
        now = due(stories, policy)
        return now[0] == reason and words in now[1]

    stories.kube.wait(f"Due of {policy}: {reason} ({words})", said, seconds)


def fired(stories: Stories, known: set[str], seconds: float = 240, policy: str = POLICY) -> str:
    """Wait for a run that the policy makes beside the known ones; return its name. More than one are too many."""
    made: set[str] = set()

    def one() -> bool:
        nonlocal made
        made = run_names(stories, policy) - known
        return bool(made)

    stories.kube.wait(f"a run that {policy} makes", one, seconds)
    (name,) = made
    return name


def trigger(stories: Stories, run: str) -> dict[str, Any]:
    """Return why a run was made."""
    said: dict[str, Any] = (stories.kube.get("finetunerun", run) or {})["spec"].get("trigger", {})
    return said


def counted(stories: Stories, policy: str = POLICY) -> dict[str, Any]:
    """Return what the newest scan counted; empty where there is none."""
    status = (stories.kube.get("finetunepolicy", policy) or {}).get("status", {})
    counts: dict[str, Any] = (status.get("scan") or {}).get("counted") or {}
    return counts


def entry(stories: Stories, run: str) -> dict[str, Any]:
    """Return what the policy remembers of a run that it made."""
    entry: dict[str, Any] = next((e for e in stories.policy()["status"].get("fired", ()) if e["run"] == run), {})
    assert entry, json.dumps(stories.policy()["status"].get("fired"))
    return entry
