"""A policy, its promotions and a small model of its Deployment, for tests of the flip in virtual time."""

from dataclasses import dataclass, field
from dataclasses import replace as with_changes
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from msgspec.structs import replace

from finetune_operator.api.figures import Figure
from finetune_operator.api.meta import Artifact, Condition, ConditionStatus, FileReference, ObjectMeta
from finetune_operator.api.model_version import Lineage, ModelVersion, VersionEvidence, VersionSpec, VersionStatus
from finetune_operator.api.names import FIELD_MANAGER, SERVICE_RECORD_KEY, model_version_name, sha256_of
from finetune_operator.api.policy import Data, PodTemplates, Policy, PolicySpec, Pool, Serving, Source, Watch
from finetune_operator.api.policy_status import Live, LiveVersion, PolicyStatus
from finetune_operator.api.promotion import Promotion, PromotionSpec, PromotionStatus
from finetune_operator.api.record import Service, record_text
from finetune_operator.api.run import GateVerdict, Verdict
from finetune_operator.controller.stopwatch import Stopwatch
from finetune_operator.decide.decision import Annotate, ApplyKeys, Decision, Emit
from finetune_operator.decide.policy import machine as policy_decide
from finetune_operator.decide.promotion import machine as promotion_decide
from finetune_operator.decide.promotion.view import PromotionView
from finetune_operator.decide.version.record import record_due
from finetune_operator.decide.version.view import VersionView
from finetune_operator.decide.views import DeploymentView, Fault, PolicyView, ServedKeys, TemplateView

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
MODEL = "invoice-fields"
CLASSES = ("number", "total")
TEMPLATE = TemplateView(name="cpu-trainer", hash="aaaa")

LINEAGE = Lineage(
    run="first",
    run_uid="uid-first",
    policy=MODEL,
    base_sha256=sha256_of(b"base_v1"),
    inputs=FileReference(uri="file:///artifacts/plan.json", sha256="0" * 64),
    spec_hash="spec",
    inputs_hash="inputs",
    pool=60,
    seed=1,
    created_at=NOW,
)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def policy(status: PolicyStatus | None = None, **spec: Any) -> Policy:
    given: dict[str, Any] = {
        "model": MODEL,
        "deployment": "invoice-detector",
        "classes": CLASSES,
        "data": Data(anchor=Source(uri="file:///anchor"), pool=Pool(uri="file:///pool")),
        "artifacts": Source(uri="file:///artifacts"),
        "pod_templates": PodTemplates(train="gpu-trainer", cpu="cpu-trainer"),
        "watch": Watch(seconds=60),
    }
    meta = ObjectMeta(name=MODEL, namespace="ml", uid="policy-uid", generation=3)
    return Policy(metadata=meta, spec=PolicySpec(**(given | spec)), status=status or PolicyStatus())


def _version_spec(version: str, **spec: Any) -> VersionSpec:
    given: dict[str, Any] = {
        "model": MODEL,
        "version": version,
        "type": "Base",
        "artifact": Artifact(uri=f"file:///artifacts/{version}.onnx", sha256=sha256_of(version.encode())),
        "checkpoint": FileReference(uri=f"file:///artifacts/{version}.pt", sha256="0" * 64),
        "classes": CLASSES,
        "serving": Serving(),
    }
    return VersionSpec(**(given | spec))


def base(version: str = "base_v1", verified: ConditionStatus | None = "True", **spec: Any) -> ModelVersion:
    conditions = () if verified is None else (Condition(type="Verified", status=verified, reason="Measured"),)
    meta = ObjectMeta(name=model_version_name(MODEL, version), namespace="ml", uid=f"uid-{version}")
    return ModelVersion(metadata=meta, spec=_version_spec(version, **spec), status=VersionStatus(conditions=conditions))


def tuned(
    version: str = "ft_v1.1", verdict: Verdict | None = "Pass", baseline: str | None = "base_v1", **spec: Any
) -> ModelVersion:
    evidence = None
    if verdict is not None:
        digest = f"sha256:{sha256_of(f'evidence of {version}'.encode())}"
        gates, figures = judged(verdict)
        evidence = VersionEvidence(digest=digest, verdict=verdict, gates=gates, figures=figures, baseline=baseline)
    given: dict[str, Any] = {"type": "FineTuned", "base": "base_v1", "lineage": LINEAGE, "evidence": evidence}
    meta = ObjectMeta(name=model_version_name(MODEL, version), namespace="ml", uid=f"uid-{version}")
    return ModelVersion(metadata=meta, spec=_version_spec(version, **(given | spec)))


def judged(verdict: Verdict) -> tuple[tuple[GateVerdict, ...], tuple[Figure, ...]]:
    """Gates and figures that go together, and make that verdict."""
    candidate = "0.900000" if verdict == "Reject" else "0.960000"
    rate = "0.500000" if verdict == "Review" else "0.900000"
    drop = "6.000000" if verdict == "Reject" else "0.000000"
    figures = {"candidateMap50": candidate, "baseMap50": "0.960000", "poolRate": rate}
    gates = (
        GateVerdict(
            name="regression",
            verdict=verdict if verdict in ("Reject", "Error") else "Pass",
            value=drop,
            threshold="review at 1, reject above 3",
        ),
        GateVerdict(
            name="newSamples", verdict="Review" if verdict == "Review" else "Pass", value=rate, threshold="0.80"
        ),
    )
    return gates, tuple(Figure(name=name, value=value) for name, value in figures.items())


def with_record(version: ModelVersion, service: Service, on: str = "invoice-detector") -> ModelVersion:
    """The version with a record of what it did on a Deployment."""
    text = record_text(version.spec.artifact.sha256, {on: service})
    return replace(version, metadata=replace(version.metadata, annotations={SERVICE_RECORD_KEY: text}))


def live_version(version: ModelVersion) -> LiveVersion:
    spec = version.spec
    return LiveVersion(
        version=spec.version, model_version=version.metadata.name, uri=spec.artifact.uri, sha256=spec.artifact.sha256
    )


def keys(version: ModelVersion) -> ServedKeys:
    return ServedKeys(version.spec.version, version.spec.artifact.uri, version.spec.artifact.sha256)


def live(version: ModelVersion, epoch: int = 1, *good: ModelVersion) -> PolicyStatus:
    """A status with `version` live since the flip `epoch`, and the `good` ones before it."""
    made = live_version(version)
    recorded = Live(
        version=made.version,
        model_version=made.model_version,
        uri=made.uri,
        sha256=made.sha256,
        epoch=epoch,
        since=NOW - seconds(3600),
    )
    return PolicyStatus(live=recorded, epoch=epoch, last_good=(made, *(live_version(v) for v in good)))


def promotion(
    version: str, came_from: str | None = None, *, name: str = "", age: float | None = None, **spec: Any
) -> Promotion:
    """A promotion of a minute ago; one that lifts holds was made just now."""
    age = age if age is not None else 0 if spec.get("release_hold") else 60
    meta = ObjectMeta(
        name=name or f"to-{version.replace('_', '-').replace('.', '-')}",
        namespace="ml",
        uid=f"uid-{name or version}",
        generation=1,
        creation_timestamp=NOW - seconds(age),
    )
    given: dict[str, Any] = {"policy": MODEL, "version": version, "from_version": came_from}
    return Promotion(metadata=meta, spec=PromotionSpec(**(given | spec)))


def deployment(serves: ServedKeys | None = None, **changes: Any) -> DeploymentView:
    """A settled Deployment of two replicas."""
    served = ServedKeys() if serves is None else serves
    given: dict[str, Any] = {
        "name": "invoice-detector",
        "uid": "deployment-uid",
        "resource_version": "100",
        "managed": True,
        "keys": served,
        "epoch": None if served.absent else 1,
        "template_hash": "template-a",
        "generation": 5,
        "observed_generation": 5,
        "replicas": 2,
        "updated": 2,
        "ready": 2,
        "available": 2,
        "total": 2,
        "keys_manager": None if served.absent else FIELD_MANAGER,
    }
    return DeploymentView(**(given | changes))


def view(
    of: Policy,
    there: DeploymentView | None,
    *promotions: Promotion,
    versions: tuple[ModelVersion, ...] = (),
    now: datetime = NOW,
    **changes: Any,
) -> PolicyView:
    given: dict[str, Any] = {"train_template": TEMPLATE, "cpu_template": TEMPLATE}
    return PolicyView(
        policy=of, now=now, deployment=there, promotions=promotions, versions=versions, **(given | changes)
    )


def applied(decision: Decision[PolicyStatus]) -> ApplyKeys | None:
    """The one change of the Deployment that a decision asks for."""
    asked = [action for action in decision.actions if isinstance(action, ApplyKeys)]
    assert len(asked) <= 1, "never two writes in one decision"
    return asked[0] if asked else None


T = TypeVar("T", Promotion, ModelVersion)


def annotated(obj: T, decision: Decision[Any]) -> T:
    """The object with the annotations that a decision puts on it."""
    added = {action.key: action.text for action in decision.actions if isinstance(action, Annotate)}
    meta = replace(obj.metadata, annotations={**obj.metadata.annotations, **added})
    return obj if meta == obj.metadata else replace(obj, metadata=meta)


def mirrored(seen: PromotionView) -> PromotionStatus:
    """What a promotion says at rest: an outcome stands on the object first, and in the status with the next look."""
    recorded = annotated(seen.promotion, promotion_decide.decide(seen))
    return promotion_decide.decide(with_changes(seen, promotion=recorded)).status


def events(decision: Decision[Any]) -> list[str]:
    return [action.reason for action in decision.actions if isinstance(action, Emit)]


@dataclass
class ModelDeployment:
    """What Kubernetes makes of the Deployment: a rollout takes ten seconds, or fails as `behaviour` says.

    `behaviour` by version: `never` (pods never ready, reported after 60 s), `crash` (fails 25 s after the change);
    without a model (no keys) pods wait, unless `pinned`.
    """

    now: datetime
    uid: str = "deployment-uid-1"
    behaviour: dict[str, str] = field(default_factory=dict)
    pinned: bool = False
    resource_version: int = 100
    generation: int = 1
    keys: ServedKeys = field(default_factory=ServedKeys)
    epoch: int | None = None
    manager: str | None = None
    template_hash: str = "template-a"
    replicas: int = 2
    paused: bool = False
    managed: bool = True
    changed_at: datetime = NOW - seconds(3600)

    def view(self) -> DeploymentView:
        age = (self.now - self.changed_at).total_seconds()
        seen = self.generation if age >= 1 else self.generation - 1
        kind = self._behaviour()
        done = kind == "fine" and age >= 10 and not self.paused
        crashed = kind == "crash" and age >= 25
        done = done or (kind == "crash" and age >= 10 and not self.paused)
        up = 0 if crashed else self.replicas
        late = not done and age >= 60 and not self.paused and self.replicas > 0
        return DeploymentView(
            name="invoice-detector",
            uid=self.uid,
            resource_version=str(self.resource_version),
            managed=self.managed,
            keys=self.keys,
            epoch=self.epoch,
            template_hash=self.template_hash,
            generation=self.generation,
            observed_generation=seen,
            replicas=self.replicas,
            updated=self.replicas if done else min(1, self.replicas),
            ready=up,
            available=up,
            total=self.replicas if done or self.replicas == 0 else self.replicas + 1,
            paused=self.paused,
            deadline_exceeded=late,
            keys_manager=self.manager,
            progress_deadline_seconds=60,
            fault=self._fault(kind, crashed=crashed),
        )

    def _fault(self, kind: str, *, crashed: bool) -> Fault | None:
        """What a look at the pods would show: only a version is ever to blame, not pods that wait for one."""
        if crashed:
            return Fault("Ended", "container 'server' of pod 'a' ended with exit code 1: it crashed", self.now)
        if kind == "never" and self.keys.version is not None:
            return Fault("NotReady", "container 'server' of pod 'a' runs and is not ready", self.changed_at)
        return None

    def _behaviour(self) -> str:
        if self.keys.version is None:
            return "fine" if self.pinned else "never"
        return self.behaviour.get(self.keys.version, "fine")

    def write(self, served: ServedKeys, epoch: int | None, manager: str, *, template: str | None = None) -> None:
        """Anybody's write of keys, epoch and template."""
        if served != self.keys or template not in (None, self.template_hash):
            self.generation += 1
            self.changed_at = self.now
        self.resource_version += 1
        self.manager = None if served.absent and epoch is None else manager
        self.keys, self.epoch = served, epoch
        self.template_hash = template or self.template_hash

    def scale(self, replicas: int) -> None:
        self.replicas = replicas
        self.generation += 1
        self.resource_version += 1


@dataclass(frozen=True)
class Commit:
    """One committed apply of the operator, with what the policy's status said when it was committed."""

    uid: str
    before: ServedKeys
    before_manager: str | None
    after: ServedKeys
    epoch: int
    status: PolicyStatus


@dataclass
class World:
    """The operator's two reconcilers against one Deployment, with the writes that were committed."""

    policy: Policy = field(default_factory=policy)
    target: ModelDeployment | None = field(default_factory=lambda: ModelDeployment(now=NOW))
    versions: tuple[ModelVersion, ...] = ()
    promotions: dict[str, Promotion] = field(default_factory=dict)
    now: datetime = NOW
    commits: list[Commit] = field(default_factory=list)
    status_writes: int = 0
    statuses: list[PolicyStatus] = field(default_factory=list)
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    def ask(self, *wanted: Promotion) -> None:
        for one in wanted:
            self.promotions[one.metadata.name] = self._asked_now(one) if one.spec.release_hold else one

    def _asked_now(self, one: Promotion) -> Promotion:
        """A promotion that lifts a hold is made while the hold is there."""
        made = one.metadata.creation_timestamp
        return replace(one, metadata=replace(one.metadata, creation_timestamp=made and made + (self.now - NOW)))

    def view(self) -> PolicyView:
        there = None
        if self.target is not None:
            self.target.now = self.now
            there = self.target.view()
        seen = view(self.policy, there, *self.promotions.values(), versions=self.versions, now=self.now)
        observed = self.stopwatch.lap("policy", seen.timed, at=self.now.timestamp(), now=self.now)
        return with_changes(seen, observed=observed)

    def turn(self, *, crash: bool = False, stale: PolicyView | None = None) -> None:
        """Reconcile once: the status first (refused from a stale view), then the actions (lost in a crash)."""
        seen = stale or self.view()
        decision = policy_decide.decide(seen)
        if decision.status != seen.policy.status:
            if seen.policy.status != self.policy.status:
                return
            self.policy = replace(self.policy, status=decision.status)
            self.statuses.append(decision.status)
            self.status_writes += 1
        asked = applied(decision)
        if asked is not None and not crash:
            self._apply(asked, seen)
        self._mirror()

    def _apply(self, asked: ApplyKeys, seen: PolicyView) -> None:
        there = self.target
        if there is None or there.uid != asked.uid or str(there.resource_version) != asked.resource_version:
            return
        wanted = ServedKeys(asked.version, asked.uri, asked.sha256)
        foreign = there.manager not in (None, FIELD_MANAGER)
        if foreign and (wanted != there.keys or asked.epoch != there.epoch):
            self._refused(seen)
            return
        self.commits.append(Commit(there.uid, there.keys, there.manager, wanted, asked.epoch, self.policy.status))
        there.write(wanted, asked.epoch, FIELD_MANAGER)

    def _refused(self, seen: PolicyView) -> None:
        assert self.target is not None
        current = with_changes(seen, policy=self.policy)
        decision = policy_decide.refused(current, self.target.manager or "", "conflict with .spec.template")
        self.policy = replace(self.policy, status=decision.status)
        self.statuses.append(decision.status)
        self.status_writes += 1

    def _mirror(self) -> None:
        there = None if self.target is None else self.target.view()
        self.versions = tuple(self._with_record(version) for version in self.versions)
        for name in self.promotions:
            for _ in range(2):  # its outcome goes onto the object first, into its status with the next look
                one = self.promotions[name]
                decision = promotion_decide.decide(PromotionView(one, self.now, self.policy, there, self.versions))
                changed = annotated(replace(one, status=decision.status), decision)
                self.promotions[name] = changed
                self.status_writes += changed != one

    def _with_record(self, version: ModelVersion) -> ModelVersion:
        due = record_due(VersionView(version=version, now=self.now, policies=(self.policy,)))
        return version if due is None else annotated(version, Decision(version.status, (due,)))

    def run(self, duration: float, step: float = 5) -> None:
        """Let time pass, reconciling twice a step so that what one write wakes is done."""
        end = self.now + seconds(duration)
        while self.now < end:
            self.turn()
            self.turn()
            self.now += seconds(step)
        self.turn()

    def phase(self, name: str) -> str | None:
        return self.promotions[name].status.phase


def running(version: ModelVersion, *others: ModelVersion, **changes: Any) -> World:
    """A world in which `version` is live and settled, and `others` exist."""
    target = ModelDeployment(now=NOW, keys=keys(version), epoch=1, manager=FIELD_MANAGER, **changes)
    return World(policy=policy(live(version)), target=target, versions=(version, *others))
