"""The run document: the snapshot of run, policy and base that every step of one run reads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

from .codec import (
    ClassNames,
    Decimal,
    Document,
    Fields,
    FileReference,
    ModelName,
    Seed,
    Share,
    Uid,
    Uri,
    VersionName,
    decode,
    encode,
)
from .serving import Serving

SCHEMA: Final = "finetune-operator.io/run-document/v1"

Epochs = Annotated[int, msgspec.Meta(ge=0, le=1000)]


class Owner(Document, frozen=True):
    """The object whose Job this is."""

    kind: Literal["FineTuneRun", "ModelVersion", "FineTunePolicy"]
    namespace: Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
    uid: Uid


class Location(Document, frozen=True):
    """A URI."""

    uri: Uri


KeepDays = Annotated[int, msgspec.Meta(ge=1, le=3650)]
DeploymentName = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]


class ProductionDocuments(Document, frozen=True):
    """Whose captured pages are drawn from; each that the third gate compares must be there for `review_days` more."""

    uri: Uri
    keep_days: KeepDays
    deployment: DeploymentName
    review_days: Annotated[int, msgspec.Meta(ge=1, le=3650)]


class FineTuneData(Document, frozen=True, omit_defaults=True):
    """What a run reads; `production` is None where no pages are captured."""

    anchor: Location
    pool: Location
    production: ProductionDocuments | None = None


class VerifyData(Document, frozen=True):
    """What a verification reads."""

    anchor: Location


class Base(Document, frozen=True, omit_defaults=True):
    """The base: its artifact, its checkpoint, and the plan that it was trained by, if there is one.

    It has the first `fields` classes of the document; None: all.
    """

    version: VersionName
    artifact: FileReference
    checkpoint: FileReference
    inputs: FileReference | None
    fields: Fields | None = None


class Mixing(Document, frozen=True):
    """How the mix is drawn; `ratio` is Auto (the table) or old pages per new page."""

    min_pool_samples: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    max_old: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    interpolation: Literal["Steps", "LogLog"]
    ratio: Annotated[str, msgspec.Meta(max_length=16, pattern=r"^(Auto|[0-9]{1,4}(\.[0-9]{1,6})?)$")]
    seed: Seed


class WholeMix(Document, frozen=True):
    """The mix of a rebuild, which is all that there is; the seed is of training."""

    min_pool_samples: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    seed: Seed


class Augment(Document, frozen=True):
    """Ultralytics' augmentation strengths; probabilities and shares in 0..1, degrees in degrees."""

    fliplr: Share
    flipud: Share
    mosaic: Share
    mixup: Share
    scale: Share
    translate: Share
    degrees: Decimal
    hsv_h: Share
    hsv_s: Share
    hsv_v: Share


class Training(Document, frozen=True):
    """Training parameters as they are meant. `auto` is no optimizer here: it would ignore lr0."""

    epochs: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    lr0: Share
    lrf: Share
    freeze: Annotated[int, msgspec.Meta(ge=0, le=200)]
    warmup_epochs: Decimal
    warmup_bias_lr: Share
    cos_lr: bool
    optimizer: Literal["AdamW", "Adam", "SGD", "MuSGD"]
    momentum: Share
    weight_decay: Share
    batch: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    nominal_batch: Annotated[int, msgspec.Meta(ge=1, le=65_536)]
    close_mosaic: Epochs
    patience: Epochs
    workers: Annotated[int, msgspec.Meta(ge=0, le=64)] | None
    amp: Literal["Auto", "BF16", "Off"]
    augment: Augment


class FieldsLimits(Document, frozen=True):
    """When a field counts as worse: points of AP50 and boxes fewer found, of fields with so many boxes."""

    review_at_points: Decimal = "3"
    min_boxes: Annotated[int, msgspec.Meta(ge=1)] = 30
    min_boxes_lost: Annotated[int, msgspec.Meta(ge=0)] = 3


class FloorLimits(Document, frozen=True):
    """When a field is hopeless: recall or precision at or below `minimum`, of fields with so many boxes."""

    minimum: Decimal = "0.50"
    min_boxes: Annotated[int, msgspec.Meta(ge=1)] = 30


Rule = Literal["Paired", "Literal"]


class ProductionLimits(Document, frozen=True):
    """How many documents of production are compared, of how many last days, and by which rule a field is worse."""

    documents: Annotated[int, msgspec.Meta(ge=1)] = 100
    days: Annotated[int, msgspec.Meta(ge=1)] = 30
    rule: Rule = "Paired"


class Gates(Document, frozen=True, forbid_unknown_fields=False):
    """The operator's rules of judgement, as far as they say what is to be told; nobody judges here."""

    fields: FieldsLimits = FieldsLimits()
    floor: FloorLimits = FloorLimits()
    production: ProductionLimits | None = None


class _Common(Document, frozen=True, tag_field="mode"):
    schema: Literal["finetune-operator.io/run-document/v1"]
    owner: Owner
    model: ModelName
    classes: ClassNames
    artifacts: Location


class _OfBase(_Common, frozen=True):
    serving: Serving
    base: Base


class _OfRun(_OfBase, frozen=True, kw_only=True):
    data: FineTuneData
    holdout: Share
    training: Training
    # When the run was made, by the cluster's clock; None in documents of before.
    created_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    # The operator's rules of judgement travel in the snapshot; here nobody judges.
    gates: dict[str, object] | None = None


class FineTuneDocument(_OfRun, frozen=True, kw_only=True, tag="FineTune"):
    """The document of a run that fine-tunes a base."""

    mixing: Mixing


class RebuildDocument(_OfRun, frozen=True, kw_only=True, tag="Rebuild"):
    """The document of a run that makes a new base.

    `start` is a checkpoint that is no version of ours; None: random weights in the base's own architecture.
    """

    mixing: WholeMix
    start: FileReference | None


class VerifyDocument(_OfBase, frozen=True, tag="Verify"):
    """The document of an imported base."""

    data: VerifyData


class Production(Document, frozen=True):
    """Where captured pages lie, and for how many days, that of the capture among them."""

    uri: Uri
    keep_days: KeepDays


class ScanData(Document, frozen=True):
    """What a scan reads."""

    anchor: Location
    pool: Location
    production: Production | None


class ScanDocument(_Common, frozen=True, tag="Scan"):
    """The document by which a policy's pool and captured pages are counted."""

    data: ScanData
    deployment: DeploymentName
    holdout: Share


TrainingDocument = FineTuneDocument | RebuildDocument
BaseDocument = TrainingDocument | VerifyDocument
RunDocument = BaseDocument | ScanDocument


def limits_of(document: TrainingDocument) -> Gates:
    """Return the limits by which fields are listed; StepError ContractViolated for limits that are none."""
    return decode(encode(document.gates or {}), Gates, "The run document's gates")


def parse_run_document(data: bytes) -> RunDocument:
    """Parse `run.json`; StepError ContractViolated for another schema, unknown fields or values out of range."""
    kind: type[RunDocument] = FineTuneDocument | RebuildDocument | VerifyDocument | ScanDocument  # type: ignore[assignment]
    return decode(data, kind, "The run document", SCHEMA)
