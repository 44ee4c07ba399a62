"""How a policy tells of a write that the API server refuses (rows R50, D27)."""

from dataclasses import replace as with_changes

from msgspec.structs import replace

from ...api.meta import ConditionStatus, find
from ...api.policy_status import PolicyStatus
from .. import times
from ..decision import Action, CreateJob, CreateRun, CreateSnapshot, Decision, DeleteJob
from ..refusal import Refusal, events, with_refusal
from ..views import PolicyView
from .scanned import CONDITION
from .summary import summary


def say_refused(view: PolicyView, decision: Decision[PolicyStatus], refusal: Refusal) -> Decision[PolicyStatus]:
    """Return the decision saying in `Ready` that one of its writes was refused at the last try.

    A Job that cannot be deleted is in nobody's way: `Ready` says so, and stays as good as it is. Nor is a scan that
    cannot be made: `Scanned` says so.
    """
    if not refusal.is_repeated_by(decision.actions):
        return decision
    policy, before = view.policy, view.policy.status.conditions
    kind = _condition_of(refusal.action)
    ready = find(decision.status.conditions, kind)
    left = isinstance(refusal.action, DeleteJob)
    value: ConditionStatus = ready.status if left and ready is not None else "False"
    if left and value != "True":
        return decision
    conditions = with_refusal(
        decision.status.conditions,
        before,
        kind,
        value,
        refusal,
        generation=policy.metadata.generation,
        now=times.moment(view.now),
    )
    status = replace(decision.status, conditions=conditions, message=policy.status.message, since=policy.status.since)
    message, since = summary(with_changes(view, policy=replace(policy, status=status)))
    status = replace(status, message=message, since=since)
    return with_changes(decision, status=status, actions=(*events(before, kind, refusal), *decision.actions))


def _condition_of(action: Action | None) -> str:
    """Return which condition tells of a write that is refused: whatever else the policy does goes on."""
    match action:
        case CreateJob() | CreateSnapshot():
            return CONDITION
        case CreateRun():
            return "Due"
        case _:
            return "Ready"
