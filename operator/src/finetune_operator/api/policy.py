"""FineTunePolicy: the standing rules for one model on one Deployment, and what is live there."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

from .meta import Condition, FileReference, ObjectMeta
from .names import sha256_of
from .scan import Production, ScanRules, ScanStatus
from .training import RebuildTraining, Training
from .triggers import Fired, ScheduleStatus, Triggers
from .value import Value

TemplateRole = Literal["train", "cpu", "evaluate", "scan", "rebuild"]
"""Which of the policy's PodTemplates a Job is made from."""


class Source(Value, frozen=True, kw_only=True):
    """A data set by URI."""

    uri: str


class Pool(Source, frozen=True, kw_only=True):
    """The pool, and the share of it that is measured on and not trained on (see `PolicySpec.holdout`)."""

    holdout: Decimal | None = None


class Data(Value, frozen=True, kw_only=True):
    """What runs train on and are judged on, and where pages of production are captured."""

    anchor: Source
    pool: Pool
    production: Production | None = None


class Serving(Value, frozen=True, kw_only=True):
    """How the model is served; the gates are judged with the same settings."""

    image_size: int = 640
    confidence: Decimal = Decimal("0.25")
    nms_iou: Decimal = Decimal("0.7")
    max_detections: int = 300


class MixingRules(Value, frozen=True, kw_only=True):
    """How many old samples accompany the new ones."""

    max_old: int = 3000
    interpolation: Literal["Steps", "LogLog"] = "Steps"


class RegressionGate(Value, frozen=True, kw_only=True):
    """Gate 1: limits of the drop of mAP50, in absolute points (x 100)."""

    review_at_points: Decimal = Decimal(1)
    reject_above_points: Decimal = Decimal(3)


class NewSamplesGate(Value, frozen=True, kw_only=True):
    """Gate 2: the least detection rate on the pool. `holdout` is where the last release had what is the pool's now."""

    minimum: Decimal = Decimal("0.80")
    holdout: Decimal | None = None


class FieldsGate(Value, frozen=True, kw_only=True):
    """Limits of a field's own drop: points of AP50 (x 100) *and* boxes fewer found, of fields with so many boxes."""

    review_at_points: Decimal = Decimal(3)
    min_boxes: int = 30
    min_boxes_lost: int = 3


class FloorGate(Value, frozen=True, kw_only=True):
    """The least recall and precision of every field with so many boxes."""

    minimum: Decimal = Decimal("0.50")
    min_boxes: int = 30


class YardstickGate(Value, frozen=True, kw_only=True):
    """The least size of what is measured on: images of the test split, labelled boxes of the new samples."""

    test_images: int = 100
    new_boxes: int = 50


class YardstickMovedGate(Value, frozen=True, kw_only=True):
    """Whether a test split other than the one that the live version was measured on asks for a person."""

    review: bool = True


class GainGate(Value, frozen=True, kw_only=True):
    """Whether a candidate that finds no more on fresh samples than what is live asks for a person."""

    review: bool = True


class ProductionGate(Value, frozen=True, kw_only=True):
    """Gate 3: how many documents of production, of how many last days, and by which rule a field counts as worse."""

    documents: int = 100
    days: int = 30
    rule: Literal["Paired", "Literal"] = "Paired"


class Gates(Value, frozen=True, kw_only=True):
    """The gates of a policy; `production` is None where it does not ask for it."""

    regression: RegressionGate = RegressionGate()
    new_samples: NewSamplesGate = NewSamplesGate()
    fields: FieldsGate = FieldsGate()
    floor: FloorGate = FloorGate()
    yardstick: YardstickGate = YardstickGate()
    yardstick_moved: YardstickMovedGate = YardstickMovedGate()
    gain: GainGate = GainGate()
    production: ProductionGate | None = None


class VerificationRules(Value, frozen=True, kw_only=True):
    """What an imported base must be worth: its least mAP50 on the anchor's test split."""

    min_map50: Decimal = Decimal(0)


class ReviewRules(Value, frozen=True, kw_only=True):
    """How long a run waits for a person."""

    timeout_seconds: int = 1_209_600


class Rollout(Value, frozen=True, kw_only=True):
    """Whether a flip may leave nobody serving for a moment."""

    capacity: Literal["RequireSurge", "AllowDowntime"] = "RequireSurge"


class Watch(Value, frozen=True, kw_only=True):
    """How long a flipped Deployment is watched before its version counts as good, and whether by its series, too."""

    seconds: int = 300
    series: bool = True


class JobRules(Value, frozen=True, kw_only=True):
    """What holds for every Job of the policy; `keep` is how many finished ones stay."""

    queue_name: str | None = None
    keep: int = 10


class PodTemplates(Value, frozen=True, kw_only=True):
    """Names of the core/v1 PodTemplates that Jobs are made from."""

    train: str
    cpu: str
    evaluate: str | None = None
    scan: str | None = None
    rebuild: str | None = None

    def of(self, role: TemplateRole) -> str:
        """Return the name of the PodTemplate for that role.

        What evaluates or scans is made from `cpu` unless named, and what rebuilds from `train`.
        """
        match role:
            case "train":
                return self.train
            case "cpu":
                return self.cpu
            case "evaluate":
                return self.evaluate or self.cpu
            case "scan":
                return self.scan or self.cpu
            case "rebuild":
                return self.rebuild or self.train


class RebuildRules(Value, frozen=True, kw_only=True):
    """How a new base is made; `start` is None for random weights, `pool_samples` where only people make such runs."""

    pool_samples: int | None = None
    start: FileReference | None = None
    active_deadline_seconds: int = 604_800
    training: RebuildTraining = RebuildTraining()


class PolicySpec(Value, frozen=True, kw_only=True):
    """The standing rules."""

    model: str
    deployment: str
    classes: tuple[str, ...]
    data: Data
    artifacts: Source
    pod_templates: PodTemplates
    serving: Serving = Serving()
    min_pool_samples: int = 50
    mixing: MixingRules = MixingRules()
    training: Training = Training()
    gates: Gates = Gates()
    verification: VerificationRules = VerificationRules()
    review: ReviewRules = ReviewRules()
    promotion: Literal["Automatic", "Manual"] = "Automatic"
    rollout: Rollout = Rollout()
    watch: Watch = Watch()
    concurrency: int = 1
    jobs: JobRules = JobRules()
    scan: ScanRules | None = None
    suspend: bool = False
    triggers: Triggers | None = None
    rebuild: RebuildRules | None = None

    @property
    def rebuild_rules(self) -> RebuildRules:
        """How a new base is made, by the defaults where nothing is said."""
        return self.rebuild or RebuildRules()

    @property
    def holdout(self) -> Decimal:
        """The share of the pool that is measured on and not trained on, from 0 to 0.9, wherever it is stored."""
        stored = (self.data.pool.holdout, self.gates.new_samples.holdout)
        return next((share for share in stored if share is not None), Decimal(0))


class LiveVersion(Value, frozen=True, kw_only=True):
    """A version by name, object and bytes."""

    version: str
    model_version: str
    uri: str
    sha256: str


class Live(LiveVersion, frozen=True, kw_only=True):
    """What the Deployment serves; `epoch` counts flips and only grows."""

    epoch: int
    since: datetime


HoldReason = Literal["Adopted", "NotRolledOut", "Recalled", "External", "ConflictingWriter", "FieldOwned", "RolledBack"]
"""Why policies hold; a status may have another one, of an earlier release."""


class Hold(Value, frozen=True, kw_only=True):
    """Promotions wait until one of them carries releaseHold.

    `since` is by the operator's clock; `newest_promotion` says by the API server's which promotions came before it.
    """

    by: str
    reason: str
    message: str
    since: datetime
    newest_promotion: datetime | None = None


class Lifted(Value, frozen=True, kw_only=True):
    """A person's word that a quarantine is over: the promotion that said so, and why."""

    at: datetime
    by: str
    reason: str = ""


class Quarantined(Value, frozen=True, kw_only=True):
    """A version that failed in production: never promoted or rolled back to again, unless a promotion lifts it."""

    version: str
    sha256: str
    reason: str
    since: datetime
    evidence: str = ""
    lifted: Lifted | None = None


class TakenBack(Value, frozen=True, kw_only=True):
    """A version that people went back from: by which promotion, and why."""

    version: str
    sha256: str
    by: str
    since: datetime
    reason: str = ""


class Rejected(Value, frozen=True, kw_only=True):
    """Bytes that a person rejected in review: who, when, of which run and as which version."""

    version: str
    sha256: str
    by: str
    at: datetime
    run: str = ""


class Judged(Value, frozen=True, kw_only=True):
    """A run of the policy that reached a verdict of its gates: by which plan, and when it was decided or judged."""

    run: str
    run_uid: str
    inputs: FileReference
    at: datetime


FlightPhase = Literal["Flipping", "Watching", "Returning"]


class Brake(Value, frozen=True, kw_only=True):
    """The promotion that ended a flight by going back to a version that was good.

    `corrects`: it says that the version was taken back, and goes there all the same.
    """

    promotion: str
    promotion_uid: str
    spec_hash: str
    release_hold: bool = False
    overrules: bool = False
    corrects: bool = False
    reason: str = ""


class InFlight(Value, frozen=True, kw_only=True):
    """The one promotion that is being carried out; recorded before the Deployment is touched.

    `template_hash` is that of the pod template without our keys when the flight began. `generation` is that of
    the Deployment when `epoch` was given out: while it stays, the apply was not committed. `replicas` were available
    when watching began; `missing_since` says since when fewer of them are, and `unhealthy_since` since when that is
    because a container fails. `takes_back`: it goes to a version that was live before, so that the one it leaves is
    taken back; `reason` and `overrules` are the promotion's. `unsettled`: it began while
    the Deployment was not whole (then `replicas` were available), so that trouble is nobody's for certain. `evidence`
    is what the server's own container did, where that is why it returns. `observed_seconds` is how long the phase was
    looked at, as far as that is recorded, and `earlier_seconds` how long what came before it was; `idle`: its clock
    stands, because the Deployment is scaled to zero. `deadline`, `missing_since` and `unhealthy_since` are moments of
    that clock: `phase_since` and the observed time. `newest_promotion` is when the newest promotion was made that was
    there when it began to fly, or to go back.
    """

    promotion: str
    promotion_uid: str
    spec_hash: str
    phase: FlightPhase
    to: LiveVersion
    back: LiveVersion | None = None
    epoch: int
    deployment_uid: str
    template_hash: str
    started_at: datetime
    phase_since: datetime
    deadline: datetime
    why: str = ""
    message: str = ""
    generation: int = 0
    replicas: int = 0
    unhealthy_since: datetime | None = None
    missing_since: datetime | None = None
    takes_back: bool = False
    overrules: bool = False
    reason: str = ""
    unsettled: bool = False
    evidence: str = ""
    brake: Brake | None = None
    observed_seconds: int = 0
    earlier_seconds: int = 0
    idle: bool = False
    newest_promotion: datetime | None = None

    @property
    def back_version(self) -> str | None:
        """The version that it goes back to; None where nothing was live."""
        return None if self.back is None else self.back.version


PromotionOutcome = Literal["Succeeded", "RolledBack", "Failed", "Superseded"]


class Consumed(Value, frozen=True, kw_only=True):
    """A promotion that was acted upon, by name and hash of its spec: it never acts again.

    `uid` tells whether an object of that name and spec is the one that acted; the last release did not record it.
    One that `overrules` is forgotten last (see `Promotion.overrules`).
    """

    name: str
    spec_hash: str
    outcome: PromotionOutcome
    reason: str
    at: datetime
    message: str = ""
    uid: str = ""
    overrules: bool = False


def trace_of(name: str, spec_hash: str) -> str:
    """Return the 12 hex digits that are left of a promotion which is no longer among the consumed ones."""
    return sha256_of(f"{name}/{spec_hash}".encode())[:12]


class Reservation(Value, frozen=True, kw_only=True):
    """A version name given to a run before the ModelVersion is made."""

    run_uid: str
    version: str


class NextVersion(Value, frozen=True, kw_only=True):
    """High-water mark of version numbers in one series; it outlives deletion of the objects."""

    series: int = 1
    tuned: int = 1


class PolicyStatus(Value, frozen=True, kw_only=True):
    """The durable memory of one Deployment's models; `message` sums up what matters most now, `since` when it began."""

    observed_generation: int = 0
    serving: str = ""
    message: str = ""
    since: datetime | None = None
    live: Live | None = None
    last_good: tuple[LiveVersion, ...] = ()
    hold: Hold | None = None
    quarantined: tuple[Quarantined, ...] = ()
    taken_back: tuple[TakenBack, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    judged: tuple[Judged, ...] = ()
    fired: tuple[Fired, ...] = ()
    schedule: ScheduleStatus | None = None
    in_flight: InFlight | None = None
    consumed: tuple[Consumed, ...] = ()
    forgotten: tuple[str, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    next_base: int = 1
    next_version: NextVersion = NextVersion()
    older_series: tuple[NextVersion, ...] = ()
    epoch: int = 0
    reasserted_at: tuple[datetime, ...] = ()
    scan: ScanStatus | None = None
    conditions: tuple[Condition, ...] = ()

    @property
    def remembers(self) -> bool:
        """Whether anything of the Deployment is known yet: a policy is new, or made anew, until it is."""
        return self.epoch > 0 or self.live is not None

    def is_good(self, sha256: str) -> bool:
        """Tell whether those bytes are among the versions that can be gone back to."""
        return any(entry.sha256 == sha256 for entry in self.last_good)

    def quarantine_of(self, sha256: str) -> Quarantined | None:
        """Return the quarantine of those bytes that stands; None also where it was lifted."""
        return next((e for e in self.quarantined if e.sha256 == sha256 and e.lifted is None), None)

    def taken_back_of(self, sha256: str) -> TakenBack | None:
        """Return that people went back from those bytes, if they did."""
        return next((e for e in self.taken_back if e.sha256 == sha256), None)

    def rejected_of(self, sha256: str) -> Rejected | None:
        """Return that a person rejected those bytes, if it is remembered."""
        return next((e for e in self.rejected if e.sha256 == sha256), None)


class Policy(Value, frozen=True, kw_only=True):
    """A FineTunePolicy object."""

    metadata: ObjectMeta
    spec: PolicySpec
    status: PolicyStatus = PolicyStatus()
