"""Gather what a decision looks at: the I/O of reading, and nothing else."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile
from secrets import token_hex
from typing import Any, Generic, TypeVar

from ..api import names
from ..api.meta import oldest_first
from ..api.model_version import ModelVersion
from ..api.policy import Policy, TemplateRole
from ..api.promotion import FINAL_PROMOTION_PHASES, Promotion
from ..api.run import FINAL_PHASES, Run, RunSpec
from ..api.run_document import RunDocument, document_sha256
from ..api.value import InvalidObject, parse
from ..decide.decision import CreateJob
from ..decide.policy.scan import document_name, wants_scan
from ..decide.promotion.view import PromotionView
from ..decide.run.view import RunView
from ..decide.snapshot import document_of_scan
from ..decide.templates import ROLES, training_role
from ..decide.times import soonest
from ..decide.version.view import VersionView
from ..decide.views import PolicyView, Problem, TemplateView
from ..manifests.documents import DOCUMENT_KEY, document_digest, read_document
from ..manifests.essence import fingerprint
from ..manifests.job import build_job
from ..manifests.owner import Owner, is_owned
from .deployment_views import template_view
from .deployments import Deployments
from .finished_jobs import finished_jobs
from .fired_runs import fired_runs, rebuilds, runs_underway
from .job_views import SeenJobs, running_pod
from .judged_runs import JudgedRuns
from .kinds import Kind
from .own_jobs import own_jobs
from .parsed import ParsedObjects
from .places import Places
from .port import Cluster, Object
from .progress import ProgressReader
from .rejected_runs import rejected_of
from .signals import ASKED_EVERY, Hearing, Signals

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Observed(Generic[V]):
    """A view, and what `act` needs of the objects behind it."""

    kind: Kind
    raw: Object
    view: V
    owner: Owner | None = None
    run: RunSpec | None = None
    policy: Policy | None = None
    templates: Mapping[str, Object] = field(default_factory=dict)
    poll: timedelta | None = None


def a_nonce() -> str:
    """Return what nobody can guess: 128 bits as a value of a label, which holds 63 characters."""
    return token_hex(16)


class Observer:
    """Builds views from a Cluster; its parts remember parsed objects, and when logs, pods and alerts were read last."""

    def __init__(self, cluster: Cluster, nonces: Callable[[], str] = a_nonce, signals: Signals | None = None) -> None:
        self._cluster = cluster
        self._hearing = Hearing(signals)
        self._nonces = nonces
        self._progress = ProgressReader(cluster)
        self._deployments = Deployments(cluster)
        self._judged = JudgedRuns(cluster)
        self._jobs = SeenJobs()
        self.objects = ParsedObjects(cluster)
        self.places = Places(cluster)

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an object that is gone."""
        self.objects.forget(uid)
        self._progress.forget(uid)
        self._deployments.forget(uid)
        self._hearing.forget(uid)
        self._jobs.forget(uid)

    async def observe(self, kind: Kind, raw: Object, now: datetime) -> Observed[Any]:
        """Return everything that the next decision about an object hangs on. Raises InvalidObject."""
        match kind:
            case Kind.RUN:
                return await self.run(raw, now)
            case Kind.MODEL_VERSION:
                return await self.version(raw, now)
            case Kind.POLICY:
                return await self.policy(raw, now)
            case Kind.PROMOTION:
                return await self.promotion(raw, now)
            case _:
                raise AssertionError(f"{kind} is not reconciled")

    async def run(self, raw: Object, now: datetime) -> Observed[RunView]:
        """Return everything that a FineTuneRun's next step hangs on. Raises InvalidObject."""
        run = parse(raw, Run)
        namespace, uid = run.metadata.namespace, run.metadata.uid
        jobs, pods = await own_jobs(self._cluster, namespace, uid, run.status.attempts, self._jobs)
        if run.status.phase in FINAL_PHASES:
            return Observed(Kind.RUN, raw, RunView(run=run, now=now, jobs=jobs), run=run.spec)
        policy = await self.objects.policy(namespace, run.spec.policy)
        snapshot, problem = await self._snapshot(namespace, uid, run.status.snapshot or names.snapshot_name(
            run.metadata.name, uid), run.status.snapshot_sha256, expected=run.status.snapshot is not None)  # fmt: skip
        if snapshot is not None and policy is not None and policy.spec.model != snapshot.model:
            policy = None  # it was made anew, for another model: it has only the name of the run's (R243)
        templates = await self._templates(namespace, policy)
        model = policy.spec.model if policy else snapshot.model if snapshot else None
        promotion = run.status.promotion
        owner = Owner("FineTuneRun", namespace, run.metadata.name, uid)
        progress, poll = await self._progress.read(namespace, uid, running_pod(jobs, pods), now)
        view = RunView(
            run=run,
            now=now,
            policy=policy,
            versions=await self.objects.versions(namespace, model),
            train_template=_template(policy, training_role(run.spec), templates),
            cpu_template=_template(policy, "cpu", templates),
            evaluate_template=_template(policy, "evaluate", templates),
            snapshot=snapshot,
            snapshot_problem=problem,
            jobs=jobs,
            nonce=self._nonces(),
            fingerprint=partial(_fingerprint, owner, templates, run.spec, policy),
            progress=progress,
            promotion=await self.objects.promotion(namespace, promotion) if promotion else None,
            judged=await self._judged.of(namespace, run.spec.policy) if run.status.inputs is None else (),
        )
        # Last: between this look and the claim of a place (see Places.claimed) nobody else may look.
        view = await self._among_others(view)
        return Observed(Kind.RUN, raw, view, owner=owner, run=run.spec, policy=policy, templates=templates, poll=poll)

    async def _among_others(self, view: RunView) -> RunView:
        """Return the view with what the run has to know of others: who is ahead, asks for the same, or waits."""
        return replace(
            view,
            ahead=await self.places.ahead(view.run),
            twins=await self.places.twins(view.run, view.jobs),
            queue=await self.places.queue(view.run),
        )

    async def version(self, raw: Object, now: datetime) -> Observed[VersionView]:
        """Return everything that a ModelVersion's status hangs on. Raises InvalidObject."""
        version = self.objects.parse(raw, ModelVersion)
        namespace, uid = version.metadata.namespace, version.metadata.uid
        policies = tuple(p for p in await self.objects.policies(namespace) if p.spec.model == version.spec.model)
        first = next(iter(oldest_first(policies)), None)
        templates = await self._templates(namespace, first)
        imported = version.spec.is_import
        attempts = version.status.attempts
        jobs, _ = await own_jobs(self._cluster, namespace, uid, attempts, self._jobs) if imported else ((), ())
        expected = bool(version.status.attempts)
        name = names.snapshot_name(version.metadata.name, uid)
        snapshot, problem = (
            await self._snapshot(namespace, uid, name, version.status.snapshot_sha256, expected=expected)
            if imported
            else (None, None)
        )
        owner = Owner("ModelVersion", namespace, version.metadata.name, uid)
        return Observed(
            Kind.MODEL_VERSION,
            raw,
            VersionView(
                version=version,
                now=now,
                policies=policies,
                cpu_template=_template(first, "cpu", templates),
                evaluate_template=_template(first, "evaluate", templates),
                snapshot=snapshot,
                snapshot_problem=problem,
                jobs=jobs,
                nonce=self._nonces(),
                fingerprint=partial(_fingerprint, owner, templates, None, first),
            ),
            owner=owner,
            policy=first,
            templates=templates,
        )

    async def policy(self, raw: Object, now: datetime) -> Observed[PolicyView]:
        """Return everything that a FineTunePolicy's status and its Deployment hang on. Raises InvalidObject."""
        policy = self.objects.parse(raw, Policy)
        namespace = policy.metadata.namespace
        templates = await self._templates(namespace, policy)
        policies = await self.objects.policies(namespace)
        # First, for a Prometheus may be slow: what is looked at after it is what a flight is decided by.
        alerts, series = await self._hearing.alerts(policy, now), await self._hearing.series(policy)
        target = await self._deployments.target(policy, now)
        owner = Owner("FineTunePolicy", namespace, policy.metadata.name, policy.metadata.uid)
        scans = policy.status.scan
        scanning = scans is not None or wants_scan(policy)
        attempts = () if scans is None else scans.attempts
        jobs, _ = await own_jobs(self._cluster, namespace, owner.uid, attempts, self._jobs) if scanning else ((), ())
        view = PolicyView(
            policy=policy,
            now=now,
            deployment=target.deployment,
            train_template=_template(policy, "train", templates),
            cpu_template=_template(policy, "cpu", templates),
            evaluate_template=_template(policy, "evaluate", templates),
            scan_template=_template(policy, "scan", templates),
            rebuild_template=_template(policy, "rebuild", templates),
            scan_document=scanning and await self._has_scan_document(namespace, policy),
            jobs=jobs,
            nonce=self._nonces() if scanning else "",
            fingerprint=partial(_fingerprint, owner, templates, None, policy),
            versions=await self.objects.versions(namespace, policy.spec.model),
            promotions=await self.objects.promotions(policy),
            rejections=await rejected_of(self._cluster, namespace, policy, policies),
            judged=await self._judged.of(namespace, policy.metadata.name),
            fired=await fired_runs(self._cluster, namespace, policy),
            underway=await runs_underway(self._cluster, namespace, policy),
            rebuilding=await rebuilds(self._cluster, namespace, policy),
            rivals=_rivals(policy, policies),
            finished_jobs=await finished_jobs(self._cluster, namespace, policy),
            alerts=alerts,
            series=series,
            read_anew=target.read_anew,
        )
        poll = soonest(target.poll, None if alerts is None else ASKED_EVERY)
        return Observed(Kind.POLICY, raw, view, owner=owner, policy=policy, templates=templates, poll=poll)

    async def _has_scan_document(self, namespace: str, policy: Policy) -> bool:
        """Tell whether the ConfigMap is there that a scan would work from now."""
        raw = await self._cluster.get(Kind.CONFIG_MAP, namespace, document_name(policy))
        if raw is None or not is_owned(raw, policy.metadata.uid):
            return False
        return document_digest(raw) == document_sha256(document_of_scan(policy))

    async def promotion(self, raw: Object, now: datetime) -> Observed[PromotionView]:
        """Return everything that a ModelPromotion's status hangs on. Raises InvalidObject."""
        promotion = self.objects.parse(raw, Promotion)
        namespace = promotion.metadata.namespace
        if promotion.status.phase in FINAL_PROMOTION_PHASES:
            return Observed(Kind.PROMOTION, raw, PromotionView(promotion=promotion, now=now))
        policy = await self.objects.policy(namespace, promotion.spec.policy)
        view = PromotionView(
            promotion=promotion,
            now=now,
            policy=policy,
            deployment=await self._deployments.view(namespace, policy.spec.deployment) if policy else None,
            versions=await self.objects.versions(namespace, policy.spec.model if policy else None),
        )
        return Observed(Kind.PROMOTION, raw, view)

    async def _templates(self, namespace: str, policy: Policy | None) -> dict[str, Object]:
        if policy is None:
            return {}
        named = policy.spec.pod_templates
        wanted: dict[TemplateRole, str] = {role: named.of(role) for role in ROLES}
        raws = {use: await self._cluster.get(Kind.POD_TEMPLATE, namespace, name) for use, name in wanted.items()}
        return {use: raw for use, raw in raws.items() if raw is not None}

    async def _snapshot(
        self, namespace: str, uid: str, name: str, sha256: str | None, *, expected: bool
    ) -> tuple[RunDocument | None, Problem | None]:
        """Return the run document in the owner's snapshot, or why there is none to be used.

        `expected`: the status says that it was to be made, so a miss is looked up past the cache; `sha256` is what the
        status says of its text.
        """
        raw = await self._cluster.get(Kind.CONFIG_MAP, namespace, name)
        if raw is None and expected:
            raw = await self._cluster.get(Kind.CONFIG_MAP, namespace, name, fresh=True)
        if raw is None:
            return None, None
        if not is_owned(raw, uid):
            return None, Problem(
                "NameTaken", f"ConfigMap {name!r} is not this object's: delete or rename it, and start anew"
            )
        there = document_digest(raw)
        if sha256 is not None and there != sha256:
            return None, Problem("SnapshotInvalid", f"ConfigMap {name!r} is not the one that was made: its "
                f"{DOCUMENT_KEY} has sha256 {there[:12]}, not {sha256[:12]}; nothing is judged by it")  # fmt: skip
        try:
            return self.objects.read(raw, read_document), None
        except InvalidObject as error:
            return None, Problem("SnapshotInvalid", f"{error}; the snapshot was changed or is of another release")


def _rivals(policy: Policy, policies: Iterable[Policy]) -> tuple[str, ...]:
    """Return the names of the older policies of the same Deployment."""
    others = [
        other
        for other in policies
        if other.spec.deployment == policy.spec.deployment and other.metadata.name != policy.metadata.name
    ]
    older = takewhile(lambda other: other is not policy, oldest_first([*others, policy]))
    return tuple(other.metadata.name for other in older)


def _template(policy: Policy | None, use: TemplateRole, templates: Mapping[str, Object]) -> TemplateView | None:
    if policy is None:
        return None
    return template_view(policy.spec.pod_templates.of(use), templates.get(use), policy.spec.jobs.queue_name)


def _fingerprint(
    owner: Owner, templates: Mapping[str, Object], run: RunSpec | None, policy: Policy | None, action: CreateJob
) -> str | None:
    """Return what a Job is known by once it is made; None where there is no PodTemplate to make it from."""
    template = templates.get(action.template)
    return None if template is None else fingerprint(build_job(action, owner, template, run, policy))
