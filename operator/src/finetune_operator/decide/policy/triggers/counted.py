"""What the triggers go by: the counts of the newest scan, if they are of the policy as it is."""

from datetime import datetime

from ....api.scan import Counted
from ...times import later
from ...views import PolicyView, Problem
from ..scan import basis_now
from ..scanned import interval, scan_problem
from .wish import clock_time


def counted(view: PolicyView) -> Counted | Problem:
    """Return what the newest scan counted, or why nothing is to be decided by it.

    Counts from before a run was judged are none: they have as new what that run had.
    """
    policy = view.policy
    problem = scan_problem(policy, basis_now(view), view.now)
    counts = None if policy.status.scan is None else policy.status.scan.counted
    if problem is None and counts is not None:
        return counts
    reason, text = (
        ("NotScanned", "the pool was not counted yet") if problem is None else (problem.reason, problem.message)
    )
    return Problem(reason, f"{text}; the condition Scanned says what keeps it")


def next_look(view: PolicyView, counts: Counted) -> datetime:
    """Return when the next scan is due."""
    return later(counts.at, interval(view.policy))


def look_in_words(view: PolicyView, counts: Counted) -> str:
    """Return when the pool is counted next, as people read it; one that is late does not lie in the past."""
    look = next_look(view, counts)
    return f"next look at {clock_time(look, beside=counts.at)}" if look > view.now else "the next look is due"
