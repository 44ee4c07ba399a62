"""What people rejected in the runs of a policy that are there, from projections, without reading a run."""

from ..api.policy import Rejected
from ..decide.rejections import rejected
from .fields import Standing
from .kinds import Kind
from .pod import moment_of
from .port import Cluster


async def rejected_in_runs(cluster: Cluster, namespace: str, policy: str) -> tuple[Rejected, ...]:
    """Return what people rejected of that policy's runs, for a policy whose versions and status are lost."""
    rejections: list[Rejected] = []
    for run, entry in await cluster.digests(Kind.RUN, namespace, "rejected", policy):
        if isinstance(entry, Standing) and entry.rejected:
            sha256, by, at, version = entry.rejected
            moment = moment_of(at)
            if moment is not None:
                rejections.append(rejected(sha256, by=by, at=moment, version=version, run=run))
    return tuple(rejections)
