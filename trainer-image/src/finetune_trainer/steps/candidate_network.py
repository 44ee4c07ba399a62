"""Whether a candidate is what its run's training could make: the network that it begins with, with sound weights."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..artifact.metadata import ArtifactMetadata, serving_metadata
from ..documents.classes import check_classes
from ..documents.codec import FileReference
from ..documents.inputs import EvaluateInputs
from ..documents.run import FineTuneDocument, TrainingDocument
from ..errors import Reason, StepError, bad_input
from ..evaluation.architecture import Network, difference, farthest, take_apart
from ..evaluation.detector import Detector
from ..evaluation.pages import Page
from ..evaluation.postprocess import Thresholds
from ..evaluation.preprocess import Pixels, Tensor, as_input, decode, placed
from ..evaluation.rounding import answers_alike, check_rounding
from ..storage import normalise
from .context import StepContext

if TYPE_CHECKING:  # they import torch, which most evaluations need not
    from .start import Start

_SAME_WEIGHT: Final = 0.001
"""How far a weight of the artifact may be from the checkpoint's, as a share of its tensor's greatest.

Folding batch norms rounds otherwise on other CPUs, by some 1e-6; fp16, in which a checkpoint has its weights, by 5e-4.
"""

_PAGES: Final = 8
"""Pages by which it is seen what hangs on rounding: each is answered some dozen times."""

_MOST_PAGES: Final = 24
"""The same, with those that are added for fields that few pages have."""

_BOXES: Final = 4
"""Of each field, as labelled: of one or two that are others nobody tells whether all are."""


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Pages as a network takes them, made of their squares as they are gone through: these take a quarter of it."""

    squares: Sequence[Pixels]

    def __iter__(self) -> Iterator[Tensor]:
        return map(as_input, self.squares)


def check_candidate_network(
    context: StepContext, document: TrainingDocument, inputs: EvaluateInputs, candidate: Detector, base: Detector
) -> bytes | None:
    """Return what a new base's checkpoint is as an artifact; None for a fine-tune, whose checkpoint nobody trains from.

    Raise StepError ContractViolated for a candidate that is another network than its training begins with.

    What the base's own artifact is made of suffices for a fine-tune; where that was exported by another release, and
    for a rebuild, what training begins with is exported anew. A rebuild's checkpoint is opened, too: later runs begin
    with it.
    """
    network, uri = take_apart(candidate.file.read_bytes()), inputs.candidate.uri
    fine_tunes = isinstance(document, FineTuneDocument)
    if fine_tunes and difference(network, take_apart(base.file.read_bytes())) is None:
        return None
    context.progress.report(percent=5, activity="comparing networks")
    folder = context.scratch / "networks"
    folder.mkdir(exist_ok=True)
    start = _fetch_start(context, document, folder)
    differs = difference(network, _untrained(document, start, folder))
    if differs is not None:
        raise bad_input(
            Reason.CONTRACT_VIOLATED,
            f"The candidate {uri} is another network than the one that its training begins with: {differs}.",
            "Train with the trainer image of this release. What was taken over from a run of an earlier one is trained "
            "anew with another spec.mixing.seed.",
        )
    if fine_tunes or inputs.checkpoint is None:
        return None
    return _check_checkpoint(context, document, inputs.checkpoint, network, folder)


def check_candidate_answers(
    context: StepContext, inputs: EvaluateInputs, candidate: Detector, pages: Sequence[Page], exported: bytes | None
) -> None:
    """Raise StepError BaseUnusable for a candidate whose answers hang on how sums are rounded, by some of the pages.

    So does one that computes with numbers that are too large for sums in any order. ContractViolated where its
    checkpoint answers them otherwise, which is `exported` as an artifact.

    Which pages these are, and how its weights are changed, hangs on the attempt's nonce: nobody knew it who trained.
    """
    context.progress.report(percent=90, activity="comparing roundings")
    content = candidate.file.read_bytes()
    chance = random.Random(f"{inputs.nonce} {inputs.candidate.sha256}")  # noqa: S311 - chance, and no secret
    images = (decode(page.image()) for page in _chosen(pages, chance))
    size = candidate.serving.image_size
    answered = _Inputs([placed(image, size)[0] for image in images if image is not None])
    threads, seed = context.cpus.threads, chance.getrandbits(64)
    where, served = f"The candidate {inputs.candidate.uri}", Thresholds.of(candidate.serving)
    counted = context.progress.counting("comparing roundings", "changes", percent=(90, 95))
    check_rounding(content, where, answered, served, threads=threads, seed=seed, counted=counted)
    if exported is None or inputs.checkpoint is None:
        return
    if not answers_alike(exported, content, answered, threads=threads):
        raise _another_model(inputs.checkpoint)


def _chosen(pages: Sequence[Page], chance: random.Random) -> list[Page]:
    """Return pages by chance, and more of them that have boxes of a field with few on these."""
    drawn = chance.sample(list(pages), len(pages))
    chosen, left = drawn[:_PAGES], drawn[_PAGES:]
    boxes = Counter(box.field for page in chosen for box in page.labels)
    for page in left:
        fields = Counter(box.field for box in page.labels)
        if len(chosen) < _MOST_PAGES and any(boxes[field] < _BOXES for field in fields):
            chosen.append(page)
            boxes += fields
    return chosen


def _fetch_start(context: StepContext, document: TrainingDocument, folder: Path) -> Start:
    from ..training.settings import prepare_ultralytics

    prepare_ultralytics(context.scratch / "home" / "yolo")
    from .start import fetch_start

    return fetch_start(context, document, folder)


def _metadata(document: TrainingDocument) -> ArtifactMetadata:
    return ArtifactMetadata(serving_metadata(document.classes, document.serving), None)


def _untrained(document: TrainingDocument, start: Start, folder: Path) -> Network:
    from ..training.export import export_onnx
    from ..training.start import begun

    untrained = begun(start.checkpoint, "the start", document.classes, target=folder / "untrained.pt")
    return take_apart(export_onnx(untrained, _metadata(document)).read_bytes())


def _check_checkpoint(
    context: StepContext, document: TrainingDocument, checkpoint: FileReference, network: Network, folder: Path
) -> bytes:
    """Return a new base's checkpoint as an artifact: what a training that begins with it takes over.

    Raise StepError BaseUnusable or ContractViolated unless it is the model of the candidate's artifact.
    """
    from ..training.checkpoint import check_detector, check_is_base, class_names, load_checkpoint
    from ..training.export import export_onnx
    from ..training.start import begun, check_same_architecture
    from ..training.usable import check_usable

    where, target = _checkpoint_named(checkpoint), folder / "candidate.pt"
    fetched = context.progress.fetching("the candidate's checkpoint", percent=5)
    context.storage.fetch(normalise(checkpoint.uri), target, sha256=checkpoint.sha256, fetched=fetched)
    loaded = load_checkpoint(target, where)
    check_detector(loaded, where)
    check_usable(loaded, where, document.serving.image_size)
    check_is_base(loaded, where, pretrained=None)
    check_classes(class_names(loaded), where, expected=document.classes)
    untrained = load_checkpoint(folder / "untrained.pt", "the start")
    check_same_architecture(loaded, untrained, where)
    taken = begun(target, where, document.classes, target=folder / "taken.pt")
    exported = export_onnx(taken, _metadata(document)).read_bytes()
    parts = take_apart(exported)
    if difference(network, parts) is not None or farthest(network, parts) > _SAME_WEIGHT:
        raise _another_model(checkpoint)
    return exported


def _checkpoint_named(checkpoint: FileReference) -> str:
    return f"The candidate's checkpoint {checkpoint.uri}"


def _another_model(checkpoint: FileReference) -> StepError:
    return bad_input(
        Reason.CONTRACT_VIOLATED,
        f"{_checkpoint_named(checkpoint)} is another model than the candidate's artifact.",
        "Train with the trainer image of this release, which exports the checkpoint that it publishes.",
    )
