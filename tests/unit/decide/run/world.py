"""A small obedient world for one FineTuneRun: it carries decisions out, and tests play people, pods and storage."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace as updated

from finetune_operator.api.meta import Artifact, Condition, FileReference, ObjectMeta, find
from finetune_operator.api.model_version import ModelVersion, VersionSpec, VersionStatus
from finetune_operator.api.policy import Data, PodTemplates, Policy, PolicySpec, Pool, ProductionGate, Serving, Source
from finetune_operator.api.policy_status import Judged, Live, PolicyStatus
from finetune_operator.api.progress import ProgressLine
from finetune_operator.api.promotion import Promotion, PromotionPhase, PromotionStatus
from finetune_operator.api.run import Review, Run, RunSpec, RunStatus, TestSet
from finetune_operator.api.run_document import RunDocument, document_json
from finetune_operator.api.scan import Production
from finetune_operator.api.value import parse, plain
from finetune_operator.cluster.reserve import with_reservation
from finetune_operator.decide.decision import (
    Action,
    CreateJob,
    CreateModelVersion,
    CreatePromotion,
    CreateSnapshot,
    Decision,
    DeleteJob,
    Emit,
    RecordMetric,
    ReserveVersion,
)
from finetune_operator.decide.run.machine import decide
from finetune_operator.decide.run.view import Queue, RunView, Twin
from finetune_operator.decide.views import JobView, Problem, Span, TemplateView
from unit.decide.run.results import (
    BASE,
    CLASSES,
    DIGESTS,
    LIVE,
    START,
    UID,
    envelope,
    evaluate_result,
    prepare_result,
    sha,
    train_result,
)


def base(version: str = "base_v1", digest: str = BASE, **changes: Any) -> ModelVersion:
    spec = VersionSpec(
        model="invoice-fields",
        version=version,
        type="Base",
        artifact=Artifact(uri=f"file:///models/{version}.onnx", sha256=digest, bytes=10),
        checkpoint=FileReference(uri=f"file:///models/{version}.pt", sha256=sha(version)),
        classes=CLASSES,
        serving=Serving(image_size=320),
    )
    name = f"invoice-fields-{version.replace('_', '-')}"
    metadata = ObjectMeta(name=name, namespace="ml", uid=sha(name)[:36])
    # Whatever went live here was measured on the test split that runs are measured on.
    verified = Condition(type="Verified", status="True", reason="Verified")
    status = VersionStatus(test_set=TestSet(digest=DIGESTS["testSet"], images=200), conditions=(verified,))
    return ModelVersion(metadata=metadata, spec=updated(spec, **changes), status=status)


def imported() -> ModelVersion:
    """The base as people apply it: nobody has measured it yet."""
    made = base()
    return updated(made, status=updated(made.status, conditions=()))


def policy(**changes: Any) -> Policy:
    spec = PolicySpec(
        model="invoice-fields",
        deployment="invoice-detector",
        classes=CLASSES,
        data=Data(anchor=Source(uri="file:///data/anchor"), pool=Pool(uri="file:///data/pool")),
        artifacts=Source(uri="file:///artifacts"),
        pod_templates=PodTemplates(train="gpu-trainer", cpu="cpu-trainer"),
        serving=Serving(image_size=320),
    )
    ready = Condition(type="Ready", status="True", reason="Ready", observed_generation=1)
    return Policy(
        metadata=ObjectMeta(name="invoice-fields", namespace="ml", uid="policy-uid", generation=1),
        spec=updated(spec, **changes),
        status=PolicyStatus(observed_generation=1, conditions=(ready,)),
    )


def capture(world: World, **changes: Any) -> None:
    """Let pages of production be captured, and the third gate be asked for, with other limits where wanted."""
    assert world.policy is not None
    spec = world.policy.spec
    captured = Production(uri="s3://bucket/production", keep_days=30)
    asked = spec.gates.production or ProductionGate(**changes)
    world.set_rules(data=updated(spec.data, production=captured), gates=updated(spec.gates, production=asked))


def run(**changes: Any) -> Run:
    return Run(
        metadata=ObjectMeta(name="first", namespace="ml", uid=UID, generation=1),
        spec=updated(RunSpec(policy="invoice-fields"), **changes),
    )


def template(name: str, problem: Problem | None = None) -> TemplateView:
    return TemplateView(name=name, hash=sha(name)[:16], problem=problem)


def ended(job: JobView, now: datetime) -> tuple[Span, ...]:
    """Return when the trainers of a Job ran, if the last one ends now."""
    return tuple(Span(span.start, span.end or now) for span in job.spans)


def live(version: str, digest: str) -> Live:
    return Live(
        version=version,
        model_version=f"invoice-fields-{version.replace('_', '-')}",
        uri=f"file:///models/{version}.onnx",
        sha256=digest,
        epoch=1,
        since=START,
    )


@dataclass
class World:
    """The objects around one run."""

    run: Run = field(default_factory=run)
    now: datetime = START
    policy: Policy | None = field(default_factory=policy)
    versions: tuple[ModelVersion, ...] = field(default_factory=lambda: (base(),))
    train_template: TemplateView | None = field(default_factory=lambda: template("gpu-trainer"))
    cpu_template: TemplateView | None = field(default_factory=lambda: template("cpu-trainer"))
    evaluate_template: TemplateView | None = None
    snapshot: RunDocument | None = None
    snapshot_problem: Problem | None = None
    jobs: tuple[JobView, ...] = ()
    progress: ProgressLine | None = None
    promotion: Promotion | None = None
    queue: Queue = field(default_factory=Queue)
    twins: tuple[Twin, ...] = ()
    ahead: tuple[str, ...] = ()
    judged_runs: tuple[Judged, ...] = ()
    history: list[Action] = field(default_factory=list)
    writes: int = 0

    @property
    def status(self) -> RunStatus:
        return self.run.status

    def phase(self) -> str | None:
        return self.run.status.phase

    def view(self) -> RunView:
        return RunView(
            run=self.run,
            now=self.now,
            policy=self.policy,
            versions=self.versions,
            train_template=self.train_template,
            cpu_template=self.cpu_template,
            evaluate_template=self.evaluate_template,
            snapshot=self.snapshot,
            snapshot_problem=self.snapshot_problem,
            jobs=self.jobs,
            nonce="0a1b",
            progress=self.progress,
            promotion=self.promotion,
            queue=self.queue,
            twins=self.twins,
            ahead=self.ahead,
            judged=self.judged_runs,
        )

    def decide(self, *, crash: bool = False) -> Decision[RunStatus]:
        """Decide once and carry it out; `crash` loses everything after the status write."""
        decision = decide(self.view())
        if decision.status != self.status:
            self.writes += 1
            # As the API server keeps it: what does not survive JSON would not survive a restart.
            self.run = updated(self.run, status=parse(plain(decision.status), RunStatus))
        if not crash:
            for action in decision.actions:
                self._carry_out(action)
        return decision

    def settle(self) -> Decision[RunStatus]:
        """Decide until nothing changes any more."""
        for _ in range(20):
            before = self.view()
            decision = self.decide()
            if self.view() == before and not decision.actions:
                return decision
        raise AssertionError(f"the run does not settle: {decision}")

    def _carry_out(self, action: Action) -> None:
        self.history.append(action)
        match action:
            case CreateSnapshot():
                self.snapshot = parse(json.loads(json.dumps(document_json(action.run_document))), RunDocument)
            case CreateJob():
                assert self.status.place == "Taken", "a Job begins only for a run that has a place"
                job = JobView(
                    name=action.name,
                    uid=f"uid-of-{action.name}",
                    step=action.step,
                    attempt=action.attempt,
                    round=action.round,
                    collect=action.collect,
                    pods_gone=False,
                )
                assert action.name not in {j.name for j in self.jobs}, f"two Jobs named {action.name}"
                self.jobs = (*self.jobs, job)
            case DeleteJob():
                self.jobs = tuple(replace(j, deleting=True) if j.name == action.name else j for j in self.jobs)
            case ReserveVersion():
                self._reserve(action)
            case CreateModelVersion():
                meta = ObjectMeta(name=action.name, namespace="ml", uid=sha(action.name)[:36])
                self.versions = (*self.versions, ModelVersion(metadata=meta, spec=action.spec))
            case CreatePromotion():
                meta = ObjectMeta(name=action.name, namespace="ml", uid="promotion-uid")
                self.promotion = Promotion(metadata=meta, spec=action.spec)
            case Emit() | RecordMetric():
                pass
            case _:
                raise AssertionError(f"a run never asks for {action}")

    def _reserve(self, action: ReserveVersion) -> None:
        assert self.policy is not None
        taken = [version.spec.version for version in self.versions]
        status = with_reservation(self.policy.status, action.run_uid, action.series, taken, action.instead_of)
        self.policy = updated(self.policy, status=status)

    # What people and the cluster do.

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def job(self, step: str) -> JobView:
        """The newest Job of a step."""
        return [j for j in self.jobs if j.step == step][-1]

    def jobs_made(self, step: str) -> int:
        return sum(isinstance(a, CreateJob) and a.step == step for a in self.history)

    def change_job(self, name: str, **changes: Any) -> None:
        assert any(j.name == name for j in self.jobs)
        self.jobs = tuple(replace(j, **changes) if j.name == name else j for j in self.jobs)

    def remove_job(self, name: str) -> None:
        self.jobs = tuple(j for j in self.jobs if j.name != name)

    def start(self, step: str) -> None:
        self.change_job(self.job(step).name, spans=(Span(self.now),))
        self.settle()

    def complete(self, step: str, result: dict[str, Any] | str | None, **changes: Any) -> None:
        """Let the newest Job of a step end well, with a result, a raw text, or nothing to read."""
        job = self.job(step)
        text = self._said(envelope(job, result, **changes)) if isinstance(result, dict) else result
        self.change_job(
            job.name,
            state="Complete",
            finished_at=self.now,
            exit_code=0,
            termination_message=text,
            pods_gone=True,
            spans=ended(job, self.now),
        )
        self.settle()

    def fail(self, step: str, exit_code: int | None, error: dict[str, str] | None = None, **changes: Any) -> None:
        """Let the newest Job of a step fail."""
        job = self.job(step)
        text = self._said(envelope(job, {}, outcome="Failed", error=error, manifest=None)) if error else None
        over: dict[str, Any] = {"state": "Failed", "finished_at": self.now, "pods_gone": True, "has_pods": True}
        over["spans"] = ended(job, self.now)
        self.change_job(job.name, **{**over, "exit_code": exit_code, "termination_message": text, **changes})
        self.settle()

    def _said(self, message: dict[str, Any]) -> str:
        """What the trainer says to this run: everything that it writes is the run's own."""
        return json.dumps(message).replace(UID, self.run.metadata.uid)

    def go_live(self, version: str | None, digest: str = LIVE) -> None:
        self.set_policy(live=live(version, digest) if version else None)

    def set_policy(self, **changes: Any) -> None:
        assert self.policy is not None
        self.policy = updated(self.policy, status=updated(self.policy.status, **changes))

    def set_rules(self, **changes: Any) -> None:
        assert self.policy is not None
        self.policy = updated(self.policy, spec=updated(self.policy.spec, **changes))

    def edit(self, **changes: Any) -> None:
        """Edit the run's spec, as a patch does."""
        meta = updated(self.run.metadata, generation=self.run.metadata.generation + 1)
        self.run = updated(self.run, metadata=meta, spec=updated(self.run.spec, **changes))

    def promotion_is(self, phase: PromotionPhase, reason: str = "", message: str = "") -> None:
        assert self.promotion is not None
        finished = Condition(type="Finished", status="True", reason=reason or phase, message=message)
        status = PromotionStatus(phase=phase, message=message, conditions=(finished,))
        self.promotion = updated(self.promotion, status=status)
        self.settle()

    # Short cuts to a place in the flow.

    def prepared(self, drawn: dict[str, Any] | None = None) -> World:
        """`drawn` is what prepare says where it is not what it says by default."""
        self.settle()
        self.start("prepare")
        self.complete("prepare", drawn or prepare_result())
        return self

    def trained(self, drawn: dict[str, Any] | None = None, **said: Any) -> World:
        """`drawn` as for `prepared`; `said` is what train says otherwise than by default."""
        self.prepared(drawn)
        self.start("train")
        self.wait(130)
        self.complete("train", train_result(**said))
        return self

    def judged(self, **measurements: Any) -> World:
        self.trained()
        self.start("evaluate")
        self.complete("evaluate", evaluate_result(**measurements))
        return self

    def in_review(self) -> World:
        return self.judged(candidate="0.970000")

    @staticmethod
    def at(step: str) -> World:
        """A world whose newest Job is of that step."""
        world = World()
        match step:
            case "prepare":
                world.settle()
            case "train":
                world.prepared()
            case "evaluate":
                world.trained()
            case "review":
                world.in_review()
            case _:
                pass
        return world

    def condition(self, kind: str) -> tuple[str, str]:
        shown = find(self.status.conditions, kind)
        assert shown is not None, f"no condition {kind}"
        return shown.status, shown.reason

    def message(self, kind: str) -> str:
        shown = find(self.status.conditions, kind)
        return shown.message if shown else ""

    def events(self) -> list[str]:
        return [a.reason for a in self.history if isinstance(a, Emit)]


def deleted(meta: ObjectMeta) -> ObjectMeta:
    return updated(meta, deletion_timestamp=START)


def digest(world: World) -> str:
    """Return the digest of the evidence that the run stands on."""
    assert world.status.evidence is not None
    return world.status.evidence.digest


def review(world: World, decision: str, evidence: str = "") -> None:
    """Let a person decide about that evidence, by default the one that is there."""
    named = Review(decision=decision, evidence=evidence or digest(world), by="ann", reason="I looked")  # type: ignore[arg-type]
    world.edit(review=named)
    world.settle()


def made(world: World, kind: type) -> int:
    """Return how many actions of that type there were."""
    return sum(isinstance(a, kind) for a in world.history)
