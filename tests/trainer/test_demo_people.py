"""The people of `make demo-loop` in front of the labelling tool: `pool add` takes back what they drew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from finetune_trainer.cli import main
from trainer.captured import Production
from trainer.world import CLASSES, World, page

PODS = Path(__file__).resolve().parents[2] / "demo" / "pods"


def test_boxes_drawn_by_hand_come_into_the_pool_and_are_not_the_truth(world: World) -> None:
    production, truth = Production(world.root / "production"), world.root / "verified" / "labels"
    truth.mkdir(parents=True)
    for seed in range(9000, 9006):
        production.image(seed, ".jpg", document=f"invoice-{seed}", stratum="Uncertain")
        (truth / f"invoice-{seed}.txt").write_text(page(seed)[1])
    exported, returned = world.root / "labelling", world.root / "returned.json"
    where = ["--to", str(exported), "--format", "label-studio", "--anchor", world.anchor.as_uri()]
    assert main(["production", "export", production.folder.as_uri(), *where]) == 0
    done = annotate(exported, truth.parent, returned)
    assert {name: done[name] for name in ("tasks", "skipped")} == {"tasks": 6, "skipped": 1}
    assert 0.75 < done["overlap"] < 0.99
    again = world.root / "again.json"
    annotate(exported, truth.parent, again)
    assert again.read_bytes() == returned.read_bytes(), "the same hands"
    pool = world.root / "labelled"
    back = ["--from", str(returned), "--format", "label-studio", "--captured", str(exported), "--only-labelled"]
    assert main(["pool", "add", pool.as_uri(), *back, "--anchor", world.anchor.as_uri()]) == 0
    (batch,) = (json.loads(path.read_text()) for path in (pool / "batches").glob("*.json"))
    samples = batch["samples"]
    assert {sample["verifiedBy"] for sample in samples} == {"ann@example.com", "bo@example.com"}
    documents = {sample["document"]: (pool / sample["label"]["path"]).read_text() for sample in samples}
    assert len(documents) == 5
    for document, label in documents.items():
        drawn, real = rows(label), rows((truth / f"{document}.txt").read_text())
        assert drawn.keys() == real.keys()
        for field, box in drawn.items():
            off = [abs(a - b) * 128 for a, b in zip(box, real[field], strict=True)]
            assert 0 < max(off) < 3.1, (document, field, off)


def annotate(exported: Path, truth: Path, returned: Path) -> dict[str, Any]:
    """Let the people label an export, and return what they say."""
    words = ["--export", exported, "--truth", truth, "--classes", ",".join(CLASSES), "--out", returned]
    made = subprocess.run(
        [sys.executable, str(PODS / "annotate.py"), *map(str, words)], env=os.environ | {"PYTHONPATH": str(PODS)},
        text=True, capture_output=True, timeout=240, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    said: dict[str, Any] = json.loads(made.stdout)
    return said


def rows(label: str) -> dict[str, list[float]]:
    """A YOLO label by class."""
    return {row.split()[0]: [float(value) for value in row.split()[1:]] for row in label.splitlines()}
