"""What a step says at its end, in its pod's termination message: the result of its kind, or why it failed.

`contracts/result.schema.json` is the source; tests/contract holds these types to it.
"""

from typing import Literal

from .meta import Artifact, FileReference
from .run import Step
from .scan import CapturedPages, WaitingPages, WeeklyReports
from .value import Value

RESULT_SCHEMA = "finetune-operator.io/step-result/v1"

EXIT_BAD_INPUT = 10
EXIT_BAD_TRAINING = 11
EXIT_OUT_OF_MEMORY = 12
EXIT_UNAVAILABLE = 13
EXIT_PREEMPTED = 143


class ResultError(Value, frozen=True, kw_only=True, rename={"kind": "class"}):
    """Why a step failed, and how to mend it."""

    kind: str = "Internal"
    reason: str = "Internal"
    message: str = ""
    remedy: str = ""


class Scores(Value, frozen=True, kw_only=True):
    """Gate 2's figures of one model on one set of documents; shares are decimal strings, "" where undefined."""

    boxes: int
    matched: int
    rate: str
    document_rate: str = ""
    precision: str = ""


class Measured(Value, frozen=True, kw_only=True):
    """One model on the test set (mAP50, a decimal string: decide/gates says what counts) and on the new samples.

    `mean_confidence` and `inference_seconds` are what production is held against; the last release had neither.
    """

    sha256: str
    map50: str
    pool: Scores | None = None
    fresh: Scores | None = None
    mean_confidence: str = ""
    inference_seconds: str = ""


class Models(Value, frozen=True, kw_only=True):
    """The models of one evaluation."""

    base: Measured
    candidate: Measured | None = None
    live: Measured | None = None


class Columns(Value, frozen=True, kw_only=True):
    """A number for each listed field, of each model; None where no other version than the base is live."""

    candidate: tuple[int, ...]
    base: tuple[int, ...]
    live: tuple[int, ...] | None = None


class Drops(Value, frozen=True, kw_only=True):
    """The fields whose AP50 dropped most, by column; `ap50` in millionths, `measured` of how many fields."""

    measured: int
    field: tuple[int, ...]
    boxes: tuple[int, ...]
    matched: Columns
    ap50: Columns


class Floors(Value, frozen=True, kw_only=True):
    """The fields of least recall or precision, by column; `measured` of how many fields."""

    measured: int
    field: tuple[int, ...]
    boxes: tuple[int, ...]
    matched: Columns
    detections: Columns


class TestImages(Value, frozen=True, kw_only=True):
    """The held-out original test set; `drops` and `floor` are the worst fields on it."""

    digest: str
    images: int
    boxes: int
    drops: Drops | None = None
    floor: Floors | None = None


class NewSet(Value, frozen=True, kw_only=True):
    """The new samples of Gate 2; `floor` is the worst fields on them."""

    digest: str
    documents: int
    fresh: int
    trained_on: bool
    floor: Floors | None = None


class AddedFields(Value, frozen=True, kw_only=True):
    """The worst of `measured` appended fields as the candidate finds them, by column."""

    measured: int
    field: tuple[int, ...]
    boxes: tuple[int, ...]
    matched: tuple[int, ...]
    detections: tuple[int, ...]


class Added(Value, frozen=True, kw_only=True):
    """The fields that not all models have, for they were appended: their boxes on both sets, and the worst on either.

    All other figures are of the first `known` fields, which all models have.
    """

    known: int
    test_boxes: int
    new_boxes: int
    test: AddedFields
    new: AddedFields


class ProductionSet(Value, frozen=True, kw_only=True):
    """The documents of production that what is live and the candidate were run on.

    Of those that were `drawn`, `vanished` are no longer there; `documents` were compared, `labelled` of them by labels.
    For the worst fields of all `measured` ones, by column: documents that were right by what is live (`old`), `lost`
    and `gained` by the candidate.
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


class Baseline(Value, frozen=True, kw_only=True):
    """What the candidate sees on so many documents of production: what alerts hold production against.

    By column, of the fields that it finds on the fewest: documents on which it does. `confidence` is a mean, "" where
    nothing is found.
    """

    documents: int
    field: tuple[int, ...] = ()
    detected: tuple[int, ...] = ()
    confidence: str = ""


class PreparedSet(Value, frozen=True, kw_only=True):
    """The new samples that a candidate is to be measured on, as they were when the mix was drawn."""

    documents: int
    boxes: int
    fresh: int


class PreparedDocuments(Value, frozen=True, kw_only=True):
    """The documents of production that a candidate is to be run on; `labelled` of them by labels."""

    documents: int
    labelled: int


class PrepareResult(Value, frozen=True, kw_only=True):
    """What was drawn; `production` is None without Gate 3."""

    plan: FileReference
    pool: int
    held_out: int
    withdrawn: int
    outside: int
    new: int
    corrected: int
    fresh: int
    train: int
    old: int
    ratio: str
    anchor: int
    val: int
    test: int
    new_set: PreparedSet
    digests: dict[str, str]
    production: PreparedDocuments | None = None


class ResumedFrom(Value, frozen=True, kw_only=True):
    """An earlier attempt that a training went on from, after its epoch `epoch`."""

    attempt: int
    epoch: int
    seconds: int
    device: str


class TrainResult(Value, frozen=True, kw_only=True):
    """What was trained; `resumed` are the attempts that it went on from, the newest first."""

    artifact: Artifact
    checkpoint: FileReference
    epochs: int
    batch: int
    images: int
    seconds: int
    device: str = "cpu"
    losses: dict[str, str] = {}
    resumed: tuple[ResumedFrom, ...] = ()


class ListedPool(Value, frozen=True, kw_only=True):
    """The pool that the plan was drawn from, as the evaluation replayed it."""

    digest: str
    samples: int
    withdrawn: int
    outside: int


class EvaluateResult(Value, frozen=True, kw_only=True):
    """What was measured; `settings` is the digest of the evaluation settings.

    `verify` has no new samples, and adds the artifact as it hashed it. `production` is None without Gate 3, `baseline`
    where no documents of production were to be had, and of an earlier trainer, `added` where all have all fields, and
    `pool` of an earlier trainer.
    """

    settings: str
    evaluator: str
    test_set: TestImages
    models: Models
    new_set: NewSet | None = None
    production: ProductionSet | None = None
    baseline: Baseline | None = None
    added: Added | None = None
    pool: ListedPool | None = None
    artifact: Artifact | None = None


class ScanResult(Value, frozen=True, kw_only=True):
    """What pool and captured pages are, as they were counted.

    `by_image` samples are told apart by their image's digest; `listing` is the pool as it was counted. `pages` and
    `waiting` are None where nothing is captured, and `answered` where no window says how many pages the pods answered.
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


class StepResult(Value, frozen=True, kw_only=True):
    """The envelope of a termination message; `result` is parsed by step with `parse`."""

    schema: str
    step: Step
    owner: str
    attempt: int
    outcome: Literal["Succeeded", "Failed"]
    manifest: FileReference | None = None
    result: dict[str, object] = {}
    error: ResultError | None = None
