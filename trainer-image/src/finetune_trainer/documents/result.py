"""What a step reports: its result, its manifest, its progress."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from .codec import Attempt, Bytes, Count, Document, Fields, FileReference, Round, Sha256, Uid, Uri
from .plan import Counts, Digests, NewSetCounts

RESULT_SCHEMA: Final = "finetune-operator.io/step-result/v1"
MANIFEST_SCHEMA: Final = "finetune-operator.io/step-manifest/v1"
PROGRESS_SCHEMA: Final = "finetune-operator.io/progress/v1"
RESULT_LIMIT: Final = 4095
"""Bytes of a termination message: x-max-bytes of contracts/result.schema.json.

The kubelet cuts it at 4,096 bytes; half a JSON text would be no result at all.
"""

StepName = Literal["prepare", "train", "evaluate", "verify", "scan"]


class DrawnDocuments(Document, frozen=True):
    """The documents of production that were drawn; `labelled` of them have labels of the pool."""

    documents: int
    labelled: int


class PrepareResult(Counts, frozen=True, kw_only=True, omit_defaults=True):
    """What the plan says, in short: its counts, how many old pages for a new one, the digests of its sets."""

    plan: FileReference
    ratio: str
    new_set: NewSetCounts
    digests: Digests
    production: DrawnDocuments | None = None


class Artifact(Document, frozen=True):
    """The exported model."""

    uri: Uri
    sha256: Sha256
    bytes: Bytes
    format: Literal["onnx"] = "onnx"


class ResumedFrom(Document, frozen=True):
    """An earlier attempt that the training goes on from: its last epoch that counts, and what it took up to there."""

    attempt: Attempt
    epoch: Count
    seconds: Count
    device: str


class TrainResult(Document, frozen=True):
    """`batch` is what ran (it may be less than asked for); `losses` are the last epoch's means.

    `resumed` are the attempts that it goes on from, the newest first.
    """

    artifact: Artifact
    checkpoint: FileReference
    epochs: int
    batch: int
    images: int
    seconds: int
    device: str
    losses: dict[str, str]
    resumed: Annotated[tuple[ResumedFrom, ...], msgspec.Meta(max_length=8)]


class Columns(Document, frozen=True):
    """A number for each listed field, of each model; `live` is null when the base is live, or nothing."""

    candidate: tuple[int, ...]
    base: tuple[int, ...]
    live: tuple[int, ...] | None


class Drops(Document, frozen=True):
    """The fields whose AP50 (in millionths) dropped most, by column, of so many that were measured."""

    measured: int
    field: tuple[int, ...]
    boxes: tuple[int, ...]
    matched: Columns
    ap50: Columns


class Floors(Document, frozen=True):
    """The fields of least recall or precision, by column, of so many that were measured."""

    measured: int
    field: tuple[int, ...]
    boxes: tuple[int, ...]
    matched: Columns
    detections: Columns


class TestSet(Document, frozen=True, omit_defaults=True):
    """What mAP50 was measured on; `drops` and `floor` are its worst fields, in a verification none."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    digest: str
    images: int
    boxes: int
    drops: Drops | None = None
    floor: Floors | None = None


class NewSet(Document, frozen=True, omit_defaults=True):
    """What the rates were measured on; `fresh` counts documents that the live version has not seen."""

    digest: str
    documents: int
    fresh: int
    trained_on: bool
    floor: Floors | None = None


class ProductionSet(Document, frozen=True):
    """What became of documents of production: how many, and of the worst of all `measured` fields, by column.

    `old` are right by what is live, `lost` of these not by the candidate, `gained` by the candidate alone.
    """

    digest: str
    drawn: int
    vanished: int
    documents: int
    labelled: int
    measured: int
    field: tuple[int, ...]
    old: tuple[int, ...]
    lost: tuple[int, ...]
    gained: tuple[int, ...]


class Baseline(Document, frozen=True):
    """What the candidate sees on so many documents of production; no gate looks at it.

    By column, of the fields that it detects on the fewest: documents on which it does. `confidence` is its mean over
    each field's best box on each page, "" where nothing is found.
    """

    documents: int
    field: tuple[int, ...]
    detected: tuple[int, ...]
    confidence: str


class Rates(Document, frozen=True):
    """Detection of labelled boxes at the serving confidence; shares as six-digit decimals, "" where undefined."""

    boxes: int
    matched: int
    rate: str
    document_rate: str
    precision: str


class Measured(Document, frozen=True):
    """One model: mAP50 on the test set, rates on new samples, and there what production is held against.

    `mean_confidence` is that of each field's best box, "" where none was found; `inference_seconds` the 95th percentile
    of the model's own time for a page, "" where there was none.
    """

    sha256: str
    map50: str
    pool: Rates | None
    fresh: Rates | None
    mean_confidence: str
    inference_seconds: str


class Models(Document, frozen=True):
    """All models of one evaluation; `live` is null when the base is live, or nothing."""

    candidate: Measured
    base: Measured
    live: Measured | None


class AddedFields(Document, frozen=True):
    """The worst of `measured` classes that not all models have, by column, as the candidate finds them."""

    measured: int
    field: tuple[int, ...]
    boxes: tuple[int, ...]
    matched: tuple[int, ...]
    detections: tuple[int, ...]


class Added(Document, frozen=True):
    """The classes that not all models of an evaluation have: their boxes on both sets, and their worst on either.

    Every other figure of the result is of the first `known` classes, which all models have.
    """

    known: Fields
    test_boxes: Count
    new_boxes: Count
    test: AddedFields
    new: AddedFields


class ListedPool(Document, frozen=True):
    """The pool that a plan was drawn from, by digest and count, as `documents.plan.Counts` says what they are."""

    digest: Sha256
    samples: Count
    withdrawn: Count
    outside: Count


class EvaluateResult(Document, frozen=True, omit_defaults=True):
    """Measurements; the operator judges them. `production` is None where the third gate is not asked for.

    `baseline` is None where no documents of production were to be had, `added` where all models have all classes.
    """

    settings: str
    evaluator: str
    test_set: TestSet
    new_set: NewSet
    models: Models
    production: ProductionSet | None = None
    baseline: Baseline | None = None
    added: Added | None = None
    pool: ListedPool | None = None


class VerifiedModels(Document, frozen=True):
    """The one model of a verification."""

    base: Measured


class VerifyResult(Document, frozen=True):
    """Measurements of an imported base, and the artifact as this step hashed it."""

    settings: str
    evaluator: str
    test_set: TestSet
    models: VerifiedModels
    artifact: Artifact


class CapturedPages(Document, frozen=True):
    """Captured pages by stratum; `oldest` is the oldest day with a page (YYYY-MM-DD, UTC), None where there is none."""

    random: int
    uncertain: int
    reported: int
    oldest: str | None


class WaitingPages(Document, frozen=True):
    """Captured pages that wait to be labelled; `fields` by class index, for the sake of which field."""

    pages: int
    fields: tuple[int, ...]


class WeeklyReports(Document, frozen=True):
    """Documents that were reported in a complete week (YYYY-Www, ISO 8601, UTC), each once."""

    week: str
    documents: int


class ScanResult(Document, frozen=True):
    """What was counted; `pages` and `waiting` are None where the document names no production, `answered` where no
    window says.
    """

    pool: int
    held_out: int
    withdrawn: int
    outside: int
    new: int
    corrected: int
    by_image: int
    listing: str
    pages: CapturedPages | None
    waiting: WaitingPages | None
    reports: tuple[WeeklyReports, ...]
    answered: int | None
    expired_days: int


StepResult = PrepareResult | TrainResult | EvaluateResult | VerifyResult | ScanResult


class ErrorReport(Document, frozen=True, rename={"error_class": "class"}):
    """Why a step failed."""

    error_class: str
    reason: Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Za-z]*$")]
    message: str
    remedy: str


class Emitted(Document, frozen=True, omit_defaults=True):
    """The termination message. `manifest` is added when the manifest's own digest is known."""

    schema: Literal["finetune-operator.io/step-result/v1"]
    step: StepName
    owner: Annotated[str, msgspec.Meta(max_length=64)]
    attempt: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    outcome: Literal["Succeeded", "Failed"]
    manifest: FileReference | None = None
    result: dict[str, object] | None = None
    error: ErrorReport | None = None


class ManifestFile(Document, frozen=True):
    """Path relative to the manifest's folder."""

    path: str
    sha256: Sha256
    bytes: Bytes


class Manifest(Document, frozen=True):
    """Everything that one step made; what no manifest lists does not exist."""

    schema: Literal["finetune-operator.io/step-manifest/v1"]
    step: StepName
    owner: Uid
    attempt: Attempt
    round: Round | None
    files: tuple[ManifestFile, ...]
    emitted: dict[str, object]


class ProgressLine(Document, frozen=True, kw_only=True, omit_defaults=True):
    """One line of standard output; `at` is RFC 3339 in UTC. What is None is left out."""

    schema: Literal["finetune-operator.io/progress/v1"]
    step: StepName
    epoch: int | None = None
    epochs: int | None = None
    percent: int
    remaining_seconds: int | None = None
    losses: dict[str, str] | None = None
    activity: str | None = None
    at: str
