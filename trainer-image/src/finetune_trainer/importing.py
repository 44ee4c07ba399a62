"""`import`: a best.pt becomes artifact, checkpoint and the ModelVersion manifest that names them."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import yaml

from finetune_trainer.data.anchor import check_classes
from finetune_trainer.documents.run import Serving
from finetune_trainer.errors import Reason, bad_input
from finetune_trainer.storage import Storage, join, normalise, sha256_of

_VERSION: Final = re.compile(r"^base_v[1-9][0-9]{0,5}$")
_NAME: Final = re.compile(r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$")


@dataclass(frozen=True)
class ImportRequest:
    """What `import` was asked for; `classes` None takes the checkpoint's."""

    checkpoint: Path
    model: str
    version: str
    artifacts: str
    namespace: str
    classes: tuple[str, ...] | None
    serving: Serving
    pretrained: str | None

    @staticmethod
    def from_options(options: argparse.Namespace) -> ImportRequest:
        """Checked options; StepError ContractViolated says which one is wrong."""
        serving = {
            "imageSize": options.image_size,
            "confidence": options.confidence,
            "nmsIou": options.nms_iou,
            "maxDetections": options.max_detections,
        }
        try:
            checked = msgspec.convert(serving, Serving)
        except msgspec.ValidationError as error:
            raise bad_input(
                Reason.CONTRACT_VIOLATED,
                f"The serving settings are not valid: {error}.",
                "--image-size is a multiple of 32; --confidence and --nms-iou are shares (0..1).",
            ) from error
        if not _VERSION.match(options.version):
            raise bad_input(Reason.CONTRACT_VIOLATED, f"--version is {options.version!r}.", "Name it base_v1, base_v2.")
        for flag in ("model", "namespace"):
            if not _NAME.match(getattr(options, flag)):
                raise bad_input(
                    Reason.CONTRACT_VIOLATED,
                    f"--{flag} is {getattr(options, flag)!r}.",
                    "Use a DNS label of at most 40 characters.",
                )
        classes = tuple(c.strip() for c in options.classes.split(",")) if options.classes else None
        return ImportRequest(
            options.checkpoint,
            options.model,
            options.version,
            normalise(options.artifacts),
            options.namespace,
            classes,
            checked,
            options.pretrained,
        )


def import_base(request: ImportRequest, scratch: Path) -> str:
    """Export, upload (write-once) and return the ModelVersion as YAML.

    Raises StepError BaseUnusable for a fine-tune or an unreadable checkpoint, ClassListDiffers for other classes.
    """
    from finetune_trainer.evaluation.detector import Lineage, serving_metadata
    from finetune_trainer.training.checkpoint import (
        check_detector,
        check_is_base,
        class_names,
        load_checkpoint,
        publishable,
    )
    from finetune_trainer.training.export import export_onnx, save_checkpoint
    from finetune_trainer.training.settings import prepare_ultralytics

    prepare_ultralytics(scratch / "home" / "yolo")
    where = str(request.checkpoint)
    if not request.checkpoint.is_file():
        raise bad_input(Reason.BASE_UNUSABLE, f"{where} does not exist.", "Name the best.pt of a training.")
    loaded = load_checkpoint(request.checkpoint, where)
    check_detector(loaded, where)
    check_is_base(loaded, where, request.pretrained)
    classes = class_names(loaded)
    if request.classes is not None:
        check_classes(classes, request.classes, f"The checkpoint {where}")
    lineage = Lineage(type="Base", base=request.version)
    checkpoint = save_checkpoint(publishable(loaded, lineage), scratch / "checkpoint.pt")
    model = export_onnx(checkpoint, serving_metadata(classes, request.serving), lineage).read_bytes()
    return _upload(request, classes, model, checkpoint.read_bytes())


def _upload(request: ImportRequest, classes: tuple[str, ...], model: bytes, checkpoint: bytes) -> str:
    storage = Storage()
    # The digest in the path keeps two imports of one version apart: an artifact is written once.
    folder = join(
        request.artifacts, request.namespace, f"import-{request.model}-{request.version}-{sha256_of(model)[:12]}"
    )
    storage.write_once(join(folder, "model.onnx"), model)
    stored = join(folder, f"checkpoint-{sha256_of(checkpoint)[:12]}.pt")
    storage.write_once(stored, checkpoint)
    manifest = {
        "apiVersion": "finetune-operator.io/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {
            "name": f"{request.model}-{request.version.replace('_', '-')}",
            "namespace": request.namespace,
        },
        "spec": {
            "model": request.model,
            "version": request.version,
            "type": "Base",
            "artifact": {
                "uri": join(folder, "model.onnx"),
                "sha256": sha256_of(model),
                "format": "onnx",
                "bytes": len(model),
            },
            "checkpoint": {"uri": stored, "sha256": sha256_of(checkpoint)},
            "classes": list(classes),
            "serving": msgspec.to_builtins(request.serving),
        },
    }
    return yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True)
