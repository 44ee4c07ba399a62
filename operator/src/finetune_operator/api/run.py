"""FineTuneRun: one training and its judgement."""

from datetime import datetime
from typing import Any, Final, Literal

from .figures import Figure, Measurements
from .meta import Artifact, Condition, FileReference, ObjectMeta
from .training import TrainingOverrides
from .triggers import RunTrigger
from .value import Value

RunPhase = Literal[
    "Pending",
    "Suspended",
    "Preparing",
    "Training",
    "Evaluating",
    "InReview",
    "Promoting",
    "Promoted",
    "Passed",
    "Adopted",
    "Rejected",
    "Expired",
    "Superseded",
    "RolledBack",
    "Failed",
]
FINAL_PHASES: frozenset[RunPhase] = frozenset(
    ("Promoted", "Passed", "Adopted", "Rejected", "Expired", "Superseded", "RolledBack", "Failed")
)
Step = Literal["prepare", "train", "evaluate", "verify", "scan"]
Verdict = Literal["Pass", "Review", "Reject", "Error"]


class RunMixing(Value, frozen=True, kw_only=True):
    """The multiplier of old samples, and the seed of the draw (default: made from the run's uid)."""

    ratio: str = "Auto"
    seed: int | None = None


class Review(Value, frozen=True, kw_only=True):
    """A person's decision, bound to the evidence that they saw."""

    decision: Literal["Approve", "Reject"]
    evidence: str
    by: str
    reason: str = ""


class RunSpec(Value, frozen=True, kw_only=True):
    """What to train. All but `suspend` and `review` is immutable."""

    policy: str
    mode: Literal["FineTune", "Rebuild"] = "FineTune"
    base_version: str | None = None
    mixing: RunMixing = RunMixing()
    training: TrainingOverrides = TrainingOverrides()
    resources: dict[str, dict[str, int | str]] | None = None
    node_selector: dict[str, str] | None = None
    tolerations: tuple[dict[str, Any], ...] | None = None
    priority_class_name: str | None = None
    queue_name: str | None = None
    active_deadline_seconds: int | None = None
    backoff_limit: int = 2
    suspend: bool = False
    review: Review | None = None
    trigger: RunTrigger | None = None

    @property
    def rebuilds(self) -> bool:
        """Whether it makes a new base."""
        return self.mode == "Rebuild"

    def deadline_seconds(self, rebuild: int) -> int:
        """Return how long a step may run, in seconds: what it says, else a day, or `rebuild` where it is one."""
        if self.active_deadline_seconds is not None:
            return self.active_deadline_seconds
        return rebuild if self.rebuilds else 86_400


Place = Literal["Taken", "Waiting", "Blocked"]
"""How a run counts against its policy's concurrency.

It has a Job or is about to; it waits for its turn; or it waits for what stands in the way of every run of the policy.
"""

AttemptOutcome = Literal["Planned", "Running", "Succeeded", "Failed", "Suspended"]


class Attempt(Value, frozen=True, kw_only=True):
    """One Job of one step. `Planned` is written before the Job is created.

    `live` is the digest of what was live when the attempt was planned, `live_plan` that of the plan which tells it what
    is fresh ("": none does; None: an earlier release did not say), and `judged` those of the plans that tell it what is
    new. `counted`: a failure counts against the back-off limit. `fatal`: another attempt cannot help (bad input, bad
    training, no memory, deadline).
    `nonce` is nobody's before the attempt is written, and the Job carries it; `made` is a fingerprint of that Job.
    `image_id` is the image that its trainer ran, and `manifest` the digest of what it says it wrote, once harvested.
    `ran_seconds` is how long its trainers ran up to `ran_until`: pods come and go within one Job.
    """

    step: Step
    attempt: int
    job: str
    outcome: AttemptOutcome
    round: int = 0
    live: str | None = None
    live_plan: str | None = None
    judged: tuple[str, ...] = ()
    collect: bool = False
    nonce: str = ""
    made: str | None = None
    image_id: str | None = None
    manifest: str | None = None
    job_uid: str | None = None
    template_hash: str | None = None
    started_at: datetime | None = None
    ran_seconds: int = 0
    ran_until: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    counted: bool = True
    fatal: bool = False
    reason: str = ""
    message: str = ""


class Progress(Value, frozen=True, kw_only=True):
    """How far the current step is."""

    step: Step
    epoch: int | None = None
    epochs: int | None = None
    percent: int = 0
    remaining_seconds: int | None = None
    losses: dict[str, str] = {}
    activity: str = ""
    updated_at: datetime | None = None


class NewSetCounts(Value, frozen=True, kw_only=True):
    """The new samples that a candidate is measured on, as `prepare` counted them.

    `fresh` counts documents that the version `live` (a digest) was not trained on; None: nothing tells, so all are.
    """

    documents: int
    boxes: int
    fresh: int
    live: str | None = None


class DrawnDocuments(Value, frozen=True, kw_only=True):
    """The documents of production that `prepare` drew; `labelled` of them have labels of the pool."""

    documents: int
    labelled: int


class Inputs(Value, frozen=True, kw_only=True):
    """What `prepare` drew: counts of samples, and the digests that the evidence is bound to.

    Of samples that may train, `outside` are not in the base's plan and `new` in that of no judged run; `corrected` of
    these were judged with another label. An earlier release had no `outside`, `corrected`, `withdrawn` and `val`, and
    `new` meant what is `outside` now; still earlier ones had no `test` and `new_set`. Without Gate 3 there is no
    `production`. What was not counted is None.
    """

    plan: FileReference
    pool: int
    held_out: int
    withdrawn: int | None = None
    outside: int | None = None
    new: int
    corrected: int | None = None
    fresh: int
    train: int
    old: int
    anchor: int
    val: int | None = None
    test: int | None = None
    new_set: NewSetCounts | None = None
    production: DrawnDocuments | None = None
    ratio: str
    digests: dict[str, str]

    @property
    def ever(self) -> int:
        """Pages that the pool had or has: this number only grows, whatever is withdrawn."""
        return self.pool + (self.withdrawn or 0)


class GateVerdict(Value, frozen=True, kw_only=True):
    """What one gate says: its verdict, and the number that it hangs on as a decimal string ("" for none).

    `reason` is one word for what a person is asked about; "" where it passed.
    """

    name: str
    verdict: Verdict
    reason: str = ""
    value: str = ""
    threshold: str = ""
    message: str = ""


class TestSet(Value, frozen=True, kw_only=True):
    """The test split that a version was measured on: the yardstick of whatever comes after it.

    mAP50 is of the first `fields` fields, which all models of the evaluation have; None: of all.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    digest: str
    images: int = 0
    fields: int | None = None


class Evidence(Value, frozen=True, kw_only=True):
    """What a verdict is bound to: `digest` is sha256:<hex> over everything below and all measurements.

    `uri` is the manifest of the evaluation; report.json lies beside it. Releases without `test_set` are read too.
    """

    digest: str
    uri: str
    live: str | None = None
    live_sha256: str | None = None
    round: int = 1
    test_set: TestSet | None = None


BY_GATES: Final = "gates"
"""Who decided where no person was needed; nobody decides a review by that name."""


class Ruling(Value, frozen=True, kw_only=True):
    """How a judgement was decided, and by whom; `by` is `gates` when no person was needed, else self-declared."""

    verdict: Literal["Approve", "Reject"]
    by: str
    at: datetime
    reason: str = ""


class AdoptedResult(Value, frozen=True, kw_only=True):
    """What was taken over of an earlier run that trained the same on the same samples.

    `plan` and `seed` are what the candidate was trained by. `evidence` is the digest of the evidence that was taken
    over too; None where the candidate is measured anew.
    """

    run: str
    version: str
    model_version: str
    plan: FileReference
    seed: int
    evidence: str | None = None


class RunStatus(Value, frozen=True, kw_only=True):
    """What happened so far. `phase` is a summary; conditions and attempts are the record.

    A review was open for `review_seconds` up to `review_seen_at`, as far as that is recorded.
    `measurements` stands in for `figures` where the last release judged. `asks` is a hash of what the run asks for,
    `snapshot_sha256` the digest of the document in `snapshot`, `model` the one that it names: a person's no is known by
    that when the policy is gone. `earlier_evidence` has the digests of evidence that was void when something else went
    live, and of the record that is measured anew: a no to it is one to the same bytes.
    """

    observed_generation: int = 0
    phase: RunPhase | None = None
    message: str = ""
    since: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    review_since: datetime | None = None
    review_seconds: int = 0
    review_seen_at: datetime | None = None
    snapshot: str | None = None
    snapshot_sha256: str | None = None
    model: str | None = None
    asks: str | None = None
    place: Place | None = None
    attempts: tuple[Attempt, ...] = ()
    progress: Progress | None = None
    inputs: Inputs | None = None
    candidate: Artifact | None = None
    checkpoint: FileReference | None = None
    adopted: AdoptedResult | None = None
    figures: tuple[Figure, ...] = ()
    measurements: Measurements | None = None
    gates: tuple[GateVerdict, ...] = ()
    verdict: Verdict | None = None
    evidence: Evidence | None = None
    earlier_evidence: tuple[str, ...] = ()
    decision: Ruling | None = None
    model_version: str | None = None
    version: str | None = None
    promotion: str | None = None
    conditions: tuple[Condition, ...] = ()


class Run(Value, frozen=True, kw_only=True):
    """A FineTuneRun object."""

    metadata: ObjectMeta
    spec: RunSpec
    status: RunStatus = RunStatus()
