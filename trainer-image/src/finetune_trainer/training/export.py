"""From a checkpoint to the artifact: ONNX of fixed shape, with its metadata bound into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import onnx

from ..artifact.metadata import ArtifactMetadata, written
from ..evaluation.detector import open_detector

_DROPPED: Final = frozenset({"date", "description", "args"})
"""What ultralytics writes that names the machine or the moment; the same weights should give the same digest."""


def save_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> Path:
    """Write a checkpoint dictionary, and return the path."""
    import torch

    torch.save(dict(checkpoint), path)
    return path


def export_onnx(checkpoint: Path, metadata: ArtifactMetadata) -> Path:
    """Export the checkpoint beside itself as model.onnx, check its shape, and return the path.

    The one-to-many head is exported, with NMS outside: the same boxes from evaluator and server, whatever the
    runtime. (`nms=None` is that; `False` would select the one-to-one head, `True` put NMS into the graph.)
    """
    from ultralytics import YOLO

    exported = YOLO(str(checkpoint), task="detect").export(
        format="onnx",
        imgsz=metadata.serving.image_size,
        batch=1,
        dynamic=False,
        simplify=True,
        nms=None,
        device="cpu",
        verbose=False,
    )
    model = onnx.load(str(exported))
    kept = {p.key: p.value for p in model.metadata_props if p.key not in _DROPPED}
    onnx.helper.set_model_props(model, kept | written(metadata))
    target = checkpoint.with_name("model.onnx")
    target.write_bytes(model.SerializeToString(deterministic=True))
    open_detector(target, "the exported model", threads=1)
    return target
