"""The runs of a policy that are there and were judged, from projections, without reading a run."""

from collections.abc import Hashable
from heapq import nlargest

from ..api.meta import FileReference
from ..api.policy_status import Judged
from ..decide import limits
from ..decide.judgements import judged
from .fields import Standing
from .kinds import Kind
from .pod import moment_of
from .port import Cluster

Projections = tuple[tuple[str, Hashable], ...]


class JudgedRuns:
    """The newest judged runs of each policy; looked through again only when one of them changed.

    Every run that waits for its turn asks for them, and there may be thousands of either.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[tuple[str, str], tuple[Projections, tuple[Judged, ...]]] = {}

    async def of(self, namespace: str, policy: str) -> tuple[Judged, ...]:
        """Return that policy's judged runs that are there: the newest, for no more are remembered."""
        runs = await self._cluster.digests(Kind.RUN, namespace, "judged", policy)
        if not runs:  # of a policy that is gone nothing stays, nor of one that never was
            self._known.pop((namespace, policy), None)
            return ()
        known = self._known.get((namespace, policy))
        if known is None or known[0] is not runs:
            known = self._known[namespace, policy] = (runs, _newest(runs))
        return known[1]


def _newest(runs: Projections) -> tuple[Judged, ...]:
    said = [(run, entry.judged) for run, entry in runs if isinstance(entry, Standing) and entry.judged]
    newest: list[Judged] = []
    for run, (uid, uri, sha256, at) in nlargest(limits.JUDGED, said, key=lambda item: item[1][-1]):
        moment = moment_of(at)
        entry = None if moment is None else judged(run, uid, FileReference(uri=uri, sha256=sha256), at=moment)
        newest.extend(() if entry is None else (entry,))
    return tuple(newest)
