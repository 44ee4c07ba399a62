"""FineTunePolicy: the only writer of the Deployment, and the memory of what is live there (rows D1-D24)."""

from collections.abc import Callable
from dataclasses import replace as with_changes
from datetime import timedelta
from typing import Final

from msgspec.structs import replace

from ...api.contract import LONGEST_URI
from ...api.meta import Condition, ConditionStatus, find, with_condition
from ...api.names import FIELD_MANAGER, model_version_name
from ...api.policy import LiveVersion, PolicyStatus
from ...api.promotion import Promotion
from .. import deployment as target
from ..decision import ApplyKeys, Decision, Emit
from ..promotion.checks import Clear, Proposal, Refuse, candidates, identity, judge, passed_by_itself
from ..views import DeploymentView, PolicyView, Problem, ServedKeys
from . import flight as flip
from . import memory

REASSERT_WINDOW: Final = timedelta(minutes=10)
REASSERT_LIMIT: Final = 2
BACKLOG: Final = timedelta(seconds=5)
"""When refusals had to wait for earlier ones to be mirrored, look again so soon."""

LONGEST_NAME: Final = 100
SHA256_DIGITS: Final = 64
HEX_DIGITS: Final = frozenset("0123456789abcdef")

Rule = Callable[[PolicyView], Decision[PolicyStatus] | None]


def decide(view: PolicyView) -> Decision[PolicyStatus]:
    """Return the next status of the policy, and the one change of its Deployment if there is one. Total."""
    if view.policy.metadata.deletion_timestamp is not None:
        return Decision(view.policy.status)
    flight = view.policy.status.in_flight
    decision = _at_rest(view) if flight is None else flip.advance(view, flight)
    return _summed_up(view, decision)


def refused(view: PolicyView, manager: str, message: str) -> Decision[PolicyStatus]:
    """Return the decision after an apply met a field of ours that `manager` owns (row D20): hands off, and a hold.

    `message` is the API server's. The flight, if there is one, ends; the Deployment is as it was.
    """
    status, name = view.policy.status, view.policy.spec.deployment
    owner = manager or "unknown"
    conflict = f"field manager '{owner}' owns a field of the operator on Deployment '{name}'"
    text = f"{conflict}; take it out of that manifest and let go of it: {target.letting_go(name)}"
    flight = status.in_flight
    if flight is not None:
        if flight.why in flip.FAULTS:
            status = memory.quarantined(status, flight.to, flight.why, view.now)
        status = memory.landed(status, flight, "Failed", "FieldOwned", conflict, view.now)
    held = memory.held(status, owner, "FieldOwned", text, view.now)
    told = () if held == view.policy.status else (Emit("Warning", "FieldOwned", f"{conflict}: {message}"),)
    return _summed_up(view, Decision(held, told))


def _at_rest(view: PolicyView) -> Decision[PolicyStatus]:
    """Without a flight: the first rule that has something to do."""
    for rule in RULES:
        decision = rule(view)
        if decision is not None:
            return decision
    return Decision(view.policy.status)


def _adopt(view: PolicyView) -> Decision[PolicyStatus] | None:
    """A policy without memory (new, or re-created) takes over what the Deployment says, and holds (D3, D23)."""
    status, found = view.policy.status, view.deployment
    if status.epoch > 0 or status.live is not None or target.problem(view) is not None or found is None:
        return None
    version = _version_by_keys(view, found.keys)
    if version is None:
        return None
    epoch = max(target.epoch_of(found), 1)
    adopted = replace(status, live=memory.as_live(version, epoch, view.now), epoch=epoch)
    text = (
        f"Deployment '{found.name}' already served '{version.version}' when this policy first saw it; "
        "a promotion with releaseHold: true lifts the hold"
    )
    held = memory.held(adopted, FIELD_MANAGER, "Adopted", text, view.now)
    return Decision(held, (Emit("Warning", "Adopted", text),))


def _version_by_keys(view: PolicyView, keys: ServedKeys) -> LiveVersion | None:
    """Return the version that complete and plausible keys name, or None; they may be anybody's text."""
    version, uri, sha256 = keys.version, keys.uri, keys.sha256
    if not version or not uri or not sha256:
        return None
    if len(version) > LONGEST_NAME or len(uri) > LONGEST_URI:
        return None
    if len(sha256) != SHA256_DIGITS or not HEX_DIGITS.issuperset(sha256):
        return None
    known = (v.metadata.name for v in view.versions if v.spec.version == version and v.spec.artifact.sha256 == sha256)
    name = next(known, model_version_name(view.policy.spec.model, version))
    return LiveVersion(version=version, model_version=name, uri=uri, sha256=sha256)


def _promote(view: PolicyView) -> Decision[PolicyStatus] | None:
    """Start the oldest promotion that may act (D7); consume those that never will (D8)."""
    policy, status = view.policy, view.policy.status
    waiting = candidates(policy, view.promotions)
    if not waiting:
        return None
    problem, told = target.problem(view), list[Emit]()
    unmirrored = _unmirrored(view)
    for promotion in waiting:
        current = replace(policy, status=status)
        finding = judge(Proposal(promotion, current, view.versions, view.deployment, problem))
        if isinstance(finding, Clear):
            begun = flip.begin(with_changes(view, policy=current), promotion, finding)
            return with_changes(begun, actions=(*begun.actions, *told))
        if not isinstance(finding, Refuse):
            continue
        if len(unmirrored) >= memory.CONSUMED:
            return Decision(status, tuple(told), BACKLOG)
        unmirrored.add(identity(promotion))
        status = _refuse(view, status, promotion, finding, unmirrored)
        told.append(_told(promotion, finding))
    return None if status is policy.status else Decision(status, tuple(told))


def _unmirrored(view: PolicyView) -> set[tuple[str, str]]:
    """Return the consumed promotions whose objects do not show it yet: forgetting those would act twice."""
    remembered = {(entry.name, entry.spec_hash) for entry in view.policy.status.consumed}
    return {
        key
        for promotion in view.promotions
        if promotion.status.finished_at is None
        for key in (identity(promotion),)
        if key in remembered
    }


def _refuse(
    view: PolicyView,
    status: PolicyStatus,
    promotion: Promotion,
    finding: Refuse,
    unmirrored: set[tuple[str, str]],
) -> PolicyStatus:
    if finding.outcome == "Succeeded" and promotion.spec.release_hold:
        status = memory.released(status)
    return memory.consumed(
        status, identity(promotion), finding.outcome, finding.reason, finding.message, view.now, unmirrored
    )


def _told(promotion: Promotion, finding: Refuse) -> Emit:
    text = f"promotion '{promotion.metadata.name}': {finding.message}"
    return Emit("Warning" if finding.outcome == "Failed" else "Normal", finding.reason, text)


def _reassert(view: PolicyView) -> Decision[PolicyStatus] | None:
    """The keys are gone (Deployment re-created, replaced, swept): put live back, at most twice in ten minutes (D5)."""
    status, found = view.policy.status, view.deployment
    live = status.live
    if live is None or found is None or not found.keys.absent or target.problem(view) is not None:
        return None
    if (status.hold is not None and status.hold.reason == "ConflictingWriter") or not _proven(view, live):
        return None
    recent = tuple(at for at in status.reasserted_at if view.now - at < REASSERT_WINDOW)
    if len(recent) >= REASSERT_LIMIT:
        return _conflicting(view, found, live)
    epoch = max(status.epoch, live.epoch, target.epoch_of(found)) + 1
    asserted = replace(
        status, live=replace(live, epoch=epoch), epoch=epoch, reasserted_at=(*recent, memory.moment(view.now))
    )
    text = f"the keys on Deployment '{found.name}' were gone; putting '{live.version}' back"
    return Decision(asserted, (_apply_live(found, live, epoch), Emit("Warning", "Reasserted", text)))


def _proven(view: PolicyView, live: LiveVersion) -> bool:
    """Tell whether live may be written by us: it passed a watch here, or was adopted and is known as passed.

    What was merely found on the Deployment is recorded, and never put live by the operator without evidence.
    """
    if any(good.sha256 == live.sha256 for good in view.policy.status.last_good):
        return True
    return any(
        passed_by_itself(version)
        for version in view.versions
        if (version.spec.version, version.spec.artifact.sha256) == (live.version, live.sha256)
        and version.spec.model == view.policy.spec.model
    )


def _conflicting(view: PolicyView, found: DeploymentView, live: LiveVersion) -> Decision[PolicyStatus]:
    text = (
        f"the keys of '{live.version}' on Deployment '{found.name}' disappear again and again, by "
        f"{target.manager_in_words(found)}; see that nothing replaces the Deployment or its template annotations, "
        "then create a promotion with releaseHold: true"
    )
    by = target.written_by_others(found) or "unknown"
    held = memory.held(view.policy.status, by, "ConflictingWriter", text, view.now)
    return Decision(held, (Emit("Warning", "ConflictingWriter", text),))


def _apply_live(found: DeploymentView, live: LiveVersion, epoch: int) -> ApplyKeys:
    return ApplyKeys(found.name, found.uid, found.resource_version, live.version, live.uri, live.sha256, epoch)


def _hold_for_foreign_keys(view: PolicyView) -> Decision[PolicyStatus] | None:
    """Somebody changed the keys: record it, hold, never overwrite (D6)."""
    status, found = view.policy.status, view.deployment
    if found is None or found.keys.absent or target.problem(view) is not None:
        return None
    if found.keys == target.keys_of(status.live):
        return None
    recorded = "nothing" if status.live is None else f"'{status.live.version}'"
    served = (found.keys.version or "")[:64]
    text = (
        f"Deployment '{found.name}' was set to '{served}' by {target.manager_in_words(found)}, "
        f"recorded as live is {recorded}; a promotion with releaseHold: true settles which one it shall be"
    )
    held = memory.held(status, target.written_by_others(found) or "unknown", "External", text, view.now)
    return None if held is status else Decision(held, (Emit("Warning", "External", text),))


RULES: Final[tuple[Rule, ...]] = (_adopt, _promote, _reassert, _hold_for_foreign_keys)
"""A promotion that may act comes before putting back what it would replace."""


def _summed_up(view: PolicyView, decision: Decision[PolicyStatus]) -> Decision[PolicyStatus]:
    """Return the decision with pruned reservations and the conditions that follow from its status."""
    policy = view.policy
    status = memory.without_spent_reservations(decision.status, view.versions, policy.spec.model, view.now)
    after = with_changes(view, policy=replace(policy, status=status))
    conditions = status.conditions
    for condition in _conditions(after):
        conditions = with_condition(conditions, condition, memory.moment(view.now))
    told = decision.actions
    ready, before = find(conditions, "Ready"), find(policy.status.conditions, "Ready")
    if ready is not None and ready.reason == "RollbackBlocked" and (before is None or before.reason != ready.reason):
        told = (*told, Emit("Warning", "RollbackBlocked", ready.message))
    status = replace(status, conditions=conditions, observed_generation=policy.metadata.generation)
    return Decision(status, told, decision.requeue_after)


def _conditions(view: PolicyView) -> tuple[Condition, ...]:
    templates = target.templates_problem(view)
    deployment = _target_problem(view)
    parts = (
        ("Ready", *_ready(view, deployment or templates)),
        ("TargetReady", *_good_unless(deployment, "DeploymentReady")),
        ("TemplatesReady", *_good_unless(templates, "TemplatesFound")),
        ("InSync", *_in_sync(view)),
        ("Held", *_held(view)),
    )
    generation = view.policy.metadata.generation
    return tuple(
        Condition(type=kind, status=status, reason=reason, message=message, observed_generation=generation)
        for kind, status, reason, message in parts
    )


Fact = tuple[ConditionStatus, str, str]


def _target_problem(view: PolicyView) -> Problem | None:
    """A refused apply (D20) shows as long as its hold stands: only the next apply could tell that it is over."""
    hold = view.policy.status.hold
    owned = Problem(hold.reason, hold.message) if hold is not None and hold.reason == "FieldOwned" else None
    return target.problem(view) or owned


def _good_unless(problem: Problem | None, good: str) -> Fact:
    return ("True", good, "") if problem is None else ("False", problem.reason, problem.message)


def _ready(view: PolicyView, problem: Problem | None) -> Fact:
    blocked = flip.stuck(view)
    if blocked is not None:
        return "False", "RollbackBlocked", blocked
    return _good_unless(problem, "Operational")


def _in_sync(view: PolicyView) -> Fact:
    status, found = view.policy.status, view.deployment
    if status.in_flight is not None:
        ails = "" if found is None or found.trouble is None else f"; {found.trouble.reason}: {found.trouble.message}"
        return "Unknown", status.in_flight.phase, f"promotion '{status.in_flight.promotion}' is in flight{ails}"
    if found is None:
        return "Unknown", "DeploymentNotFound", ""
    if found.keys == target.keys_of(status.live):
        return ("Unknown", "NothingLive", "nothing is live yet") if status.live is None else ("True", "AsRecorded", "")
    if found.keys.absent:
        remedy = "it is put back, or by a promotion of it with releaseHold: true"
        return "False", "KeysAbsent", f"Deployment '{found.name}' does not carry the keys of what is live; {remedy}"
    return "False", "External", f"the keys were set by {target.manager_in_words(found)}"


def _held(view: PolicyView) -> Fact:
    hold = view.policy.status.hold
    return ("False", "NotHeld", "") if hold is None else ("True", hold.reason, hold.message)
