"""FineTunePolicy: the only writer of the Deployment, and the memory of what is live there (rows D1-D24)."""

from collections.abc import Iterator
from dataclasses import replace as with_changes
from datetime import timedelta
from typing import Final

from msgspec.structs import replace

from ...api.meta import find, set_condition
from ...api.policy_status import PolicyStatus
from .. import times
from ..decision import Decision, Emit
from ..deployment import keys_of, owner_in_words
from ..views import PolicyView
from . import holds, memory
from .at_rest import at_rest
from .blame import quarantined_if_at_fault
from .conditions import facts, serving
from .flight import advance
from .instead import instead
from .metrics import metrics
from .monitored import say_monitored
from .recall import recall
from .returning import landed
from .rules import Rule, side_by_side
from .scan import scan
from .summary import NEEDS_SOMEBODY, NOT_PUT_BACK, summary
from .triggers.machine import fire
from .upkeep import remove_finished_jobs


def decide(view: PolicyView) -> Decision[PolicyStatus]:
    """Return the next status of the policy, and the one change of its Deployment if there is one. Total."""
    if view.policy.metadata.deletion_timestamp is not None:
        return Decision(view.policy.status)
    return _summed_up(view, side_by_side(view, CONCERNS))


def serve(view: PolicyView) -> Decision[PolicyStatus]:
    """Look after what the Deployment serves: the promotion in flight, or what is at rest."""
    flight = view.policy.status.in_flight
    return at_rest(view) if flight is None else advance(view, flight)


def forget_reservations(view: PolicyView) -> Decision[PolicyStatus]:
    """Let go of version numbers whose ModelVersion is there (row D24)."""
    policy = view.policy
    return Decision(memory.without_spent_reservations(policy.status, view.versions, policy.spec.model))


CONCERNS: Final[tuple[Rule, ...]] = (recall, serve, forget_reservations, remove_finished_jobs, scan, fire)
"""What a policy looks after, side by side; only `serve` changes the Deployment.

A write that is refused keeps those after it from being tried: what may be refused for a quota, in which finished Jobs
count, comes after their removal.
"""


def refused(view: PolicyView, manager: str, message: str) -> Decision[PolicyStatus]:
    """Return the decision after an apply met a field of ours that `manager` owns (row D20): hands off, and a hold.

    `message` is the API server's. The flight, if there is one, ends; the Deployment is as it was.
    """
    status = view.policy.status
    owner = manager or "unknown"
    flight = status.in_flight
    if flight is not None:
        status = quarantined_if_at_fault(status, flight, view.now)
        said = f"{owner_in_words(owner, view.policy.spec.deployment)}: {message}"
        if view.deployment is not None and view.deployment.keys == keys_of(flight.to):
            status, said = instead(view, status, flight, said)
        status = landed(status, flight, "Failed", "FieldOwned", said, view.now)
    return _summed_up(view, Decision(*holds.field_owned(view, status, flight, owner)))


def _summed_up(view: PolicyView, decision: Decision[PolicyStatus]) -> Decision[PolicyStatus]:
    """Return the decision with what follows from its status: conditions, summary, Events and metrics of a change."""
    policy, status = view.policy, decision.status
    after = with_changes(view, policy=replace(policy, status=status))
    if view.observed is not None and after.timed.key != view.timed.key:
        after = with_changes(after, observed=timedelta())
    conditions = status.conditions
    generation, now = policy.metadata.generation, times.moment(view.now)
    for kind, value, reason, message in facts(after):
        conditions = set_condition(conditions, kind, value, reason, message, generation=generation, now=now)
    status = replace(status, conditions=conditions, serving=serving(status), observed_generation=generation)
    status = say_monitored(after, status)
    message, since = summary(with_changes(after, policy=replace(policy, status=status)))
    status = replace(status, message=message, since=since)
    # Metrics go first: nothing asks for them a second time when another action is refused.
    actions = (*metrics(view, status), *decision.actions, *_warnings(policy.status, status))
    return Decision(status, actions, decision.requeue_after)


def _of_triggers(before: PolicyStatus, after: PolicyStatus) -> Iterator[Emit]:
    """Yield the Events of a run that was fired, and of triggers that need somebody."""
    known = {entry.run for entry in before.fired}
    for entry in after.fired:
        if entry.outcome == "Planned" and entry.run not in known:
            yield Emit("Normal", "Fired", f"run '{entry.run}' ({entry.kind}), try {entry.attempt}: {entry.reason}")
    due, was = find(after.conditions, "Due"), find(before.conditions, "Due")
    if due is not None and due.reason in NEEDS_SOMEBODY and (was is None or was.reason != due.reason):
        yield Emit("Warning", due.reason, due.message)


def _warnings(before: PolicyStatus, after: PolicyStatus) -> tuple[Emit, ...]:
    """Return the Events of conditions that went bad."""
    ready, was = find(after.conditions, "Ready"), find(before.conditions, "Ready")
    events: list[Emit] = []
    if ready is not None and ready.reason == "RollbackBlocked" and (was is None or was.reason != ready.reason):
        events.append(Emit("Warning", "RollbackBlocked", ready.message))
    lost, was = find(after.conditions, "InSync"), find(before.conditions, "InSync")
    if lost is not None and lost.reason == NOT_PUT_BACK and (was is None or was.reason != lost.reason):
        events.append(Emit("Warning", lost.reason, lost.message))
    short, was = find(after.conditions, "Available"), find(before.conditions, "Available")
    if (
        short is not None
        and short.status == "False"
        and (was is None or (was.status, was.reason) != ("False", short.reason))
    ):
        events.append(Emit("Warning", short.reason, short.message))
    events.extend(_of_triggers(before, after))
    return tuple(events)
