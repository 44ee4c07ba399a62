"""FineTunePolicy: the standing rules for one model on one Deployment, and what is live there."""

from decimal import Decimal
from typing import Final, Literal

from .meta import FileReference, ObjectMeta
from .policy_status import PolicyStatus
from .scan import Production, ScanRules
from .training import RebuildTraining, Training
from .triggers import Triggers
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
    """How the model is served; the gates are judged with the same settings, Gate 3 what is live with its own."""

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


LONGEST_REBUILD: Final = 2_592_000
"""Seconds that a step of a rebuild may run at most, whatever a policy says: the limit of the CRD."""


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


class Policy(Value, frozen=True, kw_only=True):
    """A FineTunePolicy object."""

    metadata: ObjectMeta
    spec: PolicySpec
    status: PolicyStatus = PolicyStatus()
