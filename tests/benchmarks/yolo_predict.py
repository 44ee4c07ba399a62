"""Ultralytics' side of the server's throughput, in the trainer's environment: makes model and pages, and predicts.

python -m benchmarks.yolo_predict make FOLDER SIZE   model.pt, model.onnx and pages/ in FOLDER
python -m benchmarks.yolo_predict predict FOLDER SIZE THREADS SECONDS   prints pages a second
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import yaml

from benchmarks.page_files import CLASSES, drawn
from finetune_trainer.artifact.metadata import ArtifactMetadata, serving_metadata
from finetune_trainer.documents.serving import Serving
from finetune_trainer.environment import prepare_process

SHIPPED, OURS = "yolo11.yaml", "yolo11n.yaml"
"""The name ends in the scale's letter. Random weights: what a page costs, not what is found on it, is measured."""
SCALE = (0.33, 0.125, 256)
"""Depth, width and most channels: of the example's model, which leaves more to what is around the network."""
PAGES = 40
WARM_UP = 5


def make(folder: Path, size: int) -> None:
    """Write the model, as checkpoint and as the artifact that is served, and pages as high as its input."""
    import ultralytics
    from ultralytics import YOLO

    from finetune_trainer.training.export import export_onnx

    definition = yaml.safe_load((Path(ultralytics.__file__).parent / "cfg/models/11" / SHIPPED).read_text())
    recipe = folder / OURS
    recipe.write_text(yaml.safe_dump(definition | {"nc": len(CLASSES), "scales": {"n": list(SCALE)}}))
    model = YOLO(str(recipe), task="detect")
    model.model.names = dict(enumerate(CLASSES))
    model.save(folder / "model.pt")
    metadata = serving_metadata(CLASSES, Serving(size, "0.25", "0.7", 300))
    export_onnx(folder / "model.pt", ArtifactMetadata(metadata, None))
    (folder / "pages").mkdir()
    for number in range(PAGES):
        cv2.imwrite(str(folder / "pages" / f"page-{number:02d}.jpg"), drawn(number, size, round(size / 2**0.5)))


def predict(folder: Path, size: int, threads: int, seconds: float) -> float:
    """Return the pages a second of `YOLO.predict` on the checkpoint, with its defaults, decoding included."""
    import torch
    from ultralytics import YOLO

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    model = YOLO(str(folder / "model.pt"), task="detect")
    contents = [page.read_bytes() for page in sorted((folder / "pages").iterdir())]

    def read(content: bytes) -> None:
        page = np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR))
        [result] = model.predict(page, imgsz=size, conf=0.25, iou=0.7, device="cpu", verbose=False)
        _ = result.boxes.xyxy.numpy()

    for content in contents[:WARM_UP]:
        read(content)
    started, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds:
        read(contents[done % len(contents)])
        done += 1
    return done / elapsed


def main() -> None:
    """Do as the arguments say, with ultralytics' state in a folder that goes."""
    what, folder, size, *more = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="bench-yolo-") as scratch:
        prepare_process(Path(scratch), os.environ)
        from finetune_trainer.training.settings import prepare_ultralytics

        prepare_ultralytics(Path(scratch, "home", "yolo"))
        if what == "make":
            make(Path(folder), int(size))
        else:
            print(predict(Path(folder), int(size), int(more[0]), float(more[1])))


if __name__ == "__main__":
    main()
