"""The conditions of a policy, derived from its status and from what is seen of its Deployment and templates."""

from ...api.meta import ConditionStatus
from ..deployment import deployment_problem, keys_of, manager_in_words
from ..templates import templates_problem
from ..views import PolicyView, Problem
from .availability import available
from .flight import stuck

Fact = tuple[ConditionStatus, str, str]


def facts(view: PolicyView) -> tuple[tuple[str, ConditionStatus, str, str], ...]:
    """Return type, status, reason and message of every condition of a policy, for the status in `view`."""
    templates, target = templates_problem(view), _target_problem(view)
    return (
        ("Ready", *_ready(view, target or templates)),
        ("TargetReady", *_good_unless(target, "DeploymentReady")),
        ("TemplatesReady", *_good_unless(templates, "TemplatesFound")),
        ("InSync", *_in_sync(view)),
        ("Available", *available(view)),
        ("Held", *_held(view)),
    )


def _target_problem(view: PolicyView) -> Problem | None:
    """A refused apply (D20) shows as long as its hold stands: only the next apply could tell that it is over."""
    hold = view.policy.status.hold
    owned = Problem(hold.reason, hold.message) if hold is not None and hold.reason == "FieldOwned" else None
    return deployment_problem(view) or owned


def _good_unless(problem: Problem | None, good: str) -> Fact:
    return ("True", good, "") if problem is None else ("False", problem.reason, problem.message)


def _ready(view: PolicyView, problem: Problem | None) -> Fact:
    blocked = stuck(view)
    if blocked is not None:
        return "False", "RollbackBlocked", blocked
    return _good_unless(problem, "Operational")


def _in_sync(view: PolicyView) -> Fact:
    status, deployment = view.policy.status, view.deployment
    if status.in_flight is not None:
        ails = (
            ""
            if deployment is None or deployment.trouble is None
            else f"; {deployment.trouble.reason}: {deployment.trouble.message}"
        )
        return "Unknown", status.in_flight.phase, f"promotion '{status.in_flight.promotion}' is in flight{ails}"
    if deployment is None:
        return "Unknown", "DeploymentNotFound", ""
    if deployment.keys == keys_of(status.live):
        return ("Unknown", "NothingLive", "nothing is live yet") if status.live is None else ("True", "AsRecorded", "")
    if deployment.keys.absent:
        remedy = "it is put back, or by a promotion of it with releaseHold: true"
        return (
            "False",
            "KeysAbsent",
            f"Deployment '{deployment.name}' does not carry the keys of what is live; {remedy}",
        )
    return "False", "External", f"the keys were set by {manager_in_words(deployment)}"


def _held(view: PolicyView) -> Fact:
    hold = view.policy.status.hold
    return ("False", "NotHeld", "") if hold is None else ("True", hold.reason, hold.message)
