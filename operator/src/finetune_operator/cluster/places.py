"""What a run has to know of others - places, turns, who asks for the same - from projections, without reading a run."""

from collections.abc import Collection, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ..api.run import FINAL_PHASES, Run, RunStatus
from ..decide.run.view import Queue, RunView, Stuck, Turn, Twin, trains
from ..decide.views import JobView
from .fields import BLOCKED, NEW, WAITING, Standing
from .kinds import Kind
from .pod import moment_of
from .port import Cluster


@dataclass(frozen=True, slots=True)
class _Claim:
    """What was decided of a run and is being written."""

    run: Run
    after: RunStatus

    @property
    def takes_place(self) -> bool:
        return self.after.place == "Taken" and self.run.status.place != "Taken"

    @property
    def is_waited_for(self) -> bool:
        """It is not over by then, nor put off: others may be woken by that while the answer is still on its way."""
        put_off = self.after.phase == "Suspended" and self.run.spec.suspend
        return self.after.phase not in FINAL_PHASES and not put_off

    @property
    def measures_again(self) -> bool:
        return self.after.phase == "Evaluating" and any(attempt.round > 1 for attempt in self.after.attempts)

    @property
    def twin(self) -> Twin:
        inputs = self.after.inputs
        drawn = (inputs.digests.get("pool", ""), inputs.digests.get("anchor", "")) if inputs is not None else None
        metadata = self.run.metadata
        return Twin(metadata.name, metadata.creation_timestamp, drawn, is_past=_is_past(self.after))


class Places:
    """The queue of each policy, and who asks for the same. Knows also what is decided and not written yet.

    Several runs are reconciled side by side. Without these claims each of them could take the last place.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._claims: dict[tuple[str, str], _Claim] = {}
        self._lines: dict[tuple[str, str], tuple[tuple[tuple[str, Hashable], ...], Queue]] = {}

    async def queue(self, run: Run) -> Queue:
        """Return the places that others have, and who waits; nothing for a run that needs no place, or has one."""
        if run.status.place == "Taken" or run.status.phase in FINAL_PHASES:
            return Queue()
        namespace, policy, me = run.metadata.namespace, run.spec.policy, run.metadata.name
        holding = await self._cluster.digests(Kind.RUN, namespace, "holds", policy)
        line = self._line(namespace, policy, await self._cluster.digests(Kind.RUN, namespace, "waits", policy))
        others = (claim for claim in self._others(run) if claim.takes_place and claim.run.spec.policy == policy)
        claimed = {claim.run.metadata.name for claim in others}
        taken = tuple(sorted(claimed.union(name for name, _ in holding) - {me}))
        stuck = tuple(filter(None, (_stuck(name, entry) for name, entry in holding if name in taken)))
        if not claimed:
            return replace(line, taken=taken, stuck=stuck)
        waiting, blocked, new = (_without(turns, claimed) for turns in (line.waiting, line.blocked, line.new))
        return Queue(taken, waiting, blocked, new, stuck)

    def _line(self, namespace: str, policy: str, standings: tuple[tuple[str, Hashable], ...]) -> Queue:
        """Return who waits, sorted; remembered while nothing changes, for thousands may look."""
        known = self._lines.get((namespace, policy))
        if known is None or known[0] is not standings:
            ranks: dict[int, list[Turn]] = {WAITING: [], BLOCKED: [], NEW: []}
            for name, standing in standings:
                if isinstance(standing, Standing):
                    ranks[standing.rank].append((standing.created, name))
            waiting, blocked, new = (tuple(sorted(ranks[rank])) for rank in (WAITING, BLOCKED, NEW))
            known = (standings, Queue((), waiting, blocked, new))
            self._lines[namespace, policy] = known
        return known[1]

    async def ahead(self, run: Run) -> tuple[str, ...]:
        """Return the runs of the policy that go first when this one is to be measured again.

        Those that are about to change what is live, and older ones that line up as well. What is of another model,
        whose policy had the same name, changes nothing here (R243).
        """
        if run.status.candidate is None or run.status.phase in FINAL_PHASES:
            return ()
        namespace, policy, me = run.metadata.namespace, run.spec.policy, run.metadata
        entries = await self._cluster.digests(Kind.RUN, namespace, "changes", policy)
        created = _moment_or_last(me.creation_timestamp)
        names = {
            name
            for name, entry in entries
            if isinstance(entry, Standing)
            and _may_be_of(entry.model, run.status.model)
            and (entry.changes_live or (_moment_or_last(moment_of(entry.created)), name) < (created, me.name))
        }
        others = (claim for claim in self._others(run) if claim.measures_again and claim.run.spec.policy == policy)
        return tuple(sorted(names.union(claim.run.metadata.name for claim in others) - {me.name}))

    async def twins(self, run: Run, jobs: Iterable[JobView]) -> tuple[Twin, ...]:
        """Return the open runs that ask for the same; none before this one has drawn its mix, or once it trains."""
        status = run.status
        is_early = status.inputs is None and all(job.state == "Active" for job in jobs)
        if status.asks is None or is_early or _is_past(status):
            return ()
        same = await self._cluster.digests(Kind.RUN, run.metadata.namespace, "asks", status.asks)
        twins = {name: _twin(name, entry) for name, entry in same if isinstance(entry, Standing)}
        claims = (claim for claim in self._others(run) if claim.after.asks == status.asks and claim.is_waited_for)
        twins |= {claim.run.metadata.name: claim.twin for claim in claims}
        twins.pop(run.metadata.name, None)
        return tuple(twins.values())

    @contextmanager
    def claimed(self, view: object, after: object) -> Iterator[None]:
        """Let others see what was decided of a run while it is being written."""
        if not isinstance(view, RunView) or not isinstance(after, RunStatus):
            yield
            return
        key = view.run.metadata.namespace, view.run.metadata.name
        self._claims[key] = _Claim(view.run, after)
        try:
            yield
        finally:
            del self._claims[key]

    def _others(self, run: Run) -> list[_Claim]:
        me = run.metadata
        return [c for (namespace, name), c in self._claims.items() if namespace == me.namespace and name != me.name]


def _may_be_of(model: str, other: str | None) -> bool:
    """Tell whether two runs are of one model, as far as both say: a run of an earlier release does not."""
    return not model or not other or model == other


def _is_past(status: RunStatus) -> bool:
    return status.candidate is not None or trains(status.attempts)


def _without(turns: tuple[Turn, ...], names: Collection[str]) -> tuple[Turn, ...]:
    return tuple(turn for turn in turns if turn[1] not in names)


def _twin(name: str, standing: Standing) -> Twin:
    return Twin(
        name,
        moment_of(standing.created),
        standing.drawn if all(standing.drawn) else None,
        is_past=standing.is_past,
        stuck=_stuck(name, standing),
    )


def _stuck(name: str, entry: Hashable) -> Stuck | None:
    if not isinstance(entry, Standing):
        return None
    reason, since = entry.stuck[0], moment_of(entry.stuck[1])
    return Stuck(name, reason, since) if reason and since is not None else None


def _moment_or_last(moment: datetime | None) -> datetime:
    return moment if moment is not None else datetime.max.replace(tzinfo=UTC)
