"""Carry out a decision: the status first, then the actions in order."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar, assert_never

from ..api import names
from ..api.model_version import ModelVersion
from ..api.promotion import Promotion
from ..api.run import Run
from ..api.run_document import document_sha256
from ..api.value import InvalidObject, parse, plain
from ..decide.decision import (
    Action,
    Annotate,
    ApplyKeys,
    CreateJob,
    CreateModelVersion,
    CreatePromotion,
    CreateRun,
    CreateSnapshot,
    Decision,
    DeleteJob,
    Emit,
    RecordMetric,
    ReserveVersion,
)
from ..decide.views import PolicyView
from ..manifests.documents import build_document, document_digest
from ..manifests.essence import fingerprint
from ..manifests.events import Regarding
from ..manifests.job import build_job
from ..manifests.merge_patch import merge_patch
from ..manifests.owner import Owner, is_owned
from ..manifests.records import build_model_version, build_promotion, build_run
from ..manifests.served_keys import build_keys
from .deployment_views import deployment_view, is_same_target
from .errors import AlreadyExists, ClusterError, Conflict, FieldConflict, Invalid
from .fired_runs import remember_made
from .kinds import Kind, reconciled
from .observe import Observed
from .port import Cluster, Object
from .reserve import reserve
from .watched import is_watched

_APPLY_TRIES: Final = 8

S = TypeVar("S")
V = TypeVar("V")

Refuse = Callable[[Object, FieldConflict], Awaitable[Decision[S]]]
"""From the object as it is now and the conflict, what is to be recorded of an apply that was refused."""


class Recorder(Protocol):
    """Takes Events; never fails and never waits."""

    def __call__(self, regarding: Regarding, emit: Emit) -> None:
        """Post, or drop under load."""
        ...


class MetricRecorder(Protocol):
    """Takes values of metrics; never fails and never waits."""

    def __call__(self, action: RecordMetric, /) -> None:
        """Record the value, or drop what no metric is declared for."""
        ...


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where goes what is no object: Events, and values of metrics."""

    events: Recorder
    metrics: MetricRecorder


class NameTaken(Invalid):
    """An object of another owner or content has a name that we need."""


@dataclass(frozen=True, slots=True)
class Acted:
    """What a decision led to: `again` asks for another look at once, since a read of it will differ."""

    wrote: bool
    again: bool


async def act(
    cluster: Cluster,
    observed: Observed[V],
    decision: Decision[S],
    outlets: Outlets,
    refuse: Refuse[S] | None = None,
) -> Acted:
    """Write the status if it differs, then run the actions. Raises ClusterError; then nothing more is done.

    A decision from a stale view fails at the status write, before anything happened. `refuse` says what to
    record when the apply of the keys meets a field that another manager owns.
    """
    raw = await write_status(cluster, observed.kind, observed.raw, plain(decision.status))
    wrote = raw is not observed.raw
    again = False
    for action in decision.actions:
        if isinstance(action, ApplyKeys) and not wrote:
            await _check_unchanged(cluster, observed)
        try:
            again |= await _run(cluster, observed, raw, action, outlets)
        except FieldConflict as conflict:
            if refuse is None:
                raise
            answer = await refuse(raw, conflict)
            await write_status(cluster, observed.kind, raw, plain(answer.status))
            _tell_all(observed, answer, outlets)
            return Acted(wrote=True, again=True)
        except ClusterError as error:
            error.action = action
            raise
    return Acted(wrote=wrote, again=again)


async def _check_unchanged(cluster: Cluster, observed: Observed[V]) -> None:
    """Raise Conflict if the object is not what the decision saw.

    Where the status is written first, that write proves it. A repeated apply writes none, and must not come from
    a view that is older than the last flip.
    """
    metadata = observed.raw["metadata"]
    now_there = await cluster.get(observed.kind, metadata.get("namespace", ""), metadata["name"], fresh=True)
    if now_there is None or now_there["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
        raise Conflict(f"{metadata['name']!r} changed since it was looked at")


async def write_status(cluster: Cluster, kind: Kind, raw: Object, status: dict[str, Any]) -> Object:
    """Bring the object's status to `status`; return the object as written, or `raw` when nothing differs."""
    patch = merge_patch(raw.get("status") or {}, status)
    if not patch:
        return raw
    metadata = raw["metadata"]
    return await cluster.patch_status(
        kind,
        metadata.get("namespace", ""),
        metadata["name"],
        metadata["uid"],
        metadata["resourceVersion"],
        {"status": patch},
    )


def regarding(observed: Observed[V]) -> Regarding:
    """Return the object under decision as Events name it."""
    metadata = observed.raw["metadata"]
    return Regarding(reconciled(observed.kind).name, metadata.get("namespace", ""), metadata["name"], metadata["uid"])


def _tell_all(observed: Observed[V], decision: Decision[S], outlets: Outlets) -> None:
    for action in decision.actions:
        if isinstance(action, Emit | RecordMetric):
            _tell(observed, action, outlets)


def _tell(observed: Observed[V], action: Emit | RecordMetric, outlets: Outlets) -> None:
    match action:
        case Emit():
            outlets.events(regarding(observed), action)
        case RecordMetric():
            outlets.metrics(action)


async def _run(cluster: Cluster, observed: Observed[V], raw: Object, action: Action, outlets: Outlets) -> bool:
    """Run one action; tell whether the object under decision, `raw` by now, should be looked at again at once."""
    namespace = observed.raw["metadata"].get("namespace", "")
    match action:
        case Emit() | RecordMetric():
            _tell(observed, action, outlets)
            return False
        case CreateSnapshot():
            await _create_snapshot(cluster, observed, action)
            return False
        case CreateJob():
            await _create_job(cluster, observed, action)
            return False
        case DeleteJob():
            await cluster.delete(Kind.JOB, namespace, action.name, action.uid)
            return False
        case ReserveVersion():
            await reserve(cluster, namespace, action)
        case CreateModelVersion() | CreatePromotion() | CreateRun():
            await _create_record(cluster, observed, action)
        case Annotate():
            await _annotate(cluster, observed.kind, raw, action)
        case ApplyKeys():
            await _apply_keys(cluster, observed, action)
        case _:
            assert_never(action)
    return True


async def _annotate(cluster: Cluster, kind: Kind, raw: Object, action: Annotate) -> None:
    metadata = raw["metadata"]
    await cluster.annotate(
        kind,
        metadata.get("namespace", ""),
        metadata["name"],
        metadata["uid"],
        metadata["resourceVersion"],
        {action.key: action.text},
    )


async def _apply_keys(cluster: Cluster, observed: Observed[V], action: ApplyKeys) -> None:
    """Apply the keys at the resourceVersion that was looked at.

    A Deployment's status moves it on many times while a rollout settles. When only that happened, the apply is tried
    again at the newer one: the intent stands in the status already, and giving up would count it as lost.
    """
    namespace = observed.raw["metadata"].get("namespace", "")
    seen = observed.view.deployment if isinstance(observed.view, PolicyView) else None
    for _ in range(_APPLY_TRIES):
        try:
            await cluster.apply(Kind.DEPLOYMENT, namespace, action.deployment, build_keys(action, namespace))
        except FieldConflict:
            raise
        except Conflict:
            raw = await cluster.get(Kind.DEPLOYMENT, namespace, action.deployment, fresh=True)
            now_there = None if raw is None else deployment_view(raw)
            if seen is None or now_there is None or not is_same_target(seen, now_there):
                raise
            action = replace(action, resource_version=now_there.resource_version)
        else:
            return
    raise Conflict(f"Deployment {action.deployment!r} changed {_APPLY_TRIES} times while the keys were applied")


async def _create_snapshot(cluster: Cluster, observed: Observed[V], action: CreateSnapshot) -> None:
    owner = _owner(observed)
    manifest, wanted = build_document(action, owner), document_sha256(action.run_document)

    def same(config_map: Object) -> bool:
        return is_owned(config_map, owner.uid) and document_digest(config_map) == wanted

    await _create(cluster, Kind.CONFIG_MAP, manifest, same)


async def _create_job(cluster: Cluster, observed: Observed[V], action: CreateJob) -> None:
    owner = _owner(observed)
    template = observed.templates.get(action.template)
    if template is None:
        raise Invalid(f"the PodTemplate for {action.template!r} Jobs is gone")
    manifest = build_job(action, owner, template, observed.run, observed.policy)
    asked = fingerprint(manifest)
    there = await _create(
        cluster, Kind.JOB, manifest, lambda job: is_owned(job, owner.uid) and fingerprint(job) == asked
    )
    if not is_watched(Kind.JOB, there):
        label = f"{names.MANAGED_BY_LABEL}={names.FIELD_MANAGER}"
        raise Invalid(
            f"admission took the label {label} from Job {action.name!r}, so that nothing is seen of it: "
            "exempt our Jobs from that rule, then delete this one"
        )


async def _create_record(
    cluster: Cluster, observed: Observed[V], action: CreateModelVersion | CreatePromotion | CreateRun
) -> None:
    match action:
        case CreateModelVersion():
            await _create_version(cluster, observed, action)
        case CreatePromotion():
            await _create_promotion(cluster, observed, action)
        case CreateRun():
            await _create_run(cluster, observed, action)


async def _create_version(cluster: Cluster, observed: Observed[V], action: CreateModelVersion) -> None:
    manifest = build_model_version(action, _owner(observed))
    await _create(cluster, Kind.MODEL_VERSION, manifest, lambda there: parse(there, ModelVersion).spec == action.spec)


async def _create_promotion(cluster: Cluster, observed: Observed[V], action: CreatePromotion) -> None:
    manifest = build_promotion(action, _owner(observed))
    await _create(cluster, Kind.PROMOTION, manifest, lambda there: parse(there, Promotion).spec == action.spec)


async def _create_run(cluster: Cluster, observed: Observed[V], action: CreateRun) -> None:
    """Create it, or take what has its name: a run that was restored or applied again says otherwise why it was made."""
    manifest = build_run(action, _owner(observed))
    there = await _create(
        cluster, Kind.RUN, manifest, lambda there: parse(there, Run).spec.policy == action.spec.policy
    )
    if isinstance(observed.view, PolicyView):
        await remember_made(cluster, observed.view, action.name, there["metadata"]["uid"])


async def _create(cluster: Cluster, kind: Kind, manifest: Object, is_same: Callable[[Object], bool]) -> Object:
    """Create, or adopt what is there if it is the same; return it. Raises NameTaken, naming what stands in the way.

    A create whose answer was lost may have been committed: names are made from uids, so the second try finds it.
    """
    namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
    try:
        return await cluster.create(kind, namespace, manifest)
    except AlreadyExists as error:
        there = await cluster.get(kind, namespace, name, fresh=True)
        if there is None:
            raise ClusterError(f"{manifest['kind']} {name!r} was there and is gone again: look again") from error
        if not _adoptable(there, is_same):
            raise NameTaken(
                f"{manifest['kind']} {name!r} exists and is not what this object needs: rename or delete it"
            ) from error
        return there


def _adoptable(there: Object, is_same: Callable[[Object], bool]) -> bool:
    try:
        return is_same(there)
    except InvalidObject:
        return False


def _owner(observed: Observed[V]) -> Owner:
    if observed.owner is None:
        raise Invalid("this kind of object makes no children")
    return observed.owner
