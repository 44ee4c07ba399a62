"""`import`: a best.pt becomes artifact, checkpoint and the ModelVersion manifest that names them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml

from finetune_trainer.data.anchor import check_classes
from finetune_trainer.documents.classes import check_class_names
from finetune_trainer.documents.codec import Located
from finetune_trainer.documents.model_version import (
    BaseVersion,
    PlainServing,
    check_artifacts,
    check_names,
    checked_serving,
    object_name,
)
from finetune_trainer.documents.result import Artifact
from finetune_trainer.documents.serving import Lineage
from finetune_trainer.errors import Reason, bad_input
from finetune_trainer.storage import Storage, join, normalise, sha256_of


@dataclass(frozen=True)
class ImportRequest:
    """What `import` was asked for; `classes` None takes the checkpoint's."""

    checkpoint: Path
    model: str
    version: str
    artifacts: str
    namespace: str
    classes: tuple[str, ...] | None
    serving: PlainServing
    pretrained: str | None

    @staticmethod
    def from_options(options: argparse.Namespace) -> ImportRequest:
        """Checked options; StepError ContractViolated or ClassListInvalid says which one is wrong."""
        serving = {
            "imageSize": options.image_size,
            "confidence": options.confidence,
            "nmsIou": options.nms_iou,
            "maxDetections": options.max_detections,
        }
        checked = checked_serving(serving)
        check_names(options.model, options.version, options.namespace)
        artifacts = normalise(options.artifacts)
        check_artifacts(artifacts)
        classes = tuple(c.strip() for c in options.classes.split(",")) if options.classes else None
        if classes is not None:
            check_class_names(classes, "--classes")
        return ImportRequest(
            options.checkpoint,
            options.model,
            options.version,
            artifacts,
            options.namespace,
            classes,
            checked,
            options.pretrained,
        )


def import_base(request: ImportRequest, scratch: Path) -> str:
    """Export, upload (write-once) and return the ModelVersion as YAML.

    Raises StepError BaseUnusable for a fine-tune or an unreadable checkpoint, ClassListDiffers for other classes.
    """
    from finetune_trainer.evaluation.detector import serving_metadata
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
    check_class_names(classes, f"The checkpoint {where}")
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
    spec = BaseVersion(
        model=request.model,
        version=request.version,
        artifact=Artifact(join(folder, "model.onnx"), sha256_of(model), len(model)),
        checkpoint=Located(stored, sha256_of(checkpoint)),
        classes=classes,
        serving=request.serving,
    )
    manifest = {
        "apiVersion": "finetune-operator.io/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {
            "name": object_name(request.model, request.version),
            "namespace": request.namespace,
        },
        "spec": msgspec.to_builtins(spec),
    }
    return yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True)
