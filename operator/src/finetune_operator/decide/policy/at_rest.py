"""The Deployment while no promotion is in flight: adopt, promote, put back, keep hands off (rows D3 to D8)."""

from dataclasses import replace as with_changes
from datetime import timedelta
from typing import Final

from msgspec.structs import replace

from ...api.policy_status import LiveVersion, PolicyStatus
from ...api.promotion import Promotion
from .. import limits, times
from ..commands import in_events
from ..decision import Decision, Emit
from ..deployment import counted_epoch, deployment_problem, keys_of, manager_in_words, written_by_others
from ..promotion.checks import judge
from ..promotion.eligibility import is_proven
from ..promotion.proposal import Clear, Proposal, Refuse
from ..promotion.release import lifts
from ..promotion.waiting import candidates, identity
from ..rejections import barred
from ..views import DeploymentView, PolicyView
from . import holds, memory
from .flight import begin
from .instead import given_up
from .recall import adopt, adoptable, explain
from .rules import Rule, changes_deployment, side_by_side
from .writes import apply_keys

REASSERT_WINDOW: Final = timedelta(minutes=10)
REASSERT_LIMIT: Final = 2
"""Times that lost keys are put back within the window, before somebody else's will is assumed."""

BACKLOG: Final = timedelta(seconds=5)
"""When refusals had to wait for earlier ones to be mirrored, look again so soon."""


def _promote(view: PolicyView) -> Decision[PolicyStatus] | None:
    """Start the oldest promotion that may act (D7); consume those that never will (D8)."""
    policy, status = view.policy, view.policy.status
    waiting = candidates(policy, view.promotions)
    if not waiting:
        return None
    problem, events = deployment_problem(view), list[Emit]()
    unmirrored, backlog = _unmirrored(view), False
    for promotion in waiting:
        current = replace(policy, status=status)
        finding = judge(Proposal(promotion, current, view.versions, view.deployment, problem))
        if isinstance(finding, Clear):
            begun = begin(with_changes(view, policy=current), promotion, finding)
            return with_changes(begun, actions=(*begun.actions, *events))
        if not isinstance(finding, Refuse):
            continue
        if len(unmirrored) >= limits.CONSUMED_MESSAGES:
            backlog = True  # only refusals wait for that: what keeps outcomes from their objects may last
            continue
        unmirrored.add(identity(promotion))
        status = _refuse(view, status, promotion, finding, unmirrored)
        events.extend(_refusal_events(promotion, finding))
    if status is policy.status and not backlog:
        return None
    return Decision(status, tuple(events), BACKLOG if backlog else None)


def _unmirrored(view: PolicyView) -> set[tuple[str, str]]:
    """Return the consumed promotions whose objects do not show it yet: forgetting those would act twice.

    One that is being deleted, and that somebody's finalizer keeps, never shows it, and acts no more.
    """
    remembered = {(entry.name, entry.spec_hash) for entry in view.policy.status.consumed}
    return {
        key
        for promotion in view.promotions
        if promotion.status.finished_at is None and promotion.metadata.deletion_timestamp is None
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
    live = status.live
    # To overrule a taking back overrules no person's no: what D110 bars stays, and is good by nobody's word (D65).
    if finding.outcome == "Succeeded" and live is not None and barred(live.sha256, view.versions, status) is None:
        status = memory.kept(status, memory.as_version(live))
    if finding.outcome == "Succeeded" and lifts(promotion, status.hold):
        status = memory.released(status)
    return memory.consumed(
        status,
        (*identity(promotion), promotion.metadata.uid),
        finding.outcome,
        finding.reason,
        finding.message,
        view.now,
        unmirrored,
        overrules=promotion.overrules,
    )


def _refusal_events(promotion: Promotion, finding: Refuse) -> tuple[Emit, ...]:
    texts = in_events(f"promotion '{promotion.metadata.name}': {finding.message}")
    return tuple(Emit("Warning" if finding.outcome == "Failed" else "Normal", finding.reason, text) for text in texts)


def _reassert(view: PolicyView) -> Decision[PolicyStatus] | None:
    """The keys are gone (Deployment re-created, replaced, swept): put live back, at most twice in ten minutes (D5)."""
    status, deployment = view.policy.status, view.deployment
    live = status.live
    if live is None or deployment is None or not deployment.keys.absent or deployment_problem(view) is not None:
        return None
    if (status.hold is not None and status.hold.reason == "ConflictingWriter") or not is_proven(
        view.policy, view.versions
    ):
        return None
    # One that lies ahead was written before the clock was set back: it must not count for as long as that was.
    recent = tuple(at for at in status.reasserted_at if timedelta(0) <= view.now - at < REASSERT_WINDOW)
    if len(recent) >= REASSERT_LIMIT:
        return _conflicting(view, deployment, live)
    epoch = max(status.epoch, live.epoch, counted_epoch(deployment)) + 1
    asserted = replace(
        status, live=replace(live, epoch=epoch), epoch=epoch, reasserted_at=(*recent, times.moment(view.now))
    )
    text = f"the keys on Deployment '{deployment.name}' were gone; putting '{live.version}' back"
    return Decision(asserted, (apply_keys(deployment, live, epoch), Emit("Warning", "Reasserted", text)))


def _conflicting(view: PolicyView, deployment: DeploymentView, live: LiveVersion) -> Decision[PolicyStatus]:
    cause = (
        f"the keys of '{live.version}' on Deployment '{deployment.name}' disappear again and again, by "
        f"{manager_in_words(deployment)}; see that nothing replaces the Deployment or its template annotations"
    )
    by = written_by_others(deployment) or "unknown"
    return Decision(*holds.hold(view, view.policy.status, by, "ConflictingWriter", cause, holds.lifting(view.policy)))


def _hold_for_foreign_keys(view: PolicyView) -> Decision[PolicyStatus] | None:
    """Somebody changed the keys: record it, hold, never overwrite (D6); what a person rejected is given up (D118)."""
    status, deployment = view.policy.status, view.deployment
    if deployment is None or deployment.keys.absent:
        return None
    led, why = given_up(view, status, deployment.keys)
    said = (Emit("Warning", "LiveRejected", why),) if why else ()
    if deployment_problem(view) is not None:
        return Decision(led, said) if why else None
    if deployment.keys == keys_of(status.live):
        renewed = holds.undone(view, status, deployment)
        return None if renewed == status else Decision(renewed)
    if holds.is_kept(status, deployment) or adoptable(view) is not None:
        return Decision(holds.still_owned(view, led, why), said) if why else None
    held, events = holds.external(view, led, deployment, why)
    return None if held is status else Decision(held, (*said, *events))


RULES: Final[tuple[Rule, ...]] = (adopt, explain, _promote, _reassert, _hold_for_foreign_keys)
"""A promotion that may act comes before putting back what it would replace."""


def at_rest(view: PolicyView) -> Decision[PolicyStatus]:
    """Return what all rules together want, up to the one that changes the Deployment."""
    return side_by_side(view, RULES, until=changes_deployment)
