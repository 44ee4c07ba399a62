"""What decisions look at: frozen views of the world, gathered by cluster/observe.py."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from ..api.model_version import ModelVersion
from ..api.policy import Policy
from ..api.policy_status import InFlight, Judged, Rejected
from ..api.promotion import Promotion
from ..api.run import Step
from ..api.triggers import FiredOutcome, TriggerKind
from .signals import Alerts, VersionSeries
from .times import Timed, span


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why something is as it is: a CamelCase reason and a message, as a condition shows them."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Problem(Explanation):
    """Why something cannot be used; the message says how to mend it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What the server's own container did with the model in it: the only ground on which a version is blamed.

    Ended: it, or the fetch, exited over the artifact. StoppedReady: it was ready in this pod, and is not any more.
    NotReady: it runs with the artifact, and was never ready. `since` is when that began; `restarts` counts ends.
    """

    kind: Literal["Ended", "StoppedReady", "NotReady"]
    message: str
    since: datetime | None = None
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class TemplateView:
    """A PodTemplate: its hash (recorded per attempt), or what is wrong with it; `resources` are its trainer's.

    Behind a point the hash has what decides whether and where a Job is admitted: labels, annotations, queue.
    """

    name: str
    hash: str
    problem: Problem | None = None
    resources: Mapping[str, Any] = field(default_factory=dict)

    def admits_like(self, recorded: str | None) -> bool:
        """Tell whether Jobs made from it are admitted as one that was made when that hash was recorded."""
        return self.hash.partition(".")[2] == (recorded or "").partition(".")[2]


@dataclass(frozen=True, slots=True)
class Span:
    """When a trainer ran; `end` is None while it runs."""

    start: datetime
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class PodMoment:
    """What a pod does, and since when."""

    since: datetime
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class Overdue:
    """What is to be said of a pod when it still stands as it does at `due`."""

    due: datetime
    problem: Problem


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed; `fatal`: another attempt cannot help; `counted`: against the back-off limit."""

    problem: Problem
    fatal: bool = False
    counted: bool = True


@dataclass(frozen=True, slots=True)
class JobView:
    """A Job of ours with what its pods say.

    Where a Job has several pods, the one that tells the end of the trainer speaks for it, else the newest: `pod`.
    `exit_code`, `termination_message` and `finished_at` are the trainer container's. `spoke`: it has ended, and
    neither its neighbours nor another pod can take back what it said. `lingers`: the Job does not end by itself
    all the same, because neighbours run on or another pod was made. `idle`: no trainer runs in any of its pods.
    `failure` is what the pod's own status says of its end, and `said` what the Job's says. `podless_since` is when
    the Job's controller began, or could have, while it has no pod, or none but such as it replaces. `emptied`: it is
    being deleted, nothing of it runs or will, and only somebody's finalizer keeps it. `moments` is what the pod did
    and does, oldest first.
    `orphaned`: the Job itself is gone, and only pods of it are left. `made` is a fingerprint of what its trainer is to
    do; None for an orphan. `doubt` is why what its pods say is not believed, and
    `additions` what the pod that speaks has beside what the Job asked for. `image_id` is that of the trainer, as the
    kubelet says.
    """

    name: str
    uid: str
    step: Step
    attempt: int
    namespace: str = ""
    round: int = 0
    collect: bool = False
    state: Literal["Active", "Complete", "Failed"] = "Active"
    suspended: bool = False
    podless_since: datetime | None = None
    pod: str | None = None
    spans: tuple[Span, ...] = ()
    finished_at: datetime | None = None
    exit_code: int | None = None
    termination_message: str | None = None
    spoke: bool = False
    lingers: bool = False
    idle: bool = False
    failure: Failure | None = None
    said: str = ""
    has_pods: bool = False
    disrupted: bool = False
    pods_gone: bool = True
    waiting: Problem | None = None
    moments: tuple[PodMoment, ...] = ()
    overdue: Overdue | None = None
    deleting: bool = False
    emptied: bool = False
    orphaned: bool = False
    made: str | None = None
    doubt: Problem | None = None
    additions: str = ""
    image_id: str | None = None


@dataclass(frozen=True, slots=True)
class FinishedJob:
    """A Job of a policy, its runs or its bases that has finished; `harvested`: its owner needs nothing more of it.

    `scans`: it is one of the many that the policy itself makes.
    """

    name: str
    uid: str
    finished_at: datetime | None
    harvested: bool
    scans: bool = False


@dataclass(frozen=True, slots=True)
class FiredRun:
    """A run that is there and that a trigger made, or that has the name of one."""

    name: str
    uid: str
    kind: TriggerKind
    created: datetime | None
    outcome: FiredOutcome


@dataclass(frozen=True, slots=True)
class ServedKeys:
    """The three keys under spec.template.metadata.annotations; None where a key is absent."""

    version: str | None = None
    uri: str | None = None
    sha256: str | None = None

    @property
    def absent(self) -> bool:
        """No key is there at all."""
        return self.version is None and self.uri is None and self.sha256 is None


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """The inference Deployment, as far as a flip hangs on it.

    `keys_manager` is a field manager other than ours that owns one of the four keys, if there is one; else ours,
    if we own one; else None. `progress_deadline_seconds` is the spec's (Kubernetes' default: 600). `trouble` is what
    ails the pods of the version that a flight is rolling out, or why Kubernetes cannot make them; `fault` is what the
    version itself may be blamed for.
    """

    name: str
    uid: str
    resource_version: str
    managed: bool
    keys: ServedKeys
    epoch: int | None
    template_hash: str
    generation: int
    observed_generation: int
    replicas: int
    updated: int = 0
    ready: int = 0
    available: int = 0
    total: int = 0
    paused: bool = False
    deadline_exceeded: bool = False
    can_surge: bool = True
    null_annotations: bool = False
    keys_manager: str | None = None
    deleting: bool = False
    progress_deadline_seconds: int = 600
    min_ready_seconds: int = 0
    trouble: Problem | None = None
    fault: Fault | None = None

    @property
    def settled(self) -> bool:
        """The rollout of the current template is complete and every replica is available."""
        return (
            self.observed_generation >= self.generation
            and self.updated == self.replicas == self.available == self.total
        )


@dataclass(frozen=True, slots=True)
class PolicyView:
    """Everything that a policy's status and its Deployment hang on."""

    policy: Policy
    now: datetime
    deployment: DeploymentView | None = None
    train_template: TemplateView | None = None
    cpu_template: TemplateView | None = None
    evaluate_template: TemplateView | None = None
    scan_template: TemplateView | None = None
    rebuild_template: TemplateView | None = None
    scan_document: bool = False
    """The ConfigMap with the document that a scan would work from now is there."""
    jobs: tuple[JobView, ...] = ()
    """The policy's own: its scans."""
    nonce: str = ""
    fingerprint: Callable[[Any], str | None] = lambda _: None
    """From the `CreateJob` of a scan: what its Job is known by."""
    versions: tuple[ModelVersion, ...] = ()
    promotions: tuple[Promotion, ...] = ()
    rejections: tuple[Rejected, ...] = ()
    """What people rejected in runs of the policy that are there."""
    judged: tuple[Judged, ...] = ()
    """Runs of the policy that are there and were judged, the newest."""
    fired: tuple[FiredRun, ...] = ()
    """Runs that triggers of the policy made and that are there, the newest, and every one that the status has open."""
    underway: tuple[tuple[str, str], ...] = ()
    """Name and phase of the policy's runs that are neither over nor judged."""
    rebuilding: tuple[str, ...] = ()
    """Names of the policy's rebuilds that are not over, judged or not."""
    rivals: tuple[str, ...] = field(default=())
    """Names of older policies on the same Deployment; the oldest one owns it."""
    finished_jobs: tuple[FinishedJob, ...] = ()
    """None while there are not more of them than stay."""
    observed: timedelta | None = None
    """How long the flight was looked at since its status recorded that last; None: the wall clock speaks (tests)."""
    fault_observed: timedelta | None = None
    """How long the fault was looked at as it stands; None: the wall clock speaks (tests)."""
    alerts: Alerts | Problem | None = None
    """Which alerts fire that the performance trigger asks for, or why nobody knows; None where it asks for none."""
    series: VersionSeries | Problem | None = None
    """How the version that is watched did, asked for in this very look; None where none is watched by its series."""
    read_anew: bool = True
    """The Deployment, and the pods that it waits for, were read for this very look."""

    @property
    def timed(self) -> Timed:
        """What is timed of the policy: the phase of its flight."""
        return Timed(flight_clock(self.policy.status.in_flight), OBSERVED_STEP)

    @property
    def fault_timed(self) -> Timed:
        """What is timed of its fault: how long one container of this flight runs without being ready.

        A process that sees both for the first time takes the wall clock's word, up to the flight's time on record.
        """
        flight, fault = self.policy.status.in_flight, None if self.deployment is None else self.deployment.fault
        if flight is None or fault is None or fault.kind != "NotReady":
            return Timed(None, OBSERVED_STEP)
        recorded = span(flight.earlier_seconds) + span(flight.observed_seconds)
        return Timed((flight.promotion_uid, fault.since), OBSERVED_STEP, fault.since, recorded)


OBSERVED_STEP: Final = timedelta(seconds=15)
"""How often a flight is looked at, and how much one step from look to look counts at most."""


def flight_clock(flight: InFlight | None) -> tuple[object, ...] | None:
    """Return what a flight has recorded of its clock: time that was observed counts from there."""
    if flight is None:
        return None
    return flight.promotion_uid, flight.phase, flight.phase_since, flight.observed_seconds, flight.idle
