"""The conditions of a policy, derived from its status and from what is seen of its Deployment and templates."""

from ...api.meta import ConditionStatus
from ...api.policy import Policy
from ...api.policy_status import InFlight, PolicyStatus
from ..bases import default_base
from ..commands import promoting, releasing
from ..deployment import deployment_problem, keys_of, manager_in_words
from ..promotion.eligibility import is_proven
from ..promotion.proposal import Refuse
from ..templates import templates_problem
from ..views import PolicyView, Problem
from . import memory
from .availability import available
from .holds import cause_of, releasing_for
from .returning import stuck
from .summary import NOT_PUT_BACK
from .triggers.machine import due
from .writes import ailing

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
        ("Due", *due(view)),
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
    waited = _not_rolled_out(view)
    return _good_unless(problem, "Operational") if waited is None else ("False", "NotRolledOut", waited)


def _not_rolled_out(view: PolicyView) -> str | None:
    """Return what is waited for before the version that the Deployment names is adopted (D39), or None."""
    hold = view.policy.status.hold
    return cause_of(hold) if hold is not None and hold.reason == "NotRolledOut" else None


def _in_sync(view: PolicyView) -> Fact:
    status, deployment = view.policy.status, view.deployment
    if status.in_flight is not None:
        return "Unknown", status.in_flight.phase, _flying(view, status.in_flight)
    if deployment is None:
        return "Unknown", "DeploymentNotFound", ""
    if view.rivals:
        return "Unknown", "DeploymentTaken", ""
    if deployment.keys == keys_of(status.live):
        return ("Unknown", "NothingLive", "nothing is live yet") if status.live is None else ("True", "AsRecorded", "")
    waited = _not_rolled_out(view)
    if waited is not None:
        return "False", "NotRolledOut", waited
    if deployment.keys.absent:
        return _keys_absent(view, status, f"Deployment '{deployment.name}' does not carry the keys of what is live")
    if status.hold is not None and status.hold.reason in ("External", "FieldOwned"):
        return "False", "External", status.hold.message
    return "False", "External", f"the keys were set by {manager_in_words(deployment)}"


def _keys_absent(view: PolicyView, status: PolicyStatus, lost: str) -> Fact:
    """Return that live is put back (D5), or that it may not be, and what can be served instead (D274)."""
    policy, live = view.policy, status.live
    if live is None or is_proven(policy, view.versions):
        command = releasing(policy)
        given_up = status.hold is not None and status.hold.reason == "ConflictingWriter"
        remedy = "they were lost again and again, so it is not put back any more" if given_up else "it is put back"
        by_this = "" if command is None else f"; to put it back: {command}" if given_up else f", or by this: {command}"
        return "False", "KeysAbsent", f"{lost}; {remedy}{by_this}"
    good = next((v for v in status.last_good if memory.is_spotless(status, v, view.versions)), None)
    way = _measured_base(view) or "; import a base, and promote it"
    if good is not None:
        command = promoting(policy, good.version, live.version, release=status.hold is not None)
        way = f"; to have '{good.version}' served: {command}"
    text = f"{lost}, and nothing is served: nothing here proves '{live.version}', so it is not put back{way}"
    return "False", NOT_PUT_BACK, text


def _measured_base(view: PolicyView) -> str:
    """Return how to have the base served that runs start from (D234); nothing where that would be refused."""
    base = default_base(view.versions, view.policy)
    if base is None:
        return ""
    command = releasing_for(view, view.policy, base.spec.version, base.spec.artifact.sha256)
    return "" if isinstance(command, Refuse) else f"; to have '{base.spec.version}' served: {command}"


def _flying(view: PolicyView, flight: InFlight) -> str:
    """Return what flies, what ails it, and how it is ended at once."""
    return f"promotion '{flight.promotion}' is in flight{ailing(view.deployment)}{ending_it(view.policy, flight)}"


def ending_it(policy: Policy, flight: InFlight) -> str:
    """Return how a person ends the flight at once (row D30), to be put behind a sentence."""
    if flight.back is None or flight.phase == "Returning":
        return ""
    command = promoting(policy, flight.back.version, flight.to.version)
    return f"; deleting the promotion stops nothing; to go back to '{flight.back.version}' at once: {command}"


def serving(status: PolicyStatus) -> str:
    """Return what is live in one word, or what is on its way in or back."""
    flight = status.in_flight
    if flight is None:
        return "" if status.live is None else status.live.version
    if flight.phase == "Returning":
        return f"{'nothing' if flight.back is None else flight.back.version} (returning)"
    return f"{flight.to.version} ({flight.phase.lower()})"


def _held(view: PolicyView) -> Fact:
    hold = view.policy.status.hold
    return ("False", "NotHeld", "") if hold is None else ("True", hold.reason, hold.message)
