"""A training that is killed at random moments, beside one that is left alone: the same model, and what it costs.

python -m benchmarks.killed_training [--kills 10] [--epochs 30] [--seed N]

Each attempt is a process of its own, as in a pod; SIGKILL and SIGTERM come in turn, at a moment that chance draws from
the first epoch of the attempt on. The exit status is 1 when the artifacts differ, a whole epoch is lost, or scratch
is left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from finetune_trainer.environment import prepare_process
from trainer.pods import Pod
from trainer.world import NONCE, World, add_to_pool, context, index, training_parameters, write_anchor, write_new_pages

MOSAIC = {"mosaic": "0.5", "mixup": "0.2", "scale": "0.2", "translate": "0.1", "degrees": "2"}
LONGEST = 3.0
"""Seconds after an epoch's end, at most, until the signal comes: a few epochs of this model."""


@dataclass
class Story:
    """One training by its document and plan."""

    folder: Path
    document: dict[str, Any]
    plan: dict[str, str]

    def inputs(self, attempt: int) -> dict[str, Any]:
        earlier = [{"attempt": n, "nonce": f"{NONCE}{n}"} for n in range(1, attempt)]
        return {"attempt": attempt, "nonce": f"{NONCE}{attempt}", "plan": self.plan, "earlier": earlier}

    def killed(self, attempt: int, after: float, sent: signal.Signals) -> tuple[int, int]:
        """Kill an attempt so many seconds after its first epoch; return where it began, and its last whole epoch."""
        process = Pod(self.folder / f"attempt-{attempt}").start("train", self.document, self.inputs(attempt))
        assert process.stdout is not None
        began, last, deadline = None, 0, None
        for text in process.stdout:
            line = json.loads(text)
            if began is None and "batches each" in line.get("activity", ""):
                began = line["epoch"]
            if line.get("losses"):
                last = line["epoch"]
                deadline = deadline or time.monotonic() + after
            if deadline is not None and time.monotonic() >= deadline:
                break
        process.send_signal(sent)
        out, _ = process.communicate(timeout=60)
        ended = [json.loads(text) for text in out.splitlines() if text.startswith("{") and text.endswith("}")]
        return began or 0, max([last, *(line["epoch"] for line in ended if line.get("losses"))])

    def finished(self, attempt: int) -> tuple[dict[str, Any], float]:
        """Let an attempt train to the end; return its result and the seconds."""
        pod, started = Pod(self.folder / f"attempt-{attempt}"), time.monotonic()
        process = pod.start("train", self.document, self.inputs(attempt))
        process.communicate()  # as long as it takes: the machine may be busy
        assert process.returncode == 0, pod.message()
        result: dict[str, Any] = pod.message()["result"]
        return result, time.monotonic() - started


def story(folder: Path, epochs: int) -> Story:
    """Make a world, a base and a plan."""
    prepare_process(folder / "scratch", os.environ)
    from finetune_trainer.documents.inputs import PrepareInputs
    from finetune_trainer.steps.prepare import prepare
    from trainer.real_base import imported, plain_training

    world = World(folder / "world")
    write_anchor(world.anchor, train=64, val=8, test=24)
    index(world.anchor)
    add_to_pool(world.pool, write_new_pages(world.root / "new"), world.anchor)
    (folder / "import").mkdir()
    base = imported(plain_training(world, folder / "scratch"), world, folder / "import")
    parameters = training_parameters(epochs=epochs, nominalBatch=24, batch=8, closeMosaic=epochs // 3)
    parameters["augment"] |= MOSAIC
    changes: dict[str, Any] = {"mixing__ratio": "2", "training": parameters}
    parsed = world.parsed(base, **changes)
    plan = prepare(context("prepare", parsed, folder / "p"), parsed, PrepareInputs(1, NONCE)).plan
    return Story(folder, world.document(base, **changes), {"uri": plan.uri, "sha256": plan.sha256})


def main() -> int:
    """Run the comparison, print it, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    options = parser.parse_args()
    chance = random.Random(options.seed)
    print(f"{options.kills} kills in {options.epochs} epochs, seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        with redirect_stdout(StringIO()):
            killed = story(Path(folder), options.epochs)
        before = lost = 0
        for attempt in range(1, options.kills + 1):
            sent = (signal.SIGTERM, signal.SIGKILL)[attempt % 2]
            began, last = killed.killed(attempt, chance.uniform(0, LONGEST), sent)
            lost = max(lost, before - began)
            before = last
            print(f"attempt {attempt}: began after epoch {began}, {sent.name} after epoch {last}", flush=True)
        result, _ = killed.finished(options.kills + 1)
        lost = max(lost, before - result["resumed"][0]["epoch"])
        left = list((Path(folder) / "world" / "artifacts" / "ml" / "uid-1").glob("scratch"))
        alone = Story(
            Path(folder) / "alone", killed.document | {"artifacts": {"uri": f"file://{folder}/alone/out"}}, killed.plan
        )
        whole, seconds = alone.finished(1)
        same = whole["artifact"]["sha256"] == result["artifact"]["sha256"]
        print(
            f"left alone: {seconds:.0f} s; artifacts are {'the same' if same else 'OTHERS'}; {lost} whole epochs lost"
        )
    return 0 if same and not lost and not left else 1


if __name__ == "__main__":
    sys.exit(main())
