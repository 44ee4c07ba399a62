"""`import BEST.pt`: a checkpoint becomes artifact, checkpoint and the ModelVersion manifest that names them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from ..digests import sha256_of
from ..documents.classes import check_class_names, check_classes
from ..documents.codec import FileReference
from ..documents.model_version import (
    BaseVersion,
    PlainServing,
    check_artifacts,
    check_names,
    checked_serving,
    object_name,
)
from ..documents.result import Artifact
from ..documents.serving import Lineage
from ..errors import Reason, bad_input
from ..local_files import is_file, is_folder

HELP: Final = "make a ModelVersion of a best.pt; prints the manifest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("checkpoint", type=Path, metavar="BEST.pt", help="what a training of ultralytics left")
    parser.add_argument("--model", required=True, help="the model's name, as in the policy")
    parser.add_argument("--version", required=True, help="base_v1, base_v2, ...")
    parser.add_argument("--artifacts", required=True, metavar="URI", help="the policy's artifacts.uri")
    parser.add_argument("--namespace", required=True, help="of the ModelVersion")
    parser.add_argument("--classes", help="comma-separated, in order; default: the checkpoint's")
    parser.add_argument(
        "--image-size", type=int, required=True, metavar="PIXELS", help="what it was trained with, a multiple of 32"
    )
    parser.add_argument("--confidence", default="0.25", help="serving confidence (default: %(default)s)")
    parser.add_argument("--nms-iou", default="0.7", help="serving NMS IoU (default: %(default)s)")
    parser.add_argument("--max-detections", type=int, default=300, help="default: %(default)s")
    parser.add_argument("--pretrained", metavar="NAME.pt", help="general weights that training may have started from")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, scratch: Path) -> str:
    """Import the base, and return its manifest."""
    return import_base(ImportRequest.from_options(options), scratch).rstrip("\n")


@dataclass(frozen=True, slots=True)
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
        """Return the checked options; StepError ContractViolated or ClassListInvalid says which one is wrong."""
        from ..storage import normalise

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
            checkpoint=options.checkpoint,
            model=options.model,
            version=options.version,
            artifacts=artifacts,
            namespace=options.namespace,
            classes=classes,
            serving=checked,
            pretrained=options.pretrained,
        )


def import_base(request: ImportRequest, scratch: Path) -> str:
    """Export, upload (write-once) and return the ModelVersion as YAML.

    Raises StepError BaseUnusable for a fine-tune or an unreadable checkpoint, ClassListDiffers for other classes.
    """
    from ..artifact.metadata import ArtifactMetadata, serving_metadata
    from ..training.checkpoint import check_detector, check_is_base, class_names, load_checkpoint, publishable
    from ..training.export import export_onnx, save_checkpoint
    from ..training.settings import prepare_ultralytics
    from ..training.usable import check_usable

    prepare_ultralytics(scratch / "home" / "yolo")
    where = str(request.checkpoint)
    if not is_file(request.checkpoint):
        what = "is no file" if is_folder(request.checkpoint) else "does not exist"
        raise bad_input(Reason.BASE_UNUSABLE, f"{where} {what}.", "Name the best.pt of a training.")
    loaded = load_checkpoint(_under_plain_name(request.checkpoint, scratch), where)
    check_detector(loaded, where)
    check_usable(loaded, where, request.serving.image_size)
    check_is_base(loaded, where, pretrained=request.pretrained)
    classes = class_names(loaded)
    check_class_names(classes, f"The checkpoint {where}")
    if request.classes is not None:
        check_classes(classes, f"The checkpoint {where}", expected=request.classes)
    lineage = Lineage(type="Base", model=request.model, base=request.version)
    checkpoint = save_checkpoint(publishable(loaded, lineage), scratch / "checkpoint.pt")
    metadata = ArtifactMetadata(serving_metadata(classes, request.serving), lineage)
    artifact = export_onnx(checkpoint, metadata)
    return _upload(request, classes, artifact=artifact.read_bytes(), checkpoint=checkpoint.read_bytes())


def _under_plain_name(checkpoint: Path, scratch: Path) -> Path:
    """Return the file by a name in which ultralytics sees nothing.

    It reads another file than it is given where a name has an apostrophe, or is that of published weights: yolov5nu.pt
    for yolov5n.pt, from beside it or from the network.
    """
    link = scratch / "given.pt"
    link.symlink_to(checkpoint.absolute())
    return link


def _upload(request: ImportRequest, classes: tuple[str, ...], *, artifact: bytes, checkpoint: bytes) -> str:
    import yaml

    from ..storage import Storage, join

    storage = Storage()
    # The digest in the path keeps two imports of one version apart: an artifact is written once.
    folder = join(
        request.artifacts, request.namespace, f"import-{request.model}-{request.version}-{sha256_of(artifact)[:12]}"
    )
    storage.write_once(join(folder, "model.onnx"), artifact)
    stored = join(folder, f"checkpoint-{sha256_of(checkpoint)[:12]}.pt")
    storage.write_once(stored, checkpoint)
    spec = BaseVersion(
        model=request.model,
        version=request.version,
        artifact=Artifact(join(folder, "model.onnx"), sha256_of(artifact), len(artifact)),
        checkpoint=FileReference(stored, sha256_of(checkpoint)),
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
