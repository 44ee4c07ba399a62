"""What people rejected of a model, wherever it stands beside the versions: in runs, and in what policies remember."""

from collections.abc import Iterable, Iterator

from ..api.policy import Policy, PolicyStatus, Rejected
from ..decide.rejections import rejected
from .fields import Standing
from .kinds import Kind
from .pod import moment_of
from .port import Cluster


async def rejected_of(
    cluster: Cluster, namespace: str, policy: Policy, policies: Iterable[Policy]
) -> tuple[Rejected, ...]:
    """Return what people rejected of the policy's model, by runs and by the other policies of that model.

    A policy that is new, or whose versions and status are lost, knows it from there.
    """
    model = policy.spec.model
    others = [other for other in policies if other.spec.model == model and other.metadata.uid != policy.metadata.uid]
    remembered = (no for other in others for no in other.status.rejected)
    flown = frozenset(sha256 for one in (policy, *others) for sha256 in _flown(one.status))
    return (*remembered, *await rejected_in_runs(cluster, namespace, model, flown))


def _flown(status: PolicyStatus) -> Iterator[str]:
    """Yield what is live, in flight or good: a no that comes after a run is over came too late for it (R171, R180)."""
    flight = status.in_flight
    versions = (status.live, None if flight is None else flight.to, *status.last_good)
    yield from (version.sha256 for version in versions if version is not None)


async def rejected_in_runs(
    cluster: Cluster, namespace: str, model: str, flown: frozenset[str] = frozenset()
) -> tuple[Rejected, ...]:
    """Return what people rejected in runs of that model, whatever their policy, without reading a run."""
    rejections: list[Rejected] = []
    for run, entry in await cluster.digests(Kind.RUN, namespace, "rejected", model):
        if isinstance(entry, Standing) and entry.rejected:
            sha256, by, at, version = entry.rejected
            if entry.rejected_late and sha256 in flown:
                continue
            moment = moment_of(at)
            if moment is not None:
                rejections.append(rejected(sha256, by=by, at=moment, version=version, run=run))
    return tuple(rejections)
