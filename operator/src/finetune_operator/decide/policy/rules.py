"""Rules that run side by side: none starves another, and at most one of them changes the Deployment."""

from collections.abc import Callable, Iterable
from dataclasses import replace as with_changes
from datetime import timedelta

from msgspec.structs import replace

from ...api.policy_status import PolicyStatus
from ..decision import Action, ApplyKeys, Decision
from ..views import PolicyView

Rule = Callable[[PolicyView], Decision[PolicyStatus] | None]
"""Looks at the policy, and returns what it wants: the next status, actions, when to look again; or None."""


def side_by_side(
    view: PolicyView, rules: Iterable[Rule], *, until: Callable[[Decision[PolicyStatus]], bool] = lambda _: False
) -> Decision[PolicyStatus]:
    """Return what the rules want together, each seeing the status that those before it left.

    After a decision for which `until` holds the other rules wait for the next look.
    """
    status, actions, waits = view.policy.status, list[Action](), list[timedelta]()
    for rule in rules:
        decision = rule(view)
        if decision is None:
            continue
        if decision.status is not status:
            status = decision.status
            view = with_changes(view, policy=replace(view.policy, status=status))
        actions.extend(decision.actions)
        waits.extend(() if decision.requeue_after is None else (decision.requeue_after,))
        if until(decision):
            break
    return Decision(status, tuple(actions), min(waits, default=None))


def changes_deployment(decision: Decision[PolicyStatus]) -> bool:
    """Tell whether a decision begins a flight or applies keys: what others would say hangs on how it was before."""
    return decision.status.in_flight is not None or any(isinstance(a, ApplyKeys) for a in decision.actions)
