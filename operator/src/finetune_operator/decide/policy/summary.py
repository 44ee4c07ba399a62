"""What matters most about a policy now, and since when: the words that `kubectl get` shows of it (row D47)."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from ...api.meta import find
from ...api.policy import Policy
from ...api.policy_status import Hold, InFlight
from .. import limits
from ..deployment import deployment_problem
from ..promotion.checks import judge
from ..promotion.proposal import Proposal, Wait, quoted
from ..promotion.waiting import candidates
from ..text import watch_in_words, within
from ..times import moment
from ..views import PolicyView
from .holds import cause_of
from .triggers.performance import NEEDS_LABELS
from .writes import ailing

Part = tuple[str, datetime | None]
"""What is to be said, and when it began, where that stands anywhere."""

NEEDS_SOMEBODY: Final = frozenset(("FailedRepeatedly", "ScheduleInvalid", "ClassListDiffers", NEEDS_LABELS))
"""Reasons of `Due` that do not pass by themselves."""

NOT_PUT_BACK: Final = "NotPutBack"
"""Reason of `InSync` where the keys of what is live are gone, and it may not be put back (D274)."""

MOST_COUNTED: Final = 9
"""Promotions that are counted one by one; each number is a write of the status, and a burst would be hundreds."""


def summary(view: PolicyView) -> Part:
    """Return the summary of the status in `view`, and when the first thing in it began; nothing while nothing waits.

    Where it is recorded nowhere when that began, it is since the message is what it is.
    """
    parts = tuple(_parts(view))
    if not parts:
        return "", None
    status = view.policy.status
    message = within("; ".join(text for text, _ in parts), limits.SUMMARY)
    kept = status.since if status.message == message else None
    return message, parts[0][1] or kept or moment(view.now)


def _parts(view: PolicyView) -> Iterator[Part]:
    """Yield what there is to say, the most urgent first."""
    status = view.policy.status
    shown = (find(status.conditions, kind) for kind in ("Ready", "Available", "Scanned", "Monitored"))
    wrong = [condition for condition in shown if condition is not None]
    for condition in wrong:
        if condition.status == "False":
            yield condition.message, condition.last_transition_time
    in_sync = find(status.conditions, "InSync")
    if in_sync is not None and in_sync.reason == NOT_PUT_BACK:
        yield in_sync.message, in_sync.last_transition_time
    if status.in_flight is not None:
        yield _in_words(status.in_flight, ailing(view.deployment)), status.in_flight.phase_since
    hold = status.hold
    if hold is not None and not any(c.message in (hold.message, cause_of(hold)) for c in wrong):
        yield f"held ({hold.reason}): {_with_way_to_ways(view.policy, hold)}", hold.since
    yield from _waiting(view)
    due = find(status.conditions, "Due")
    if due is not None and due.reason in NEEDS_SOMEBODY:
        yield f"no run is fired: {due.message}", due.last_transition_time
    if view.policy.spec.suspend:
        yield "suspended; set spec.suspend to false to go on", None


def _with_way_to_ways(policy: Policy, hold: Hold) -> str:
    """Return why a hold stands, and what shows the ways out: they are commands, too long for a column."""
    cause, metadata = cause_of(hold), policy.metadata
    if cause == hold.message:
        return cause
    where = f"kubectl get finetunepolicy {metadata.name} -n {metadata.namespace}"
    return f"{cause}; ways out: {where} -o jsonpath='{{.status.hold.message}}'"


def _in_words(flight: InFlight, ails: str) -> str:
    to, back = quoted(flight.to.version), quoted(flight.back_version)
    match flight.phase:
        case "Flipping":
            return f"promotion '{flight.promotion}' rolls out {to}{ails}"
        case "Watching":
            return f"promotion '{flight.promotion}' watches {to} {watch_in_words(flight)}{ails}"
        case "Returning":
            return f"promotion '{flight.promotion}' goes back from {to} to {back}: {flight.why}: {flight.message}"


def _waiting(view: PolicyView) -> Iterator[Part]:
    """Yield how many promotions wait, and what the oldest waits for; its own message says more."""
    policy = view.policy
    waiting = candidates(policy, view.promotions)
    if not waiting:
        return
    oldest = waiting[0]
    if policy.status.in_flight is not None:
        why = "its end"
    else:
        obstacle = judge(Proposal(oldest, policy, view.versions, view.deployment, deployment_problem(view)))
        if not isinstance(obstacle, Wait):
            return  # it acts, or is refused, with the next look
        why = obstacle.reason
    count = str(len(waiting)) if len(waiting) <= MOST_COUNTED else f"more than {MOST_COUNTED}"
    plural = "promotion waits" if len(waiting) == 1 else "promotions wait"
    first = "" if len(waiting) == 1 else "the oldest, "
    yield f"{count} {plural} ({first}'{oldest.metadata.name}', for {why})", oldest.metadata.creation_timestamp
