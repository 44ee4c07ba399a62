"""Fetching artifacts and checking that they are what the documents say."""

from __future__ import annotations

from collections.abc import Sequence

from ..artifact.metadata import check_lineage
from ..documents.classes import check_classes
from ..documents.codec import FileReference
from ..documents.run import RunDocument
from ..errors import Reason, StepError, bad_input
from ..evaluation.detector import Detector, open_detector
from ..storage import normalise
from .context import StepContext


def fetch_detector(context: StepContext, artifact: FileReference, name: str, classes: Sequence[str]) -> Detector:
    """Download, hash and open an artifact; StepError DigestMismatch, BaseUnusable or ClassListDiffers."""
    target = context.scratch / f"{name}-{artifact.sha256[:12]}.onnx"
    if not target.exists():
        fetched = context.progress.fetching(f"the model {name}", percent=0)
        context.storage.fetch(normalise(artifact.uri), target, sha256=artifact.sha256, fetched=fetched)
    detector = open_detector(target, artifact.uri, threads=context.cpus)
    check_classes(detector.serving.classes, f"The model {artifact.uri}", expected=classes)
    return detector


def fetch_base(context: StepContext, document: RunDocument) -> Detector:
    """Return the base's detector; a base that cannot be read, is a fine-tune or has another size is BaseUnusable."""
    base, size = document.base, document.serving.image_size
    try:
        detector = fetch_detector(context, base.artifact, "base", document.classes)
    except StepError as error:
        if error.reason is not Reason.DATA_UNREADABLE:
            raise
        raise bad_input(
            Reason.BASE_UNUSABLE, f"The artifact of {base.version}: {error.message}", error.remedy
        ) from error
    if detector.lineage is not None:
        check_lineage(detector.lineage, f"{base.version} ({base.artifact.uri})")
    if detector.serving.image_size != size:
        raise bad_input(
            Reason.BASE_UNUSABLE,
            f"{base.version} takes {detector.serving.image_size} pixels, its serving settings say {size}.",
            f"Import the base with --image-size {size} and apply the ModelVersion that the import prints, or change "
            "serving.imageSize.",
        )
    return detector
