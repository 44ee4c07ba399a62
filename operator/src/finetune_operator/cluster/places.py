"""Who has a place of a policy's concurrency, and who waits for one: from projections, without reading a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from ..api.run import FINAL_PHASES, Run, RunStatus
from ..decide.run.view import InLine, Queue, RunView
from .fields import BLOCKED, NEW, Place
from .kinds import Kind
from .port import Cluster


class Places:
    """The queue of each policy. Knows also who is about to take a place: decided, and not written yet.

    Several runs are reconciled side by side. Without these claims each of them could take the last place.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._claims: set[tuple[str, str, str]] = set()

    async def queue(self, run: Run) -> Queue:
        """Return the places that others have, and who waits; nothing for a run that needs no place, or has one."""
        if run.status.place == "Taken" or run.status.phase in FINAL_PHASES:
            return Queue()
        namespace, policy, me = run.metadata.namespace, run.spec.policy, run.metadata.name
        taken = {name for name, _ in await self._cluster.find(Kind.RUN, namespace, "holds", policy)}
        waiting = await self._cluster.find(Kind.RUN, namespace, "waits", policy)
        taken |= {name for space, of, name in self._claims if (space, of) == (namespace, policy)}
        line = (_in_line(name, place) for name, place in waiting if isinstance(place, Place) and name not in taken)
        return Queue(tuple(sorted(taken - {me})), tuple(entry for entry in line if entry.name != me))

    @contextmanager
    def claimed(self, view: object, after: object) -> Iterator[None]:
        """Count the place that a decision takes while it is being written."""
        claim = _claim(view, after)
        if claim is None:
            yield
            return
        self._claims.add(claim)
        try:
            yield
        finally:
            self._claims.discard(claim)


def _claim(view: object, after: object) -> tuple[str, str, str] | None:
    if not isinstance(view, RunView) or not isinstance(after, RunStatus):
        return None
    run = view.run
    if after.place != "Taken" or run.status.place == "Taken":
        return None
    return run.metadata.namespace, run.spec.policy, run.metadata.name


def _in_line(name: str, place: Place) -> InLine:
    try:
        created = datetime.fromisoformat(place.created)
    except ValueError:
        created = None
    return InLine(name, created, is_new=place.rank == NEW, is_blocked=place.rank == BLOCKED)
