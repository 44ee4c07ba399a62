"""Gather what a decision looks at: the I/O of reading, and nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile
from secrets import token_hex
from typing import Any, Generic, TypeVar

from ..api import names
from ..api.contract import RunDocument, document_sha256
from ..api.meta import oldest_first
from ..api.model_version import ModelVersion
from ..api.policy import Policy, TemplateRole
from ..api.promotion import FINAL_PROMOTION_PHASES, Promotion
from ..api.run import FINAL_PHASES, Attempt, Run, RunSpec
from ..api.value import InvalidObject, parse
from ..decide.decision import CreateJob
from ..decide.policy.scan import document_name, wants_scan
from ..decide.promotion.view import PromotionView
from ..decide.run.view import RunView
from ..decide.snapshot import document_of_scan
from ..decide.templates import ROLES, training_role
from ..decide.times import soonest
from ..decide.version.view import VersionView
from ..decide.views import DeploymentView, JobView, PolicyView, Problem, TemplateView
from ..manifests.documents import DOCUMENT_KEY, document_digest, read_document
from ..manifests.essence import fingerprint
from ..manifests.job import build_job
from ..manifests.owner import Owner, is_owned
from .deployment_views import deployment_view, pod_labels, pod_spec, serves, template_view
from .errors import ClusterError
from .finished_jobs import finished_jobs
from .fired_runs import fired_runs, rebuilds, runs_underway
from .job_views import job_views, running_pod, to_be_harvested
from .judged_runs import JudgedRuns
from .kinds import Kind
from .places import Places
from .pods_at_rest import LOOK_AGAIN, is_short, pods_of, why_short
from .port import Cluster, Object
from .progress import ProgressReader
from .rejected_runs import rejected_of
from .serving_trouble import what_ails
from .signals import ASKED_EVERY, Hearing, Signals

V = TypeVar("V")
R = TypeVar("R")
T = TypeVar("T", Run, Policy, ModelVersion, Promotion)


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


@dataclass(frozen=True, slots=True)
class _Ailing:
    deployment: str
    read_at: datetime
    trouble: Problem | None


def a_nonce() -> str:
    """Return what nobody can guess: 128 bits as a value of a label, which holds 63 characters."""
    return token_hex(16)


class Observer:
    """Builds views from a Cluster; remembers parsed objects, and when logs and pods were read last."""

    def __init__(self, cluster: Cluster, nonces: Callable[[], str] = a_nonce, signals: Signals | None = None) -> None:
        self._cluster = cluster
        self._hearing = Hearing(signals)
        self._nonces = nonces
        self._parsed: dict[str, tuple[str, object]] = {}
        self._versions: dict[str, tuple[tuple[Object, ...], tuple[ModelVersion, ...]]] = {}
        self._progress = ProgressReader(cluster)
        self._ailing: dict[str, _Ailing] = {}
        self._judged = JudgedRuns(cluster)
        self.places = Places(cluster)

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an object that is gone."""
        self._parsed.pop(uid, None)
        self._progress.forget(uid)
        self._ailing.pop(uid, None)
        self._hearing.forget(uid)

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
        jobs, pods = await self._jobs(namespace, uid, run.status.attempts)
        if run.status.phase in FINAL_PHASES:
            return Observed(Kind.RUN, raw, RunView(run=run, now=now, jobs=jobs), run=run.spec)
        policy = await self._policy(namespace, run.spec.policy)
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
            versions=await self._models(namespace, model),
            train_template=_template(policy, training_role(run.spec), templates),
            cpu_template=_template(policy, "cpu", templates),
            evaluate_template=_template(policy, "evaluate", templates),
            snapshot=snapshot,
            snapshot_problem=problem,
            jobs=jobs,
            nonce=self._nonces(),
            fingerprint=partial(_fingerprint, owner, templates, run.spec, policy),
            progress=progress,
            promotion=await self._promotion(namespace, promotion) if promotion else None,
            judged=await self._judged.of(namespace, run.spec.policy) if run.status.inputs is None else (),
        )
        return Observed(
            Kind.RUN,
            raw,
            # Last: between this look and the claim of a place (see Places.claimed) nobody else may look.
            replace(
                view,
                ahead=await self.places.ahead(run),
                twins=await self.places.twins(run, jobs),
                queue=await self.places.queue(run),
            ),
            owner=owner,
            run=run.spec,
            policy=policy,
            templates=templates,
            poll=poll,
        )

    async def version(self, raw: Object, now: datetime) -> Observed[VersionView]:
        """Return everything that a ModelVersion's status hangs on. Raises InvalidObject."""
        version = self._parse(raw, ModelVersion)
        namespace, uid = version.metadata.namespace, version.metadata.uid
        policies = tuple(p for p in await self._policies(namespace) if p.spec.model == version.spec.model)
        first = next(iter(oldest_first(policies)), None)
        templates = await self._templates(namespace, first)
        imported = version.spec.is_import
        jobs, _ = await self._jobs(namespace, uid, version.status.attempts) if imported else ((), ())
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
        policy = self._parse(raw, Policy)
        namespace = policy.metadata.namespace
        templates = await self._templates(namespace, policy)
        policies = await self._policies(namespace)
        others = [
            other
            for other in policies
            if other.spec.deployment == policy.spec.deployment and other.metadata.name != policy.metadata.name
        ]
        older = takewhile(lambda other: other is not policy, oldest_first([*others, policy]))
        # First, for a Prometheus may be slow: what is looked at after it is what a flight is decided by.
        alerts, series = await self._hearing.alerts(policy, now), await self._hearing.series(policy)
        deployment, poll, read_anew = await self._target(namespace, policy, now)
        owner = Owner("FineTunePolicy", namespace, policy.metadata.name, policy.metadata.uid)
        scans = policy.status.scan
        scanning = scans is not None or wants_scan(policy)
        jobs, _ = await self._jobs(namespace, owner.uid, scans.attempts if scans else ()) if scanning else ((), ())
        view = PolicyView(
            policy=policy,
            now=now,
            deployment=deployment,
            train_template=_template(policy, "train", templates),
            cpu_template=_template(policy, "cpu", templates),
            evaluate_template=_template(policy, "evaluate", templates),
            scan_template=_template(policy, "scan", templates),
            rebuild_template=_template(policy, "rebuild", templates),
            scan_document=scanning and await self._has_scan_document(namespace, policy),
            jobs=jobs,
            nonce=self._nonces() if scanning else "",
            fingerprint=partial(_fingerprint, owner, templates, None, policy),
            versions=await self._models(namespace, policy.spec.model),
            promotions=await self.promotions(policy),
            rejections=await rejected_of(self._cluster, namespace, policy, policies),
            judged=await self._judged.of(namespace, policy.metadata.name),
            fired=await fired_runs(self._cluster, namespace, policy),
            underway=await runs_underway(self._cluster, namespace, policy),
            rebuilding=await rebuilds(self._cluster, namespace, policy),
            rivals=tuple(other.metadata.name for other in older),
            finished_jobs=await finished_jobs(self._cluster, namespace, policy),
            alerts=alerts,
            series=series,
            read_anew=read_anew,
        )
        poll = soonest(poll, None if alerts is None else ASKED_EVERY)
        return Observed(Kind.POLICY, raw, view, owner=owner, policy=policy, templates=templates, poll=poll)

    async def _has_scan_document(self, namespace: str, policy: Policy) -> bool:
        """Tell whether the ConfigMap is there that a scan would work from now."""
        raw = await self._cluster.get(Kind.CONFIG_MAP, namespace, document_name(policy))
        if raw is None or not is_owned(raw, policy.metadata.uid):
            return False
        return document_digest(raw) == document_sha256(document_of_scan(policy))

    async def promotions(self, policy: Policy, *, fresh: bool = False) -> tuple[Promotion, ...]:
        """Return the promotions that name the policy; `fresh` asks the API server for them."""
        listed = await self._cluster.list(Kind.PROMOTION, policy.metadata.namespace, fresh=fresh)
        read = (self._try(promotion, Promotion) for promotion in listed)
        return tuple(p for p in read if p is not None and p.spec.policy == policy.metadata.name)

    async def promotion(self, raw: Object, now: datetime) -> Observed[PromotionView]:
        """Return everything that a ModelPromotion's status hangs on. Raises InvalidObject."""
        promotion = self._parse(raw, Promotion)
        namespace = promotion.metadata.namespace
        if promotion.status.phase in FINAL_PROMOTION_PHASES:
            return Observed(Kind.PROMOTION, raw, PromotionView(promotion=promotion, now=now))
        policy = await self._policy(namespace, promotion.spec.policy)
        view = PromotionView(
            promotion=promotion,
            now=now,
            policy=policy,
            deployment=await self._deployment(namespace, policy.spec.deployment) if policy else None,
            versions=await self._models(namespace, policy.spec.model if policy else None),
        )
        return Observed(Kind.PROMOTION, raw, view)

    async def _jobs(
        self, namespace: str, uid: str, attempts: tuple[Attempt, ...]
    ) -> tuple[tuple[JobView, ...], tuple[Object, ...]]:
        """Return an owner's Jobs and their pods.

        A Job that was seen and is missing now would cost an attempt: it is looked up past the cache first.
        """
        labels = {names.OWNER_UID_LABEL: uid}
        jobs = await self._with_missed(namespace, attempts, await self._cluster.list(Kind.JOB, namespace, labels))
        pods = await self._cluster.list(Kind.POD, namespace, labels)
        known = {attempt.job_uid for attempt in attempts if attempt.job_uid}
        views = job_views(uid, jobs, pods, known)
        if not to_be_harvested(attempts, views):
            return views, pods
        # What is taken is what the API server has now, not what a cache remembers of it.
        jobs = await self._with_missed(
            namespace, attempts, await self._cluster.list(Kind.JOB, namespace, labels, fresh=True)
        )
        pods = await self._cluster.list(Kind.POD, namespace, labels, fresh=True)
        return job_views(uid, jobs, pods, known), pods

    async def _with_missed(
        self, namespace: str, attempts: tuple[Attempt, ...], jobs: tuple[Object, ...]
    ) -> tuple[Object, ...]:
        """Return the Jobs with those that were seen and are missing: a label is anybody's to take from them."""
        known = {job["metadata"]["name"] for job in jobs}
        for attempt in attempts:
            if attempt.outcome in {"Planned", "Running"} and attempt.job_uid and attempt.job not in known:
                missed = await self._cluster.get(Kind.JOB, namespace, attempt.job, fresh=True)
                jobs = jobs if missed is None else (*jobs, missed)
        return jobs

    async def _policy(self, namespace: str, name: str) -> Policy | None:
        raw = await self._cluster.get(Kind.POLICY, namespace, name)
        return None if raw is None else self._try(raw, Policy)

    async def _policies(self, namespace: str) -> tuple[Policy, ...]:
        policies = [self._try(raw, Policy) for raw in await self._cluster.list(Kind.POLICY, namespace)]
        return tuple(p for p in policies if p is not None)

    async def _promotion(self, namespace: str, name: str) -> Promotion | None:
        """Return the promotion; a missing one is asked for anew, because its absence ends a run."""
        raw = await self._cluster.get(Kind.PROMOTION, namespace, name)
        raw = raw or await self._cluster.get(Kind.PROMOTION, namespace, name, fresh=True)
        return None if raw is None else self._try(raw, Promotion)

    async def _deployment(self, namespace: str, name: str) -> DeploymentView | None:
        raw = await self._raw_deployment(namespace, name)
        return None if raw is None else deployment_view(raw)

    async def _raw_deployment(self, namespace: str, name: str, *, anew: bool = False) -> Object | None:
        """Return the Deployment; one without the opt-in label is not watched, so it is asked for."""
        raw = None if anew else await self._cluster.get(Kind.DEPLOYMENT, namespace, name)
        return raw or await self._cluster.get(Kind.DEPLOYMENT, namespace, name, fresh=True)

    async def _target(
        self, namespace: str, policy: Policy, now: datetime
    ) -> tuple[DeploymentView | None, timedelta | None, bool]:
        """Return the Deployment with what ails the pods that it waits for, when to look at these again, and whether
        all of it was read for this look.

        Pods are not watched, so they are asked for: by a flight with each look, at rest every LOOK_AGAIN, and never
        while all of them are available. A flight asks for the Deployment, too: a watch that tells nothing any more is
        no reason to go back, and none to call a version good.
        """
        flight, uid = policy.status.in_flight, policy.metadata.uid
        raw = await self._raw_deployment(namespace, policy.spec.deployment, anew=flight is not None)
        short = raw is not None and flight is None and policy.status.live is not None and is_short(raw)
        if not short:
            self._ailing.pop(uid, None)
        if raw is None:
            return None, None, True
        deployment, labels = deployment_view(raw), pod_labels(raw)
        if short and deployment.managed and labels:
            return replace(deployment, trouble=await self._at_rest(namespace, uid, raw, now)), LOOK_AGAIN, False
        if flight is None:
            return deployment, None, False
        awaited = flight.back if flight.phase == "Returning" else flight.to
        if awaited is None or deployment.settled or not labels:
            return deployment, None, True
        try:
            pods = await pods_of(self._cluster, namespace, raw)
        except ClusterError:
            return deployment, None, False  # a way back that began goes on; none begins by time alone
        ails = what_ails((pod for pod in pods if serves(pod, awaited.sha256)), pod_spec(raw))
        return replace(deployment, trouble=ails.problem or deployment.trouble, fault=ails.fault), None, True

    async def _at_rest(self, namespace: str, uid: str, deployment: Object, now: datetime) -> Problem | None:
        known = self._ailing.get(uid)
        if known is None or known.deployment != deployment["metadata"]["uid"] or now - known.read_at >= LOOK_AGAIN:
            try:
                pods = await pods_of(self._cluster, namespace, deployment)
            except ClusterError:
                return known.trouble if known is not None else None  # it only explains
            known = _Ailing(deployment["metadata"]["uid"], now, why_short(deployment, pods, now))
            self._ailing[uid] = known
        return known.trouble

    async def _templates(self, namespace: str, policy: Policy | None) -> dict[str, Object]:
        if policy is None:
            return {}
        named = policy.spec.pod_templates
        wanted: dict[TemplateRole, str] = {role: named.of(role) for role in ROLES}
        raws = {use: await self._cluster.get(Kind.POD_TEMPLATE, namespace, name) for use, name in wanted.items()}
        return {use: raw for use, raw in raws.items() if raw is not None}

    async def _models(self, namespace: str, model: str | None) -> tuple[ModelVersion, ...]:
        if model is None:
            return ()
        raws = await self._cluster.list(Kind.MODEL_VERSION, namespace)
        known = self._versions.get(namespace)
        if known is None or known[0] is not raws:
            parsed = [self._try(raw, ModelVersion) for raw in raws]
            known = (raws, tuple(v for v in parsed if v is not None))
            self._versions[namespace] = known
        return tuple(v for v in known[1] if v.spec.model == model)

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
            return self._remembered(raw, read_document), None
        except InvalidObject as error:
            return None, Problem("SnapshotInvalid", f"{error}; the snapshot was changed or is of another release")

    def _parse(self, raw: Object, kind: type[T]) -> T:
        return self._remembered(raw, lambda obj: parse(obj, kind))

    def _try(self, raw: Object, kind: type[T]) -> T | None:
        """Return the parsed object; None for one that is invalid, which its own reconcile reports."""
        try:
            return self._parse(raw, kind)
        except InvalidObject:
            return None

    def _remembered(self, raw: Object, reader: Callable[[Object], R]) -> R:
        uid, version = raw["metadata"]["uid"], raw["metadata"]["resourceVersion"]
        known = self._parsed.get(uid)
        if known is None or known[0] != version:
            known = (version, reader(raw))
            self._parsed[uid] = known
        return known[1]  # type: ignore[return-value]  # one uid is always read as one type


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
