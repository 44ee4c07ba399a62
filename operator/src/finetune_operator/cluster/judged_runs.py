"""The runs of a policy that are there and were judged, from projections, without reading a run."""

from heapq import nlargest

from ..api.meta import FileReference
from ..api.policy import Judged
from ..decide import limits
from ..decide.judgements import judged
from .fields import Standing
from .kinds import Kind
from .pod import moment_of
from .port import Cluster


async def judged_in_runs(cluster: Cluster, namespace: str, policy: str) -> tuple[Judged, ...]:
    """Return that policy's runs that were judged, the newest; there may be thousands, and no more are remembered."""
    runs = await cluster.digests(Kind.RUN, namespace, "judged", policy)
    said = [(run, entry.judged) for run, entry in runs if isinstance(entry, Standing) and entry.judged]
    newest: list[Judged] = []
    for run, (uid, uri, sha256, at) in nlargest(limits.JUDGED, said, key=lambda item: item[1][-1]):
        moment = moment_of(at)
        inputs = FileReference(uri=uri, sha256=sha256)
        entry = None if moment is None else judged(run, uid, inputs, at=moment)
        newest.extend(() if entry is None else (entry,))
    return tuple(newest)
