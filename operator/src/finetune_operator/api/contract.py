"""The trainer's side of the contract: run document, step results, progress.

`contracts/*.schema.json` are the sources; tests/contract holds these types to them, in the direction that counts.
"""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from .meta import Artifact, FileReference
from .names import sha256_of
from .policy import Gates, Serving, Source
from .run import Step
from .scan import CapturedPages, Production, WaitingPages, WeeklyReports
from .training import Training
from .value import Value, canonical_json, complete

DOCUMENT_SCHEMA = "finetune-operator.io/run-document/v1"
RESULT_SCHEMA = "finetune-operator.io/step-result/v1"
PROGRESS_SCHEMA = "finetune-operator.io/progress/v1"

LONGEST_URI = 2048
"""Characters of a URI; the policy's artifacts.uri is so much shorter that what steps append always fits."""

_STORED = re.compile(r"(file:///|(s3|gs)://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/|$))[!-~]*")
_FORBIDDEN = re.compile(r"[?#%@\\]|(^|/)[.][.]?(/|$)")

EXIT_BAD_INPUT = 10
EXIT_BAD_TRAINING = 11
EXIT_OUT_OF_MEMORY = 12
EXIT_UNAVAILABLE = 13
EXIT_PREEMPTED = 143


class Location(Value, frozen=True, kw_only=True):
    """A prefix that belongs to one owner."""

    uri: str


class DocumentOwner(Value, frozen=True, kw_only=True):
    """The object whose Job this is."""

    kind: Literal["FineTuneRun", "ModelVersion", "FineTunePolicy"]
    namespace: str
    name: str
    uid: str


class DocumentBase(Value, frozen=True, kw_only=True, omit_defaults=False):
    """The base that is fine-tuned (or verified).

    It has the first `fields` of the document's classes; None: all.
    """

    version: str
    artifact: FileReference
    checkpoint: FileReference
    inputs: FileReference | None = None
    fields: int | None = None


class DocumentProduction(Production, frozen=True, kw_only=True):
    """Whose captured pages are drawn from, and for how many days from then on each of Gate 3 must still lie there."""

    deployment: str
    review_days: int


class DocumentData(Value, frozen=True, kw_only=True):
    """What the Jobs read; an imported base is measured on the anchor alone.

    `production` is None where the policy names no captured pages.
    """

    anchor: Source
    pool: Source | None = None
    production: DocumentProduction | None = None


class DocumentMixing(Value, frozen=True, kw_only=True):
    """How the mix is drawn. A rebuild draws nothing, for it trains on all, and has neither bound nor ratio."""

    min_pool_samples: int
    max_old: int | None = None
    interpolation: Literal["Steps", "LogLog"] | None = None
    ratio: str | None = None
    seed: int


class RunDocument(Value, frozen=True, kw_only=True):
    """The snapshot that a run's Jobs work from, and that its verdict is judged by (`gates`).

    `base` is what is fine-tuned, measured, or to be replaced by a rebuild; this begins with the checkpoint `start`, or
    with random weights where that is None.
    """

    schema: str = DOCUMENT_SCHEMA
    owner: DocumentOwner
    mode: Literal["FineTune", "Rebuild", "Verify"]
    model: str
    classes: tuple[str, ...]
    serving: Serving
    data: DocumentData
    artifacts: Location
    base: DocumentBase
    start: FileReference | None = None
    mixing: DocumentMixing | None = None
    holdout: Decimal | None = None
    training: Training | None = None
    gates: Gates | None = None


class ScanData(Value, frozen=True, kw_only=True):
    """What a scan reads; `production` is None where the policy names no place."""

    anchor: Source
    pool: Source
    production: Production | None = None


class ScanDocument(Value, frozen=True, kw_only=True):
    """The document by which a policy's pool and captured pages are counted."""

    schema: str = DOCUMENT_SCHEMA
    owner: DocumentOwner
    mode: Literal["Scan"] = "Scan"
    model: str
    classes: tuple[str, ...]
    deployment: str
    data: ScanData
    holdout: Decimal
    artifacts: Location


def document_json(run_document: RunDocument | ScanDocument) -> dict[str, Any]:
    """Return `run.json` as plain data: every setting spelled out, and no field that its mode does not have.

    Absent parts are left out rather than null, because the trainer refuses fields that a mode does not know.
    """
    if isinstance(run_document, ScanDocument):
        scan: dict[str, Any] = complete(run_document)
        return scan
    data = {key: value for key, value in complete(run_document).items() if value is not None}
    gates = data.get("gates", {})
    for part in (
        data["data"],
        data.get("mixing", {}),
        gates,
        *(limits for limits in gates.values() if limits is not None),
    ):
        for key in [key for key, value in part.items() if value is None]:
            del part[key]
    if run_document.base.fields is None:
        del data["base"]["fields"]
    if run_document.mode == "Rebuild":
        data["start"] = complete(run_document.start)  # null there says something
    return data


def document_text(run_document: RunDocument | ScanDocument) -> str:
    """Return the JSON text that Jobs read: sorted, the same for equal documents."""
    return canonical_json(document_json(run_document)).decode()


def document_sha256(run_document: RunDocument | ScanDocument) -> str:
    """Return the digest of that text, by which a status says which document its Jobs work from."""
    return sha256_of(document_text(run_document).encode())


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


class EvaluateResult(Value, frozen=True, kw_only=True):
    """What was measured; `settings` is the digest of the evaluation settings.

    `verify` has no new samples, and adds the artifact as it hashed it. `production` is None without Gate 3, `baseline`
    where no documents of production were to be had, and of an earlier trainer, `added` where all have all fields.
    """

    settings: str
    evaluator: str
    test_set: TestImages
    models: Models
    new_set: NewSet | None = None
    production: ProductionSet | None = None
    baseline: Baseline | None = None
    added: Added | None = None
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


class ProgressLine(Value, frozen=True, kw_only=True):
    """One line of the trainer's standard output."""

    schema: str
    step: Step
    at: datetime
    percent: int = 0
    epoch: int | None = None
    epochs: int | None = None
    remaining_seconds: int | None = None
    losses: dict[str, str] = {}
    activity: str = ""


def is_uri(text: str) -> bool:
    """Tell whether a ModelVersion may name an artifact so: no credentials, no query; the CRD has the same rule."""
    return len(text) <= LONGEST_URI and _STORED.fullmatch(text) is not None and _FORBIDDEN.search(text) is None
