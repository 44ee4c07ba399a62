"""What a run's training begins with: fetched, and checked that it may."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..documents.classes import check_classes
from ..documents.run import FineTuneDocument, TrainingDocument
from ..storage import normalise
from ..training.checkpoint import check_is_base, class_names, load_checkpoint
from ..training.start import check_start, random_start
from ..training.usable import check_usable
from .context import StepContext
from .models import classes_of_base


@dataclass(frozen=True, slots=True)
class Start:
    """The checkpoint that training begins with, what it comes from, and whether every weight of it is taken over."""

    checkpoint: Path
    digest: str
    whole: bool


def fetch_start(context: StepContext, document: TrainingDocument, folder: Path) -> Start:
    """Return what training begins with: a fine-tune with the base, a rebuild as its document says.

    StepError BaseUnusable or ClassListDiffers for a base or a start that cannot be trained from.
    """
    base = document.base.checkpoint.sha256
    if isinstance(document, FineTuneDocument):
        return Start(_fetch_base(context, document, folder / "base.pt"), base, whole=True)
    target, start = folder / "start.pt", document.start
    if start is None:
        loaded = load_checkpoint(_fetch_base(context, document, folder / "base.pt"), document.base.version)
        random_start(loaded, document.classes, seed=document.mixing.seed, target=target)
        return Start(target, base, whole=True)
    fetched = context.progress.fetching("the start", percent=0, epochs=document.training.epochs)
    context.storage.fetch(normalise(start.uri), target, sha256=start.sha256, fetched=fetched)
    check_start(target, start.uri, document.serving.image_size)
    return Start(target, start.sha256, whole=False)


def _fetch_base(context: StepContext, document: TrainingDocument, target: Path) -> Path:
    version, checkpoint = document.base.version, document.base.checkpoint
    fetched = context.progress.fetching("the base", percent=0, epochs=document.training.epochs)
    context.storage.fetch(normalise(checkpoint.uri), target, sha256=checkpoint.sha256, fetched=fetched)
    loaded = load_checkpoint(target, version)
    check_usable(loaded, version, document.serving.image_size)
    check_is_base(loaded, version, pretrained=target.name)
    check_classes(class_names(loaded), f"The checkpoint of {version}", expected=classes_of_base(document))
    return target
