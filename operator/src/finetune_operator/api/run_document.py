"""The run document: the snapshot that a run's Jobs work from, and the one that a policy's scans do.

`contracts/run-document.schema.json` is the source; tests/contract holds these types to it.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from .meta import FileReference
from .names import sha256_of
from .policy import Gates, Serving, Source
from .scan import Production
from .training import Training
from .value import Value, canonical_json, complete

DOCUMENT_SCHEMA = "finetune-operator.io/run-document/v1"


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
    with random weights where that is None. `created_at` is when the run was made; None in documents of before.
    """

    schema: str = DOCUMENT_SCHEMA
    owner: DocumentOwner
    created_at: datetime | None = None
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
