"""ModelVersion: an immutable record of one artifact, and what became of it."""

from datetime import datetime
from typing import Literal

from msgspec.structs import force_setattr

from .figures import Figure, Measurements, either
from .meta import Artifact, Condition, FileReference, ObjectMeta
from .policy import Serving
from .run import BY_GATES, Attempt, GateVerdict, Ruling, TestSet, Verdict
from .value import Value

VersionPhase = Literal["Imported", "Verified", "Candidate", "Live", "Retired", "Rejected", "Quarantined"]


class VersionEvidence(Value, frozen=True, kw_only=True):
    """The judgement that a version which a run made carries with it, whatever becomes of its run.

    `decision` is the gates' or, where they asked for one, a person's; None where nobody decided in time.
    `baseline` is what was live when it was judged, and `baseline_sha256` the digest of its bytes; the last release
    recorded the name alone. `measurements` is what that release wrote: taken in as `figures`, so that nobody has to
    look at both.
    """

    digest: str
    verdict: Verdict
    gates: tuple[GateVerdict, ...]
    figures: tuple[Figure, ...] | None = None
    measurements: Measurements | None = None
    uri: str = ""
    baseline: str | None = None
    baseline_sha256: str | None = None
    test_set: TestSet | None = None
    decision: Ruling | None = None

    def __post_init__(self) -> None:
        """Have one form, whichever was stored: the spec of an old version is immutable and stays as it is."""
        force_setattr(self, "figures", either(self.figures or (), self.measurements))
        force_setattr(self, "measurements", None)

    @property
    def rejected_by(self) -> str | None:
        """Who rejected it: a person's name, or "gates"; None where nobody did."""
        if self.decision is not None and self.decision.verdict == "Reject":
            return self.decision.by
        return BY_GATES if self.verdict in ("Reject", "Error") else None

    @property
    def persons_no(self) -> Ruling | None:
        """A person's no, which is about the bytes; the gates' is about what was live when they judged."""
        decision = self.decision
        rejected = decision is not None and decision.verdict == "Reject" and decision.by != BY_GATES
        return decision if rejected else None

    def figure(self, name: str) -> str | None:
        """Return the figure of that name, if it was recorded."""
        return next((figure.value for figure in self.figures or () if figure.name == name), None)


class Lineage(Value, frozen=True, kw_only=True):
    """Where a version that a run made came from. `spec_hash` and `inputs_hash` tell a repeated run.

    `outside` is what a rebuild had beyond its old base's plan; None for a fine-tune.
    """

    run: str
    run_uid: str
    policy: str
    base_sha256: str
    inputs: FileReference
    spec_hash: str
    inputs_hash: str
    pool: int
    outside: int | None = None
    seed: int
    created_at: datetime


class VersionSpec(Value, frozen=True, kw_only=True):
    """Immutable."""

    model: str
    version: str
    type: Literal["Base", "FineTuned"]
    artifact: Artifact
    checkpoint: FileReference
    classes: tuple[str, ...]
    serving: Serving
    base: str | None = None
    inputs: FileReference | None = None
    lineage: Lineage | None = None
    evidence: VersionEvidence | None = None

    @property
    def is_import(self) -> bool:
        """Whether people brought it, so that no run judged it and its own verification has to tell what it is worth."""
        return self.type == "Base" and self.evidence is None

    @property
    def measured_against(self) -> str | None:
        """Name or digest of what its evidence was measured against: its base, where no other version is named."""
        baseline = None if self.evidence is None else self.evidence.baseline
        return baseline if baseline is not None else self.base

    def was_measured_against(self, *, version: str, sha256: str) -> bool:
        """Tell whether its evidence compares it with those bytes; a name can be given to other bytes.

        The last release recorded the name alone. It counts for a fine-tune, whose number is never given twice; of a
        base the lineage has the digest.
        """
        evidence, lineage = self.evidence, self.lineage
        if evidence is not None and evidence.baseline_sha256 is not None:
            return evidence.baseline_sha256 == sha256
        against = self.measured_against
        if against == sha256:
            return True
        if against != version:
            return False
        return against != self.base or lineage is None or lineage.base_sha256 == sha256


class FieldDetected(Value, frozen=True, kw_only=True):
    """A field, and on how many documents it was detected."""

    field: str
    documents: int


class SeenInProduction(Value, frozen=True, kw_only=True):
    """What a version saw on so many documents of production when it was measured.

    `mean_confidence` is None where it found nothing; `fields` are those that it found on the fewest, at most eight.
    """

    documents: int
    mean_confidence: str | None = None
    fields: tuple[FieldDetected, ...] = ()


class VersionStatus(Value, frozen=True, kw_only=True):
    """Derived from policies and, for an imported base, from its verify Jobs.

    `mean_confidence` and `inference_seconds` (of its base) are what production is held against; None where the last
    release measured it. `production` is what the first of them goes by where that has enough documents; None where its
    run had none, and of an import.
    """

    observed_generation: int = 0
    phase: VersionPhase | None = None
    message: str = ""
    since: datetime | None = None
    snapshot_sha256: str | None = None
    attempts: tuple[Attempt, ...] = ()
    map50: str | None = None
    mean_confidence: str | None = None
    inference_seconds: str | None = None
    production: SeenInProduction | None = None
    test_set: TestSet | None = None
    live_since: datetime | None = None
    last_live: datetime | None = None
    conditions: tuple[Condition, ...] = ()


class ModelVersion(Value, frozen=True, kw_only=True):
    """A ModelVersion object."""

    metadata: ObjectMeta
    spec: VersionSpec
    status: VersionStatus = VersionStatus()
