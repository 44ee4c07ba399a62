"""What the triggers go by: the counts of the newest scan, if they are of the policy as it is."""

from datetime import datetime

from ....api.scan import Counted
from ...times import later
from ...views import PolicyView, Problem
from ..scan import basis_now
from ..scanned import interval, scan_problem


def counted(view: PolicyView) -> Counted | Problem:
    """Return what the newest scan counted, or why nothing is to be decided by it.

    Counts from before a run was judged are none: they have as new what that run had.
    """
    policy = view.policy
    problem = scan_problem(policy, basis_now(view), view.now)
    counts = None if policy.status.scan is None else policy.status.scan.counted
    if problem is not None:
        return problem
    return counts or Problem("NotScanned", "the pool was not counted yet")


def next_look(view: PolicyView, counts: Counted) -> datetime:
    """Return when the next scan is due."""
    return later(counts.at, interval(view.policy))
