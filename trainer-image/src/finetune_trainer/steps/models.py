"""Fetching artifacts and checking that they are what the documents say."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from ..artifact.metadata import check_lineage
from ..documents.classes import check_classes, labelled_fields
from ..documents.codec import FileReference
from ..documents.run import BaseDocument, RebuildDocument, TrainingDocument, VerifyDocument
from ..documents.serving import Lineage, Serving
from ..errors import Reason, StepError, bad_input
from ..evaluation.detector import Detector, open_detector
from ..storage import normalise
from .context import StepContext


def classes_of_base(document: BaseDocument) -> tuple[str, ...]:
    """Return the classes that the base has: all of the document's, unless a rebuild is to have more."""
    return document.classes[: document.base.fields]


def fetch_detector(context: StepContext, artifact: FileReference, name: str, classes: Sequence[str]) -> Detector:
    """Download, hash and open an artifact; StepError DigestMismatch, BaseUnusable or ClassListDiffers."""
    detector = _fetch(context, artifact, name)
    check_classes(detector.serving.classes, f"The model {artifact.uri}", expected=classes)
    return detector


def fetch_live(context: StepContext, document: TrainingDocument, artifact: FileReference) -> Detector:
    """Return the detector of what is live; it may lack classes that were appended since.

    StepError ClassListDiffers for one that has more than the candidate: that would lose them.
    """
    detector = _fetch(context, artifact, "live")
    has, what = detector.serving.classes, f"What is live ({artifact.uri})"
    fields = labelled_fields(has, what, expected=document.classes)
    if fields is not None and fields > len(document.classes):
        raise bad_input(
            Reason.CLASS_LIST_DIFFERS,
            f"{what} also has {', '.join(has[len(document.classes) :])}, which {document.base.version} has not, and so "
            "no fine-tune of it.",
            "Start a run from the base of what is live; or go back to a version without these classes first.",
        )
    return detector


def _fetch(context: StepContext, artifact: FileReference, name: str) -> Detector:
    target = context.scratch / f"{name}-{artifact.sha256[:12]}.onnx"
    if not target.exists():
        fetched = context.progress.fetching(f"the model {name}", percent=0)
        context.storage.fetch(normalise(artifact.uri), target, sha256=artifact.sha256, fetched=fetched)
    return open_detector(target, artifact.uri, threads=context.cpus.threads)


def fetch_base(context: StepContext, document: BaseDocument) -> Detector:
    """Return the base's detector; a base that cannot be read, is a fine-tune or has another size is BaseUnusable."""
    base, size = document.base, document.serving.image_size
    try:
        detector = fetch_detector(context, base.artifact, "base", classes_of_base(document))
    except StepError as error:
        # What cannot be read says nothing about the bytes: a verification is tried again.
        if error.reason is not Reason.DATA_UNREADABLE or isinstance(document, VerifyDocument):
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
    differs = serving_difference(detector.serving, document.serving)
    if differs is not None:
        raise bad_input(
            Reason.BASE_UNUSABLE,
            f"The artifact of {base.version} ({base.artifact.uri}) is served otherwise than the run document says: "
            f"{differs}.",
            "Import the base with these settings and apply the ModelVersion that the import prints, or change serving.",
        )
    return detector


def fetch_candidate(context: StepContext, document: BaseDocument, artifact: FileReference) -> Detector:
    """Return the candidate's detector.

    StepError ContractViolated for one that another run made, or that calls itself another model's or of another type,
    and for one that would be served otherwise than it is measured.
    """
    detector = fetch_detector(context, artifact, "candidate", document.classes)
    _check_maker(detector.lineage, document, artifact)
    _check_kind(detector.lineage, document, artifact)
    differs = serving_difference(detector.serving, document.serving)
    if differs is not None:
        raise bad_input(
            Reason.CONTRACT_VIOLATED,
            f"The candidate {artifact.uri} would be served otherwise than it is measured: {differs}.",
            "Train with the trainer image of this release, which writes the run document's settings into the artifact.",
        )
    return detector


def _check_maker(lineage: Lineage | None, document: BaseDocument, artifact: FileReference) -> None:
    """Raise StepError ContractViolated for a candidate that lies where the run writes, and names another run as maker.

    The operator takes two runs with the same bytes for one that made them and one that copied them, and the first that
    is recorded for the one that made them. What was taken over from an earlier run lies where that one wrote; what
    names nobody is of a trainer that is not ours.
    """
    maker, owner, own = lineage.owner if lineage is not None else None, document.owner.uid, document.artifacts.uri
    if maker in (None, owner) or not normalise(artifact.uri).startswith(f"{normalise(own)}/"):
        return
    raise bad_input(
        Reason.CONTRACT_VIOLATED,
        f"The candidate {artifact.uri} says that run {maker} made it, and it lies where run {owner} writes.",
        "See who may read what other runs write, and what the pods of this training ran; then make a new run.",
    )


def _check_kind(lineage: Lineage | None, document: BaseDocument, artifact: FileReference) -> None:
    """Raise StepError ContractViolated for a candidate that calls itself another model's, or of another type.

    The server's answers and series bear the model that the artifact names: under another name no alert finds them.
    By its type later runs tell what they may start from.
    """
    if lineage is None:
        return
    kind = "Base" if isinstance(document, RebuildDocument) else "FineTuned"
    own = document.model
    if lineage.type == kind and lineage.model in (None, own):
        return
    raise bad_input(
        Reason.CONTRACT_VIOLATED,
        f"The candidate {artifact.uri} says that it is a {lineage.type} of {lineage.model or own}, and it is to be a "
        f"{kind} of {own}.",
        "Train with the trainer image of this release, which writes what the run document says into the artifact.",
    )


def serving_difference(artifact: Serving, document: Serving) -> str | None:
    """Return in what an artifact's own serving settings differ from the run document's; None where in nothing."""
    pairs = [(name, getattr(artifact, name), getattr(document, name)) for name in Serving.__struct_fields__]
    different = [f"{name} {mine}, not {asked}" for name, mine, asked in pairs if Decimal(mine) != Decimal(asked)]
    return ", ".join(different) or None
