"""What decisions can ask for: a closed union of frozen actions, and the decision itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, Literal, TypeVar

from ..api.model_version import VersionSpec
from ..api.policy import TemplateRole
from ..api.promotion import PromotionSpec
from ..api.run import RunSpec, Step
from ..api.run_document import RunDocument, ScanDocument

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class CreateSnapshot:
    """Create the immutable ConfigMap with the run document. Idempotent: the name is made from the uid.

    That of a scan is made from the document, too: a policy's is edited.
    """

    name: str
    run_document: RunDocument | ScanDocument


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Create the one Job of an attempt. Idempotent by name; `step_inputs` is the JSON text of --inputs."""

    name: str
    step: Step
    attempt: int
    template: TemplateRole
    snapshot: str
    step_inputs: str
    round: int = 0
    collect: bool = False
    nonce: str = ""
    snapshot_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Delete a Job of ours, its pods first, if it still has that uid."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class ReserveVersion:
    """Reserve the next version number of a series for a run, by compare-and-swap in the policy's status.

    `series` is None for a base, which opens one. `instead_of`
    is the version that the run has reserved and cannot have: another object has its name.
    """

    policy: str
    run_uid: str
    series: int | None
    instead_of: str | None = None


@dataclass(frozen=True, slots=True)
class CreateModelVersion:
    """Create a ModelVersion (no ownerReference). Idempotent: the name is made from the reserved version."""

    name: str
    spec: VersionSpec


@dataclass(frozen=True, slots=True)
class CreatePromotion:
    """Create a ModelPromotion (no ownerReference). Idempotent by name."""

    name: str
    spec: PromotionSpec


@dataclass(frozen=True, slots=True)
class CreateRun:
    """Create a FineTuneRun (no ownerReference). Idempotent by name: a run of that name and policy counts as it."""

    name: str
    spec: RunSpec


@dataclass(frozen=True, slots=True)
class Annotate:
    """Put an annotation on the object under decision, as it is after its status was written: what must outlive that.

    A merge patch, not an apply: after a restore the field belongs to whoever restored it.
    """

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class ApplyKeys:
    """Server-side apply of the operator's keys on the Deployment; None releases the three keys.

    The one action that changes what is served: conditional on uid and resourceVersion, never forced.
    """

    deployment: str
    uid: str
    resource_version: str
    version: str | None
    uri: str | None
    sha256: str | None
    epoch: int


@dataclass(frozen=True, slots=True)
class Emit:
    """Post an Event about the object under decision."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class RecordMetric:
    """Record a value in a metric, which controller/metrics.py declares: counted, shown, or put into its bucket.

    The value is recorded at most once. A status that says what it is about is written first, so a crash in between
    loses it, and no other decision repeats it.
    """

    metric: str
    labels: Mapping[str, str]
    value: float = 1.0


Action = (
    CreateSnapshot
    | CreateJob
    | DeleteJob
    | ReserveVersion
    | CreateModelVersion
    | CreatePromotion
    | CreateRun
    | Annotate
    | ApplyKeys
    | Emit
    | RecordMetric
)


@dataclass(frozen=True, slots=True)
class Decision(Generic[S]):
    """The whole next status (written first, only if it differs), then the actions in order.

    The status is the intent log: what an action is about to do stands in it before the action runs, and
    writing it with the resourceVersion that was looked at refuses decisions made from a stale view.
    """

    status: S
    actions: tuple[Action, ...] = ()
    requeue_after: timedelta | None = None
