"""What people rejected of a model, wherever it stands beside the versions: in runs, and in what policies remember."""

from collections.abc import Iterable

from ..api.policy import Policy
from ..api.policy_status import Rejected
from ..decide.rejections import rejected
from .fields import Standing, of_policy
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
    of_model = [other for other in policies if other.spec.model == model]
    others = (other for other in of_model if other.metadata.uid != policy.metadata.uid)
    remembered = (no for other in others for no in other.status.rejected)
    named = {policy.metadata.name, *(other.metadata.name for other in of_model)}
    return (*remembered, *await rejected_in_runs(cluster, namespace, model, named))


async def rejected_in_runs(
    cluster: Cluster, namespace: str, model: str, policies: Iterable[str]
) -> tuple[Rejected, ...]:
    """Return what people rejected in runs of that model, or of its policies by name, without reading a run."""
    rejections: list[Rejected] = []
    for key in (model, *map(of_policy, sorted(policies))):
        for run, entry in await cluster.digests(Kind.RUN, namespace, "rejected", key):
            if isinstance(entry, Standing) and entry.rejected:
                sha256, by, at, version = entry.rejected
                moment = moment_of(at)
                if moment is not None:
                    rejections.append(rejected(sha256, by=by, at=moment, version=version, run=run))
    return tuple(rejections)
