"""The rebuild trigger: it fires once so much is outside the base's listing that a new base should learn it."""

from typing import Final

from msgspec.structs import replace

from ....api.model_version import ModelVersion
from ....api.policy_status import PolicyStatus
from ....api.scan import Counted
from ...bases import default_base
from ...starts import unfit_start
from ...templates import usable_template
from ...views import Explanation, PolicyView, Problem
from .counted import counted
from .wish import Missing, Wish

NOT_DUE: Final = frozenset(("NotEnoughOutside", "RebuiltBefore", "RebuildUnderway", "FiredBefore"))
"""Reasons of a rebuild that nothing asks for now."""

_MORE: Final = 10
"""After a rebuild that was judged, one part in so many more has to be outside before the next one is tried."""


def is_on(view: PolicyView) -> bool:
    """Tell whether the policy makes rebuilds by itself."""
    return view.policy.spec.rebuild_rules.pool_samples is not None


def wish(view: PolicyView, counts: Counted, base: ModelVersion) -> Wish | Missing:
    """Return the rebuild that the trigger asks for, or what is missing; asked only where it is on."""
    enough = view.policy.spec.rebuild_rules.pool_samples or 0
    if counts.outside < enough:
        text = f"{counts.outside} of {enough} samples outside {base.spec.version} for a new base"
        return Missing(Explanation("NotEnoughOutside", text), for_good=True)
    before = outside_before(view, base)
    if before is not None and counts.outside * _MORE < before * (_MORE + 1):
        least = -(-before * (_MORE + 1) // _MORE)
        text = (
            f"{counts.outside} samples outside {base.spec.version}; a rebuild was judged by {before}, and the next one "
            f"comes by {least}, a tenth more"
        )
        return Missing(Explanation("RebuiltBefore", text), for_good=True)
    stands = _in_the_way(view)
    if stands is not None:
        return stands
    text = f"{counts.outside} samples outside {base.spec.version}, and {enough} are enough for a new base"
    return Wish("Rebuild", text)


def outside_before(view: PolicyView, base: ModelVersion) -> int | None:
    """Return the most that was outside this base when a rebuild of it was judged, whoever made it; None: none was.

    The versions tell, which outlive runs and statuses, by what their runs drew. The memory of what was fired tells, by
    what a scan counted, of a version that somebody deleted, and of a run that ended without one, but for those that
    failed: these are tried again by their names.
    """
    policy, sha256 = view.policy, base.spec.artifact.sha256
    lineages = [v.spec.lineage for v in view.versions if v.spec.lineage is not None]
    recorded = {
        lineage.run: lineage.outside
        for lineage in sorted(lineages, key=lambda lineage: lineage.outside or 0)
        if (lineage.policy, lineage.base_sha256) == (policy.metadata.name, sha256) and lineage.outside is not None
    }
    fired = [
        entry.outside
        for entry in policy.status.fired
        if entry.outside is not None
        and entry.base == sha256
        and entry.outcome in ("Judged", "Deleted")
        and entry.run not in recorded  # one scan that counted too much would be the last word for ever
    ]
    return max((*recorded.values(), *fired), default=None)


def recounted(view: PolicyView) -> PolicyStatus:
    """Return the status in which no rebuild was fired by more than the newest scan finds outside its base (row D271).

    What a run drew that left no version nobody knows; by then pages were withdrawn, or the scan had counted too much.
    """
    status, counts = view.policy.status, counted(view)
    base = default_base(view.versions, view.policy)
    if isinstance(counts, Problem) or base is None:
        return status
    sha256, most = base.spec.artifact.sha256, counts.outside
    fired = tuple(
        replace(entry, outside=most) if entry.base == sha256 and (entry.outside or 0) > most else entry
        for entry in status.fired
    )
    return status if fired == status.fired else replace(status, fired=fired)


def _in_the_way(view: PolicyView) -> Missing | None:
    """Return what keeps a rebuild from being made, or from getting anywhere."""
    if view.rebuilding:
        text = f"rebuild '{view.rebuilding[0]}' is not over: it waits for a person, or goes live"
        return Missing(Explanation("RebuildUnderway", text))
    problem = unfit_start(view.policy, view.versions)
    template = usable_template("rebuild", view.rebuild_template, view.policy)
    if problem is None and isinstance(template, Problem):
        problem = template
    if problem is None:
        return None
    return Missing(Explanation("PolicyNotReady", f"no rebuild could start: {problem.reason}: {problem.message}"))
