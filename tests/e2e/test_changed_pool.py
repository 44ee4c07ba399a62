"""A pool that people change: one page corrected and one erased, as the next run counts them."""

import json

from e2e.stories import Stories, quick

POOL = "/data/pool/changed"
AGAIN = "/tmp/looked-again"

LAY_OUT = f"""
import shutil
from pathlib import Path

again, verified = Path("{AGAIN}"), Path("/data/verified")
for folder in (again, Path("{POOL}")):
    shutil.rmtree(folder, ignore_errors=True)
shutil.copytree("/data/pool/invoices", "{POOL}")
first, second, *_ = sorted((verified / "images").iterdir())
for folder in ("images", "labels"):
    (again / folder).mkdir(parents=True)
shutil.copy(first, again / "images")
shutil.copy(verified / "data.yaml", again)
row, *rest = (verified / "labels" / f"{{first.stem}}.txt").read_text().splitlines()
field, x, *others = row.split()
moved = " ".join([field, f"{{float(x) + 0.005:.6f}}", *others])
(again / "labels" / f"{{first.stem}}.txt").write_text("\\n".join([moved, *rest]) + "\\n")
print(second)
"""
"""Runs in the workbench pod: a copy of the pool, a page with a label that somebody looked at again; prints another."""


def test_a_corrected_and_an_erased_page_are_what_the_next_run_counts(stories: Stories) -> None:
    """The demo's run was judged on these pages: of 60 one is new, for its label, and one is gone."""
    kube, tale = stories.kube, stories.tale
    erased = kube.kubectl("exec", "-i", "workbench", "--", "python3", "-", stdin=LAY_OUT).split()[-1]
    who = ("--verified-by", "bo@example.com", "--verified-at", "2026-11-24", "--reason", "report-2")
    tale.trainer("pool", "correct", POOL, "--from", AGAIN, "--anchor", "/data/anchor", *who)
    said = ("--withdrawn-by", "cy@example.com", "--reason", "the supplier asked for it")
    tale.trainer("pool", "withdraw", POOL, "--image", erased, *said, "--erase")
    stories.patch_policy(data={"pool": {"uri": f"file://{POOL}"}})
    try:
        stories.start("changed", **quick("changed"))
        kube.wait("what was drawn", lambda: "inputs" in stories.run_status("changed"), 180)
        drawn = stories.run_status("changed")["inputs"]
    finally:
        kube.kubectl("delete", "finetunerun", "changed", "--ignore-not-found")
        stories.patch_policy(data={"pool": {"uri": "file:///data/pool/invoices"}})
    names = ("pool", "withdrawn", "outside", "new", "corrected")
    assert {name: drawn[name] for name in names} == dict(zip(names, (59, 1, 59, 1, 1), strict=True)), drawn
    lineage = json.loads(tale.trainer("pool", "lineage", POOL, "--artifacts", "/data/artifacts"))
    both = [run for run in lineage["runs"] if run["artifacts"] and run["withdrawn"] == run["corrected"] == 1]
    assert both, "the demo's run trained on both"
