"""Few pages are in memory at a time: what many large pages take, at the door and in an evaluation, does not grow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from onnx import helper, numpy_helper

from finetune_trainer.storage import local_path
from trainer.networks import BOX, SIZE, network
from trainer.world import World

SIDES = (3000, 2400)
"""Rows and columns: 21 MB decoded."""
PAGES = 24
BEYOND = 60 * 1024
"""KiB beyond one page's decode; all pages at once would be 500 MB decoded, and 150 MB as files."""


def peak(*command: str) -> int:
    """The most memory that a process has had, in KiB; what it had of this one's does not count.

    The kernel counts what a process had before it became another program, so a small one stands between.
    """
    between = (
        "import os, subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdout=2); "
        "_, status, used = os.wait4(p.pid, 0); "
        "print(used.ru_maxrss); sys.exit(os.waitstatus_to_exitcode(status))"
    )
    source = str(Path(__file__).parents[2] / "trainer-image" / "src")
    environ = {**os.environ, "PYTHONPATH": source, "PYTHONSAFEPATH": "1"}
    said = subprocess.run(
        [sys.executable, "-c", between, *command], env=environ, stdout=subprocess.PIPE, check=True, text=True
    )
    return int(said.stdout)


def test_adding_large_pages_takes_the_memory_of_one(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    random = np.random.default_rng(1)
    page = random.integers(0, 256, (*SIDES, 3), np.uint8)
    for number in range(PAGES):
        page[: 400 * (1 + number % 7), : 90 * (number + 1)] += 1
        cv2.imwrite(str(folder / "images" / f"{number}.jpg"), page)
        (folder / "labels" / f"{number}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (folder / "classes.txt").write_text("number\ndate\ntotal\n")
    decode = "import cv2, sys; cv2.imread(sys.argv[1])"
    one = peak(sys.executable, "-c", decode, str(folder / "images" / "0.jpg"))
    add = ["pool", "add", str(world.pool), "--from", str(folder), "--anchor", str(world.anchor)]
    verified = ["--verified-by", "ann", "--verified-at", "2026-11-20", "--source", "scanner"]
    assert peak(sys.executable, "-m", "finetune_trainer", *add, *verified) < one + BEYOND


MEASURE = """
import sys
from pathlib import Path
from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.plan import Sample
from finetune_trainer.evaluation.detector import open_detector
from finetune_trainer.evaluation.evaluate import VALIDATION, run_model
from finetune_trainer.evaluation.pages import load_pages
from finetune_trainer.storage import Storage
model, *pages = map(Path, sys.argv[1:])
digest = sha256_of(pages[0].read_bytes())
samples = [Sample(FileReference(page.as_uri(), digest), None, page.stat().st_size, 0) for page in pages]
results, _ = run_model(open_detector(model, "it", threads=1), load_pages(Storage(), samples, 3), VALIDATION)
assert len(results) == len(pages)
"""


def test_measuring_many_pages_takes_the_memory_of_few(base: dict[str, Any], tmp_path: Path) -> None:
    """Sixty files of 7 MB are 430 MB; an evaluation of hundreds of scans would not fit into its pod."""
    page = np.random.default_rng(1).integers(0, 256, (1500, 1600, 3), np.uint8)
    first = tmp_path / "0.bmp"
    cv2.imwrite(str(first), page)
    pages = [first, *(tmp_path / f"{number}.bmp" for number in range(1, 60))]
    for other in pages[1:]:
        other.hardlink_to(first)
    model = str(local_path(base["artifact"]["uri"]))
    few, many = (peak(sys.executable, "-c", MEASURE, model, *map(str, pages[:n])) for n in (12, 60))
    assert many < few + BEYOND


ROUNDING = """
import sys
from pathlib import Path
import numpy as np
from finetune_trainer.evaluation.postprocess import Thresholds
from finetune_trainer.evaluation.rounding import check_rounding
model, size = Path(sys.argv[1]), int(sys.argv[2])
page = np.ones((1, 3, size, size), np.float32)
check_rounding(model.read_bytes(), "it", [page], Thresholds(0.25, 0.7, 300), threads=1, seed=1)
"""


def of_layers(folder: Path, count: int) -> Path:
    """A network of so many layers of 8 MB each, which finds the same box on each page."""
    layers = [helper.make_node("Neg", [f"layer_{n}"], [f"layer_{n + 1}"]) for n in range(count)]
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["page"], axes=[1], keepdims=1),
        helper.make_node("Expand", ["page", "wide"], ["layer_0"]),
        *layers,
        helper.make_node("ReduceMin", [f"layer_{count}"], ["least"], keepdims=0),
        helper.make_node("Sub", ["least", "least"], ["nothing"]),
        helper.make_node("Add", ["boxes", "nothing"], ["output0"]),
    ]
    wide = numpy_helper.from_array(np.array([1, 2048, SIZE, SIZE]), "wide")
    folder.mkdir()
    return network(folder, nodes, wide, numpy_helper.from_array(BOX, "boxes"))


@pytest.mark.row("R289")
def test_comparing_roundings_of_many_layers_takes_the_memory_of_few(tmp_path: Path) -> None:
    """Those of yolo11m at 1280 pixels are 4 GB, which is all that a pod for evaluations has."""
    models = (of_layers(tmp_path / str(count), count) for count in (5, 60))
    few, many = (peak(sys.executable, "-c", ROUNDING, str(model), str(SIZE)) for model in models)
    assert many < few + BEYOND
