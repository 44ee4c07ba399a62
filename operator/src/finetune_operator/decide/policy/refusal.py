"""How a policy tells of a write that the API server refuses (rows R50, D27)."""

from dataclasses import replace as with_changes

from msgspec.structs import replace

from ...api.meta import ConditionStatus, find
from ...api.policy import PolicyStatus
from .. import times
from ..decision import CreateRun, Decision, DeleteJob
from ..refusal import Refusal, events, with_refusal
from ..views import PolicyView
from .summary import summary


def say_refused(view: PolicyView, decision: Decision[PolicyStatus], refusal: Refusal) -> Decision[PolicyStatus]:
    """Return the decision saying in `Ready` that one of its writes was refused at the last try.

    A Job that cannot be deleted is in nobody's way: `Ready` says so, and stays as good as it is.
    """
    if not refusal.is_repeated_by(decision.actions):
        return decision
    policy, before = view.policy, view.policy.status.conditions
    ready = find(decision.status.conditions, "Ready")
    if isinstance(refusal.action, CreateRun):
        return _say_unfired(view, decision, refusal)
    left = isinstance(refusal.action, DeleteJob)
    value: ConditionStatus = ready.status if left and ready is not None else "False"
    if left and value != "True":
        return decision
    conditions = with_refusal(
        decision.status.conditions,
        before,
        "Ready",
        value,
        refusal,
        generation=policy.metadata.generation,
        now=times.moment(view.now),
    )
    status = replace(decision.status, conditions=conditions, message=policy.status.message, since=policy.status.since)
    message, since = summary(with_changes(view, policy=replace(policy, status=status)))
    status = replace(status, message=message, since=since)
    return with_changes(decision, status=status, actions=(*events(before, "Ready", refusal), *decision.actions))


def _say_unfired(view: PolicyView, decision: Decision[PolicyStatus], refusal: Refusal) -> Decision[PolicyStatus]:
    """Return the decision saying in `Due` that the run cannot be made: whatever else the policy does goes on."""
    policy, before = view.policy, view.policy.status.conditions
    generation, now = policy.metadata.generation, times.moment(view.now)
    conditions = decision.status.conditions
    conditions = with_refusal(conditions, before, "Due", "False", refusal, generation=generation, now=now)
    status = replace(decision.status, conditions=conditions)
    return with_changes(decision, status=status, actions=(*events(before, "Due", refusal), *decision.actions))
