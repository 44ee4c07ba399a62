"""What a policy says of its scans: the condition Scanned, and whether what they counted still counts."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from ...api.meta import ConditionStatus, find, set_condition
from ...api.policy import Policy
from ...api.policy_status import PolicyStatus
from ...api.scan import Basis, Counted, ScanRules, ScanStatus
from ..attempts.history import attempt_text
from ..decision import Emit
from ..times import moment, stamp
from ..views import PolicyView, Problem

CONDITION: Final = "Scanned"

STALE_AFTER: Final = 3
"""Intervals after which counts are stale: one scan may fail, and another one wait for its pod."""


def interval(policy: Policy) -> timedelta:
    """Return how long it is from one scan to the next."""
    return timedelta(seconds=(policy.spec.scan or ScanRules()).interval_seconds)


def is_past(at: datetime, now: datetime) -> bool:
    """Tell whether a recorded moment is not ahead of the clock: one that is says nothing, for the clock was set."""
    return at <= now


def scan_problem(policy: Policy, basis: Basis, now: datetime) -> Problem | None:
    """Return why nothing is to be decided by what the scans counted; None where it is of the policy as it is."""
    scans = policy.status.scan
    counted = None if scans is None else scans.counted
    if counted is None:
        return Problem("NotScanned", "pool and captured pages were not counted yet")
    if counted.basis != basis:
        text = f"data, base or judged runs changed since the scan of {stamp(counted.at)}; another one counts anew"
        return Problem("NotScanned", text)
    if is_past(counted.at, now) and now - counted.at > STALE_AFTER * interval(policy):
        return Problem("ScanStale", f"the newest counts are of {stamp(counted.at)}, older than {STALE_AFTER} intervals")
    return None


def until_stale(view: PolicyView, scans: ScanStatus) -> timedelta | None:
    """Return the time until the counts are stale; None where they are, or there are none."""
    if scans.counted is None:
        return None
    left = STALE_AFTER * interval(view.policy) - (view.now - scans.counted.at)
    return left + timedelta(seconds=1) if left >= timedelta() else None


def say_scanned(
    view: PolicyView, status: PolicyStatus, basis: Basis, problem: Problem | None, waits: str = ""
) -> PolicyStatus:
    """Return `status` with the condition Scanned; `problem` is what keeps a scan from coming to its end.

    `waits` is what the one under way waits for, which may pass by itself: said where there are no counts to go by.
    """
    value, reason, message = _said(view, status, basis, problem, waits)
    metadata = view.policy.metadata
    conditions = set_condition(
        status.conditions, CONDITION, value, reason, message, generation=metadata.generation, now=moment(view.now)
    )
    return replace(status, conditions=conditions)


def without_scanned(status: PolicyStatus) -> PolicyStatus:
    """Return `status` without the condition: nothing is scanned any more."""
    return replace(status, conditions=tuple(c for c in status.conditions if c.type != CONDITION))


def events(before: PolicyStatus, after: PolicyStatus) -> Iterator[Emit]:
    """Yield the Event of scans that cannot go on, or are stale; a failed attempt has an Event of its own."""
    was, shown = find(before.conditions, CONDITION), find(after.conditions, CONDITION)
    if shown is None or shown.status != "False":
        return
    failed = after.scan is not None and any(a.reason == shown.reason for a in after.scan.attempts)
    if not failed and (was is None or (was.status, was.reason) != ("False", shown.reason)):
        yield Emit("Warning", shown.reason, shown.message)


def _said(
    view: PolicyView, status: PolicyStatus, basis: Basis, problem: Problem | None, waits: str
) -> tuple[ConditionStatus, str, str]:
    if problem is not None:
        return "False", problem.reason, problem.message
    scans = status.scan
    outdated = scan_problem(replace(view.policy, status=status), basis, view.now)
    if scans is not None and scans.counted is not None and outdated is None:
        return "True", CONDITION, in_words(scans.counted)
    failed = [a for a in scans.attempts if a.outcome == "Failed"] if scans is not None else []
    why = "".join(f"; {attempt_text(last)}, failed: {last.reason}: {last.message}" for last in failed[-1:]) + waits
    if outdated is not None and outdated.reason == "ScanStale":
        return "False", outdated.reason, outdated.message + why
    return "Unknown", "NotScanned", ("" if outdated is None else outdated.message) + why


def in_words(counted: Counted) -> str:
    """Return what was counted, in the words of the glossary."""
    corrected = f", {counted.corrected} of them corrected" if counted.corrected else ""
    withdrawn = f", {counted.withdrawn} withdrawn before" if counted.withdrawn else ""
    pool = (
        f"{counted.pool} samples in the pool: {counted.new} new{corrected}, {counted.outside} outside the base, "
        f"{counted.held_out} held out{withdrawn}"
    )
    pages = counted.pages
    if pages is None:
        return pool
    if pages.random + pages.uncertain + pages.reported:
        return f"{pool}; captured pages: {pages.random} random, {pages.uncertain} uncertain, {pages.reported} reported"
    if counted.answered:
        return f"{pool}; 0 captured pages, but the Deployment answered {counted.answered}; see the log of its pods"
    return f"{pool}; 0 captured pages; where the Deployment serves, see FINETUNE_CAPTURE_URI of its pods"
