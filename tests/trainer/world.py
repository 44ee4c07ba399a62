"""Small worlds for the trainer's tests: pages with three kinds of marks, data sets, documents, a model of seconds."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from finetune_trainer.cpu import Cpus
from finetune_trainer.data.anchor import build_index, write_index
from finetune_trainer.data.corrections import Corrected, NewLabels, correct
from finetune_trainer.data.pool_batch import Added, NewBatch, Verification, add_batch
from finetune_trainer.data.withdrawals import Leaving, Withdrawn, withdraw
from finetune_trainer.documents.anchor import AnchorIndex
from finetune_trainer.documents.production import ProductionOwner
from finetune_trainer.documents.run import (
    FineTuneDocument,
    RebuildDocument,
    RunDocument,
    VerifyDocument,
    parse_run_document,
)
from finetune_trainer.progress import Progress
from finetune_trainer.steps.context import StepContext
from finetune_trainer.steps.publish import Publisher
from finetune_trainer.storage import Storage

RUN_DOCUMENT = Path(__file__).resolve().parents[1] / "contract" / "messages" / "run-finetune.json"
CLASSES = ("number", "date", "total")
NONCE = "4f2a"
SIDE = 128  # pixels of a page and of the network's input
BATCH_TIME = datetime(2026, 11, 20, 12, tzinfo=UTC)

# Two levels of stride 4 and 8, a thousandth of the smallest published model, with YOLO26's two heads.
TINY_MODEL = {
    "nc": len(CLASSES),
    "end2end": True,
    "reg_max": 1,
    "scales": {"n": [0.5, 0.125, 256]},
    "backbone": [
        [-1, 1, "Conv", [96, 3, 2]],
        [-1, 1, "Conv", [160, 3, 2]],
        [-1, 1, "C3k2", [160, False, 0.25]],
        [-1, 1, "Conv", [256, 3, 2]],
        [-1, 1, "C3k2", [256, False, 0.5]],
    ],
    "head": [[-1, 1, "Conv", [256, 3, 1]], [[2, 5], 1, "Detect", ["nc"]]],
}


def page(seed: int, strange: bool = False) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], str]:
    """A page with one mark of each class, and its label. `strange` pages (new suppliers) are dark on light grey."""
    random = np.random.default_rng(seed)
    paper, ink = (205, 90) if strange else (255, 0)
    image = np.full((SIDE, SIDE, 3), paper, np.uint8)
    rows = []
    tops = random.permutation([8, 48, 88])
    for field, top in enumerate(tops):
        width, height = int(random.integers(28, 44)), int(random.integers(14, 22))
        x, y = int(random.integers(4, SIDE - width - 4)), int(top + random.integers(0, 10))
        _mark(image, field, (x, y, x + width, y + height), ink)
        centre = ((x + width / 2) / SIDE, (y + height / 2) / SIDE)
        rows.append(f"{field} {centre[0]:.6f} {centre[1]:.6f} {width / SIDE:.6f} {height / SIDE:.6f}")
    noise = random.normal(0, 6, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), "\n".join(rows) + "\n"


def _mark(image: np.ndarray[Any, np.dtype[np.uint8]], field: int, box: tuple[int, int, int, int], ink: int) -> None:
    x1, y1, x2, y2 = box
    cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), (ink,) * 3, -1 if field == 0 else 2)
    if field == 2:
        for x in range(x1, x2, 5):
            cv2.line(image, (x, y1), (x, y2 - 1), (ink,) * 3, 2)


def write_pages(folder: Path, split: str, seeds: range, strange: bool = False, suffix: str = ".png") -> None:
    """Pages `page-<seed>` as images/<split> and labels/<split>."""
    images, labels = folder / "images" / split, folder / "labels" / split
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        image, label = page(seed, strange)
        cv2.imwrite(str(images / f"page-{seed}{suffix}"), image)
        (labels / f"page-{seed}.txt").write_text(label)


def write_anchor(folder: Path, train: int = 24, val: int = 4, test: int = 12) -> Path:
    """An anchor data set with data.yaml, not yet indexed."""
    write_pages(folder, "train", range(train))
    write_pages(folder, "val", range(1000, 1000 + val))
    write_pages(folder, "test", range(2000, 2000 + test))
    names = dict(enumerate(CLASSES))
    content = {"train": "images/train", "val": "images/val", "test": "images/test", "names": names}
    (folder / "data.yaml").write_text(yaml.safe_dump(content))
    return folder


def write_new_pages(folder: Path, count: int = 12, first: int = 5000, strange: bool = True) -> Path:
    """A YOLO folder as a labelling tool exports it."""
    write_pages(folder, "train", range(first, first + count), strange)
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": list(CLASSES)}))
    return folder


def index(anchor: Path) -> AnchorIndex:
    """Index the anchor, as `anchor index` does."""
    storage = Storage()
    made = build_index(storage, anchor.as_uri()).index
    write_index(storage, anchor.as_uri(), made)
    return made


VERIFICATION = Verification("ann@example.com", date(2026, 11, 20), "report-1")


def add_to_pool(
    pool: Path, folder: Path, anchor: Path, documents: dict[str, str] | None = None, *, only_new: bool = False
) -> Added:
    """Add a folder to the pool, as `pool add` does."""
    new = NewBatch(folder.as_uri(), anchor.as_uri(), VERIFICATION, documents or {}, only_new=only_new)
    return add_batch(Storage(), pool.as_uri(), new, BATCH_TIME)


def relabel(folder: Path, first: int, count: int) -> None:
    """Write other labels for pages of a folder, as somebody who looked again: the boxes of the page before."""
    for seed in range(first, first + count):
        (folder / "labels" / "train" / f"page-{seed}.txt").write_text(page(seed + 77)[1])


def correct_pool(pool: Path, folder: Path, anchor: Path, **changes: Any) -> Corrected:
    """Correct the pool by a folder, as `pool correct` does."""
    labels = NewLabels(folder.as_uri(), anchor.as_uri(), "bo@example.com", date(2026, 11, 24), "report-2")
    return correct(Storage(), pool.as_uri(), replace(labels, **changes), BATCH_TIME)


def withdraw_from(pool: Path, **what: Any) -> Withdrawn:
    """Withdraw pages from the pool, as `pool withdraw` does."""
    return withdraw(Storage(), pool.as_uri(), Leaving(by="cy@example.com", reason="asked for", **what), BATCH_TIME)


def files_of(pool: Path) -> dict[str, bytes]:
    """Everything below a pool, by path."""
    return {str(p.relative_to(pool)): p.read_bytes() for p in pool.rglob("*") if p.is_file()}


@dataclass(frozen=True)
class World:
    """An indexed anchor, a pool, and where artifacts go, below one folder."""

    root: Path

    @property
    def anchor(self) -> Path:
        return self.root / "anchor"

    @property
    def pool(self) -> Path:
        return self.root / "pool"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    def document(self, base: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """A run document; `changes` replace values, dotted names by double underscores (`mixing__seed=2`)."""
        content: dict[str, Any] = {
            "schema": "finetune-operator.io/run-document/v1",
            "owner": {"kind": "FineTuneRun", "namespace": "ml", "name": "first", "uid": "uid-1"},
            "mode": "FineTune",
            "model": "marks",
            "classes": list(CLASSES),
            "serving": {**json.loads(RUN_DOCUMENT.read_text())["serving"], "imageSize": SIDE},
            "data": {"anchor": {"uri": self.anchor.as_uri()}, "pool": {"uri": self.pool.as_uri()}},
            "artifacts": {"uri": (self.artifacts / "ml" / "uid-1").as_uri()},
            "base": base,
            "mixing": {
                "minPoolSamples": 10,
                "maxOld": 3000,
                "interpolation": "Steps",
                "ratio": "Auto",
                "seed": 7,
            },
            "holdout": "0",
            "training": training_parameters(),
            "gates": {"regression": {"reviewAtPoints": "1", "rejectAbovePoints": "3"}},
        }
        for name, value in changes.items():
            *parents, last = name.split("__")
            target = content
            for parent in parents:
                target = target[parent]
            target[last] = value
        return content

    def parsed(self, base: dict[str, Any], **changes: Any) -> FineTuneDocument:
        """The run document as a value."""
        parsed = parse_run_document(json.dumps(self.document(base, **changes)).encode())
        assert isinstance(parsed, FineTuneDocument)
        return parsed

    def rebuild(self, base: dict[str, Any], start: dict[str, str] | None = None, **changes: Any) -> RebuildDocument:
        """The document of a run that makes a new base."""
        content = self.document(base, **{"owner__uid": "uid-rebuild", **changes})
        content |= {"mode": "Rebuild", "start": start}
        content["mixing"] = {name: content["mixing"][name] for name in ("minPoolSamples", "seed")}
        parsed = parse_run_document(json.dumps(content).encode())
        assert isinstance(parsed, RebuildDocument)
        return parsed

    def verification(self, base: dict[str, Any], **changes: Any) -> VerifyDocument:
        """The document of an imported base."""
        content = self.document(base, **changes)
        for name in ("mixing", "holdout", "training", "gates"):
            del content[name]
        del content["data"]["pool"]
        content["mode"] = "Verify"
        content["owner"]["kind"] = "ModelVersion"
        parsed = parse_run_document(json.dumps(content).encode())
        assert isinstance(parsed, VerifyDocument)
        return parsed


def training_parameters(**changes: Any) -> dict[str, Any]:
    """A policy's defaults as the operator writes them, for two epochs; `changes` replace values, `augment` whole."""
    defaults = json.loads(RUN_DOCUMENT.read_text())["training"]
    return {**defaults, "epochs": 2, "freeze": 2, "nominalBatch": 16, **changes}


def context(step: Any, document: RunDocument, scratch: Path, attempt: int = 1) -> StepContext:
    """What a step is given, writing below `scratch` and the document's artifacts."""
    scratch.mkdir(parents=True, exist_ok=True)
    storage = Storage()
    round_ = 1 if step == "evaluate" else None
    publisher = Publisher(
        storage,
        artifacts=document.artifacts.uri,
        owner=document.owner.uid,
        step=step,
        attempt=attempt,
        round_=round_,
        nonce=NONCE,
    )
    return StepContext(storage, publisher, Progress(step), scratch, cpus=Cpus(2, threads=1))


def owner_document(namespace: str, deployment: str) -> ProductionOwner:
    """Return what a server writes of whose production pages lie there."""
    return ProductionOwner("finetune-operator.io/production/v1", namespace, deployment)
