"""A policy with triggers, its counts and its runs in virtual time: what is fired becomes a run that somebody ends."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from finetune_operator.api.meta import FileReference, find
from finetune_operator.api.model_version import ModelVersion
from finetune_operator.api.policy import Policy, RebuildRules
from finetune_operator.api.policy_status import Judged
from finetune_operator.api.run import RunSpec
from finetune_operator.api.scan import Basis, Counted, ScanRules, ScanStatus
from finetune_operator.api.triggers import Fired, FiredOutcome, Triggers, VolumeTrigger
from finetune_operator.decide.decision import CreateRun, Decision, Emit, RecordMetric
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.policy.scan import basis_now
from finetune_operator.decide.signals import Alerts
from finetune_operator.decide.views import FiredRun, PolicyView, Problem, TemplateView
from unit.decide.policy.world import NOW, base, deployment, keys, live, policy, seconds, view

BASE = base()
VOLUME = Triggers(volume=VolumeTrigger())
HOUR = timedelta(hours=1)
TEMPLATE = TemplateView("gpu-trainer", "hash")
TO_BE_TOLD = Basis(document="to be told")


def counts(new: int = 50, *, listing: str = "pool-1", outside: int = 60, **more: Any) -> Counted:
    """What a scan counts; `basis` is filled in when the policy takes it, unless it is given."""
    none = dict.fromkeys(("corrected", "held_out", "withdrawn", "by_image"), 0)
    given: dict[str, Any] = {"at": NOW, "basis": TO_BE_TOLD, "pool": outside, **none}
    return Counted(listing=listing, outside=outside, new=new, **(given | more))


def scanned(world: "TriggerWorld") -> ScanStatus | None:
    """The counts as the policy has them, taken anew now and then: nothing but time makes them stale."""
    counted = world.counted
    if counted is None:
        return None
    if counted.basis == TO_BE_TOLD:
        counted = replace(counted, basis=basis_now(world.unscanned()))
    now = world.now + world.wrong_by
    if world.scans and abs(now - counted.at) > timedelta(days=1):
        world.counted = replace(world.counted or counted, at=now)
        counted = replace(counted, at=now)
    return ScanStatus(counted=counted)


@dataclass
class Made:
    """A run that was made: what of, when, and what became of it."""

    spec: RunSpec
    at: datetime
    uid: str
    outcome: FiredOutcome = "Underway"


@dataclass
class TriggerWorld:
    """Decides, writes and acts as often as something changes; `wrong_by` is how far the operator's clock is off."""

    triggers: Triggers | None = VOLUME
    counted: Counted | None = field(default_factory=counts)
    now: datetime = NOW
    wrong_by: timedelta = timedelta()
    versions: tuple[ModelVersion, ...] = (BASE,)
    serves: ModelVersion = BASE
    rebuild: RebuildRules | None = None
    rebuilding: tuple[str, ...] = ()
    """Rebuilds of people that are not over."""
    rebuild_template: TemplateView | None = TEMPLATE
    runs: dict[str, Made] = field(default_factory=dict)
    scans: bool = True
    others: tuple[tuple[str, str], ...] = ()
    """Runs that people made, by phase."""
    alerts: Alerts | Problem | None = None
    """What Prometheus says of the Deployment."""
    made: list[tuple[str, datetime]] = field(default_factory=list)
    emitted: list[Emit] = field(default_factory=list)
    metrics: list[RecordMetric] = field(default_factory=list)
    writes: int = 0
    policy: Policy = field(init=False)

    def __post_init__(self) -> None:
        rules = {"triggers": self.triggers, "rebuild": self.rebuild, "scan": ScanRules(interval_seconds=86_400)}
        self.policy = policy(live(self.serves), **rules)

    def unscanned(self) -> PolicyView:
        return view(self.policy, deployment(keys(self.serves)), versions=self.versions, now=self.now)

    def seen(self) -> PolicyView:
        self.set_status(scan=scanned(self))
        fired = tuple(
            FiredRun(name, run.uid, run.spec.trigger.kind if run.spec.trigger else "Volume", run.at, run.outcome)
            for name, run in sorted(self.runs.items())
        )
        underway = [(name, "Training") for name, run in self.runs.items() if run.outcome == "Underway"]
        return view(
            self.policy,
            deployment(keys(self.serves)),
            versions=self.versions,
            now=self.now + self.wrong_by,
            fired=fired,
            underway=(*self.others, *underway),
            rebuilding=self.rebuilding,
            rebuild_template=self.rebuild_template,
            alerts=self.alerts,
        )

    def look(self, *, acts: bool = True) -> Decision[Any]:
        """One reconcile; without `acts` the operator dies after the status was written."""
        decision = decide(self.seen())
        # What scans write is no matter of the triggers.
        self.writes += replace(decision.status, scan=None) != replace(self.policy.status, scan=None)
        self.policy = replace(self.policy, status=decision.status)
        if acts:
            for action in decision.actions:
                self._act(action)
        return decision

    def _act(self, action: object) -> None:
        match action:
            case CreateRun(name=name, spec=spec) if name not in self.runs:
                self.made.append((name, self.now))
                self.runs[name] = Made(spec, self.now, f"uid-{len(self.made)}")
            case Emit():
                self.emitted.append(action)
            case RecordMetric():
                self.metrics.append(action)
            case _:
                pass

    def settle(self) -> None:
        for _ in range(10):
            writes, made = self.writes, len(self.made)
            self.look()
            if (writes, made) == (self.writes, len(self.made)):
                return
        raise AssertionError("the policy never comes to rest")

    def wait(self, span: timedelta, step: timedelta = timedelta(minutes=5)) -> None:
        end = self.now + span
        while self.now < end:
            self.now = min(self.now + step, end)
            self.settle()

    def end(self, name: str, outcome: FiredOutcome) -> None:
        """The run comes to its end; a judged one makes its samples known from the next scan on."""
        self.runs[name].outcome = outcome
        self.settle()

    def edit(self, **spec: Any) -> None:
        self.policy = replace(self.policy, spec=replace(self.policy.spec, **spec))

    def set_status(self, **status: Any) -> None:
        self.policy = replace(self.policy, status=replace(self.policy.status, **status))

    @property
    def newest(self) -> str:
        return self.made[-1][0]

    @property
    def fired(self) -> tuple[Fired, ...]:
        return self.policy.status.fired

    @property
    def due(self) -> tuple[str, str, str]:
        condition = find(self.policy.status.conditions, "Due")
        assert condition is not None
        return condition.status, condition.reason, condition.message


def judged(run: str, plan: str = "a" * 64, at: datetime = NOW) -> Judged:
    return Judged(run=run, run_uid=f"uid of {run}", inputs=FileReference(uri="file:///plan.json", sha256=plan), at=at)


__all__ = ["BASE", "HOUR", "NOW", "VOLUME", "Made", "TriggerWorld", "counts", "judged", "seconds"]
