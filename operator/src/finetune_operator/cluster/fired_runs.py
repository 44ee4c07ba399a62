"""The runs that triggers of a policy made, and those that keep them waiting, from projections."""

from collections.abc import Hashable
from heapq import nlargest
from typing import Final, TypeGuard, get_args

from ..api.names import is_fired_run_name
from ..api.policy import Policy
from ..api.run import FINAL_PHASES
from ..api.triggers import FiredOutcome, TriggerKind
from ..api.value import parse, plain
from ..decide import limits
from ..decide.policy.triggers import memory
from ..decide.views import FiredRun, PolicyView
from .errors import Conflict
from .fields import Standing, standing
from .kinds import Kind
from .pod import moment_of
from .port import Cluster

_TRIES: Final = 5


async def fired_runs(cluster: Cluster, namespace: str, policy: Policy) -> tuple[FiredRun, ...]:
    """Return the newest runs that the policy's triggers made, and each one that its status has open.

    A run says itself that a trigger made it, and a copy of one says so, too: only one with such a name is believed.
    A run that is open and missing counts as deleted, so it is looked up past the cache; and what somebody else made
    under its name counts as it.
    """
    there = await cluster.digests(Kind.RUN, namespace, "fired", policy.metadata.name)
    known = {name: entry for name, entry in there if isinstance(entry, Standing)}
    ours = (name for name in known if is_fired_run_name(name, policy.metadata.name))
    newest = nlargest(limits.FIRED, ours, key=lambda name: (known[name].created, name))
    runs = {name: _run(name, known[name]) for name in newest}
    for entry in policy.status.fired:
        if not entry.is_open or entry.run in runs:
            continue
        if entry.run in known:
            runs[entry.run] = _run(entry.run, known[entry.run])
            continue
        raw = await cluster.get(Kind.RUN, namespace, entry.run)
        raw = raw or await cluster.get(Kind.RUN, namespace, entry.run, fresh=True)
        if raw is not None and (raw.get("spec") or {}).get("policy") == policy.metadata.name:
            runs[entry.run] = _run(entry.run, standing(raw), str(raw["metadata"]["uid"]), entry.kind)
    return tuple(runs[name] for name in sorted(runs))


async def remember_made(cluster: Cluster, view: PolicyView, run: str, uid: str) -> None:
    """Write down that the run is made, at once: whoever deletes it before the policy looks again has it gone.

    Raises Conflict where the policy changed at each try; the next look finds the run, or makes it.
    """
    metadata = view.policy.metadata
    for _ in range(_TRIES):
        raw = await cluster.get(Kind.POLICY, metadata.namespace, metadata.name, fresh=True)
        if raw is None or raw["metadata"]["uid"] != metadata.uid:
            return
        before = parse(raw, Policy).status
        fired = memory.made(before, run, uid, view.now).fired
        if fired == before.fired:
            return
        version = raw["metadata"]["resourceVersion"]
        patch = {"status": {"fired": plain(fired)}}
        try:
            await cluster.patch_status(Kind.POLICY, metadata.namespace, metadata.name, metadata.uid, version, patch)
        except Conflict:
            continue
        return
    raise Conflict(f"policy {metadata.name!r} changed {_TRIES} times while run {run!r} was written down")


async def runs_underway(cluster: Cluster, namespace: str, policy: Policy) -> tuple[tuple[str, str], ...]:
    """Return name and phase of the policy's runs that are neither over nor judged."""
    there = await cluster.digests(Kind.RUN, namespace, "underway", policy.metadata.name)
    return tuple(sorted((name, entry.phase) for name, entry in there if _is_of(entry, policy)))


async def rebuilds(cluster: Cluster, namespace: str, policy: Policy) -> tuple[str, ...]:
    """Return the names of the policy's rebuilds that are not over."""
    there = await cluster.digests(Kind.RUN, namespace, "rebuilds", policy.metadata.name)
    return tuple(sorted(name for name, entry in there if _is_of(entry, policy)))


def _is_of(entry: Hashable, policy: Policy) -> TypeGuard[Standing]:
    """Tell whether a run is of that policy, and not of one of its name that had another model (R243)."""
    return isinstance(entry, Standing) and entry.model in ("", policy.spec.model)


def _run(name: str, entry: Standing, uid: str = "", kind: TriggerKind = "Performance") -> FiredRun:
    if entry.fired:
        uid = entry.fired[0]
        kind = next((known for known in get_args(TriggerKind) if known == entry.fired[1]), kind)
    return FiredRun(name, uid, kind, moment_of(entry.created), _outcome(entry))


def _outcome(entry: Hashable) -> FiredOutcome:
    if not isinstance(entry, Standing) or not (entry.is_over or entry.judged):
        return "Underway"
    if entry.judged:
        return "Judged"
    if entry.phase not in FINAL_PHASES:
        return "Deleted"
    return "Failed" if entry.phase == "Failed" else "Judged"
