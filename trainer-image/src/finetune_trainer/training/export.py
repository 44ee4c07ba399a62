"""From a checkpoint to the artifact: ONNX of fixed shape, with its serving settings bound into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import onnx

from finetune_trainer.documents.codec import encode
from finetune_trainer.documents.serving import LINEAGE_KEY, SERVING_KEY, Lineage, ServingMetadata
from finetune_trainer.evaluation.detector import open_detector

# What ultralytics writes that names the machine or the moment; the same weights should give the same digest.
_DROPPED: Final = frozenset({"date", "description", "args"})


def save_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> Path:
    """Write a checkpoint dictionary."""
    import torch

    torch.save(dict(checkpoint), path)
    return path


def export_onnx(checkpoint: Path, serving: ServingMetadata, lineage: Lineage) -> Path:
    """Export the checkpoint beside itself as model.onnx, check its shape, and return the path.

    The one-to-many head is exported, with NMS outside: the same boxes from evaluator and server, whatever the
    runtime. (`nms=None` is that; `False` would select the one-to-one head, `True` put NMS into the graph.)
    """
    from ultralytics import YOLO

    exported = YOLO(str(checkpoint), task="detect").export(
        format="onnx",
        imgsz=serving.image_size,
        batch=1,
        dynamic=False,
        simplify=True,
        nms=None,
        device="cpu",
        verbose=False,
    )
    model = onnx.load(str(exported))
    kept = {p.key: p.value for p in model.metadata_props if p.key not in _DROPPED}
    kept |= {SERVING_KEY: encode(serving).decode(), LINEAGE_KEY: msgspec.json.encode(lineage).decode()}
    onnx.helper.set_model_props(model, kept)
    target = checkpoint.with_name("model.onnx")
    target.write_bytes(model.SerializeToString(deterministic=True))
    open_detector(target, "the exported model", 1)
    return target
