"""Trains the example's base model from random weights. The only module here that needs ultralytics."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from .fields import FIELDS
from .recipe import AUGMENT, BASE_TRAINING, IMAGE_SIZE, SCALE


def train_base(data: Path, out: Path, *, seed: int, threads: int) -> None:
    """Trains on `data` (a YOLO data set with data.yaml) and writes the last epoch's checkpoint to `out`.

    One JSON line per epoch on standard output tells how far it is.

    Raises:
        FileNotFoundError: `data` has no data.yaml.
        ValueError: fewer than one thread.
    """
    if not (data / "data.yaml").is_file():
        raise FileNotFoundError(f"{data / 'data.yaml'} is missing; --data names the folder anchor/ that generate wrote")
    if threads < 1:
        raise ValueError(f"threads is {threads}; it must be at least 1")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="train-base-") as scratch:
        last = _train(data, Path(scratch), seed=seed, threads=threads)
        # Moved into place whole: who finds the checkpoint finds all of it.
        partial = out.with_name(f".{out.name}.partial")
        shutil.copyfile(last, partial)
        partial.replace(out)


def _train(data: Path, scratch: Path, *, seed: int, threads: int) -> Path:
    _prepare_environment(scratch, threads)
    import torch
    from ultralytics import YOLO

    def use_processor_well(trainer: Any) -> None:
        # ultralytics sets torch to one core fewer than there are, which on two cores is half of them.
        torch.set_num_threads(threads)
        # Measured on two AVX-512 cores: 29 instead of 22 images per second of processor time. Saving undoes it.
        trainer.model.to(memory_format=torch.channels_last)

    def report(trainer: Any) -> None:
        losses = {name: round(float(value), 4) for name, value in trainer.tloss.items()}
        print(json.dumps({"epoch": trainer.epoch + 1, "epochs": trainer.epochs, **losses}), flush=True)

    model = YOLO(_model_file(scratch))
    model.add_callback("on_train_start", use_processor_well)
    model.add_callback("on_train_epoch_end", report)
    model.train(
        data=str(_scratch_copy(data, scratch)),
        imgsz=IMAGE_SIZE,
        seed=seed,
        deterministic=True,
        device="cpu",
        workers=0,
        cache="ram",  # a few hundred small pages; decoding them again each epoch would cost a tenth of the time
        val=False,  # the operator's own evaluator measures the base
        plots=False,
        verbose=False,
        amp=False,
        project=str(scratch),
        name="base",
        exist_ok=True,
        **BASE_TRAINING,
        **AUGMENT,
    )
    return scratch / "base" / "weights" / "last.pt"


def _prepare_environment(scratch: Path, threads: int) -> None:
    """Keeps ultralytics off the network and out of read-only places; before it is imported."""
    os.environ.update(
        YOLO_OFFLINE="true",
        YOLO_AUTOINSTALL="false",
        YOLO_CONFIG_DIR=str(scratch),
        MPLCONFIGDIR=str(scratch),
        YOLO_VERBOSE="false",
        # Importing ultralytics sets this to 1 where it is unset: then a second thread is of no use.
        OMP_NUM_THREADS=str(threads),
    )
    # Threads that spin while they wait starve each other where cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _scratch_copy(data: Path, scratch: Path) -> Path:
    """The data set in a scratch folder: ultralytics writes caches beside labels, and may repair images in place."""
    target = scratch / "data"
    shutil.copytree(data, target)
    return target / "data.yaml"


def _model_file(scratch: Path) -> Path:
    """The model's definition: yolo11 as ultralytics ships it, with the recipe's scale and our classes."""
    import ultralytics

    shipped = Path(ultralytics.__file__).parent / "cfg" / "models" / "11" / "yolo11.yaml"
    definition = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    # The name ends in the scale's letter, because ultralytics reads the scale from the file's name.
    definition |= {"nc": len(FIELDS), "scales": {"n": list(SCALE)}}
    target = scratch / "yolo11n.yaml"
    target.write_text(yaml.safe_dump(definition), encoding="utf-8")
    return target
