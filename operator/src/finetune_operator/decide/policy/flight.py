"""The flight of one promotion: Flipping, Watching and, when it fails, Returning (rows D7, D9-D19).

A status with the flight in it is always written before the keys it speaks of, under the policy's resourceVersion;
every apply carries the Deployment's uid and resourceVersion, and an epoch above the one that the Deployment shows.
So a decision from a stale view can repeat an apply that is due, but never undo a later one.
"""

from datetime import datetime, timedelta
from typing import Final, assert_never

from msgspec.structs import replace

from ...api.names import FIELD_MANAGER
from ...api.policy import InFlight, LiveVersion, PolicyStatus
from ...api.promotion import Promotion
from .. import limits, times
from ..decision import Action, ApplyKeys, Decision, Emit
from ..deployment import (
    deployment_problem,
    epoch_of,
    forbids_writes,
    is_observed,
    is_rolled_out,
    keys_of,
    manager_in_words,
    rollout_patience,
    written_by_others,
)
from ..promotion.eligibility import takes_back
from ..promotion.proposal import Clear
from ..promotion.waiting import candidates, identity
from ..views import DeploymentView, PolicyView
from . import memory

UNHEALTHY_FOR: Final = timedelta(seconds=30)
"""Replicas may be unavailable for so long while watching (row D14)."""

REPORT_LAG: Final = timedelta(seconds=10)
"""A missed deadline reported earlier than this after a change is that of the rollout before."""

NEVER_APPLIED: Final = timedelta(hours=1)
"""A flight whose keys could not be applied for so long is given up."""

FAULTS: Final = frozenset(("RolloutFailed", "Unhealthy"))
"""Reasons to return that are the version's own, and quarantine it."""

NEVER_RAN: Final = frozenset(("Unschedulable", "ImagePullFailed", "ContainerConfig"))
"""What keeps a pod from running at all says nothing about the version that it would serve."""

LOOK_AGAIN: Final = timedelta(seconds=15)
"""How often the pods of a rollout are looked at: only the Deployment is watched."""


def begin(view: PolicyView, promotion: Promotion, clear: Clear) -> Decision[PolicyStatus]:
    """Return the decision to flip to a version for which the way is clear (row D7)."""
    status, deployment, spec = view.policy.status, clear.deployment, clear.version.spec
    to = LiveVersion(
        version=spec.version,
        model_version=clear.version.metadata.name,
        uri=spec.artifact.uri,
        sha256=spec.artifact.sha256,
    )
    name, spec_hash = identity(promotion)
    now = times.moment(view.now)
    flight = InFlight(
        takes_back=takes_back(view.policy, promotion, clear.version),
        reason=promotion.spec.reason[: limits.MARK],
        promotion=name,
        promotion_uid=promotion.metadata.uid,
        spec_hash=spec_hash,
        phase="Flipping",
        to=to,
        back=memory.way_back(status, to),
        epoch=_next_epoch(status, deployment),
        deployment_uid=deployment.uid,
        template_hash=deployment.template_hash,
        generation=deployment.generation,
        started_at=now,
        phase_since=now,
        deadline=times.later(now, rollout_patience(deployment)),
    )
    lifted = status.hold is not None and promotion.spec.release_hold
    flying = replace(memory.released(status) if lifted else status, in_flight=flight, epoch=flight.epoch)
    applied: tuple[Action, ...] = ()
    if deployment.keys != keys_of(to):
        applied = (_apply(deployment, to, flight.epoch),)
    event = Emit("Normal", "Flipping", f"promotion '{name}': flipping to '{to.version}'")
    return Decision(flying, (*applied, event), _until(view, flight.deadline))


def advance(view: PolicyView, flight: InFlight) -> Decision[PolicyStatus]:
    """Return the next step of the flight."""
    deployment = view.deployment
    if deployment is None or deployment.deleting or deployment.uid != flight.deployment_uid:
        return _target_gone(view, flight)
    match flight.phase:
        case "Flipping":
            return _flipping(view, flight, deployment)
        case "Watching":
            return _watching(view, flight, deployment)
        case "Returning":
            return _returning(view, flight, deployment)
        case _:
            assert_never(flight.phase)


def stuck(view: PolicyView) -> str | None:
    """Return why a return cannot be completed although its deadline passed (row D19), or None."""
    flight = view.policy.status.in_flight
    if flight is None or flight.phase != "Returning" or view.now < flight.deadline:
        return None
    back = "no version" if flight.back is None else f"'{flight.back.version}'"
    return (
        f"the way back to {back} is not complete: {_progress(view.deployment)}; look at the pods of Deployment "
        f"'{view.policy.spec.deployment}'; a promotion with releaseHold: true ends the waiting"
    )


def _flipping(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus]:
    if deployment.keys != keys_of(flight.to):
        return (
            _apply_late(view, flight, deployment)
            if _unapplied(flight, deployment)
            else _foreign(view, flight, deployment)
        )
    if is_rolled_out(deployment):
        return _watch(view, flight, deployment)
    if _deadline_reported(view, flight, deployment):
        return _return(
            view, flight, deployment, _fault(deployment, "RolloutFailed"), f"no progress: {_progress(deployment)}"
        )
    if view.now >= flight.deadline:
        return _return(view, flight, deployment, "RolloutTimedOut", f"not complete in time: {_progress(deployment)}")
    return Decision(view.policy.status, requeue_after=_until(view, _next_look(view, flight, deployment)))


def _fault(deployment: DeploymentView, reason: str) -> str:
    """Return why a rollout failed: the version's own fault, unless its pods never ran."""
    return (
        deployment.trouble.reason
        if deployment.trouble is not None and deployment.trouble.reason in NEVER_RAN
        else reason
    )


def _unapplied(flight: InFlight, deployment: DeploymentView) -> bool:
    """Tell whether the Deployment is still as the flight met it, so that a crash came before the apply.

    After `rollout undo` it looks the same but for who wrote the keys.
    """
    untouched = deployment.keys.absent or deployment.keys == keys_of(flight.back)
    return untouched and epoch_of(deployment) < flight.epoch and written_by_others(deployment) is None


def _apply_late(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus]:
    """Apply the keys after a crash or a conflict (row D9); time counts from when they can be applied."""
    if view.now >= flight.deadline:
        if view.now - flight.started_at >= NEVER_APPLIED:
            return _return(
                view, flight, deployment, "RolloutTimedOut", "the keys could not be applied to the Deployment"
            )
        now = times.moment(view.now)
        flight = replace(flight, phase_since=now, deadline=times.later(now, rollout_patience(deployment)))
    return _apply_again(view, flight, deployment, flight.to)


def _apply_again(
    view: PolicyView, flight: InFlight, deployment: DeploymentView, version: LiveVersion | None
) -> Decision[PolicyStatus]:
    """Repeat the apply that is due, as the same one only where it provably was not committed."""
    status = view.policy.status
    if deployment.generation != flight.generation:
        flight = replace(flight, epoch=_next_epoch(status, deployment), generation=deployment.generation)
    status = replace(status, in_flight=flight, epoch=max(status.epoch, flight.epoch))
    return Decision(status, _apply_if_ours(view, deployment, version, flight.epoch), _until(view, flight.deadline))


def _watch(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus]:
    """The rollout is complete (row D10): begin to watch, for as long as the policy says now."""
    now = times.moment(view.now)
    seconds = timedelta(seconds=max(view.policy.spec.watch.seconds, 0))
    watching = replace(
        flight, phase="Watching", phase_since=now, deadline=times.later(now, seconds), replicas=deployment.replicas
    )
    text = f"'{flight.to.version}' is rolled out; watching it for {seconds.total_seconds():.0f} s"
    status = replace(view.policy.status, in_flight=watching)
    return Decision(
        status, (Emit("Normal", "Watching", text),), _until(view, watching.deadline) or timedelta(seconds=1)
    )


def _watching(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus]:
    if deployment.keys != keys_of(flight.to):
        return _foreign(view, flight, deployment)
    if _deadline_reported(view, flight, deployment):
        why = _fault(deployment, "Unhealthy")
        return _return(view, flight, deployment, why, f"a rollout made no progress: {_progress(deployment)}")
    if _rolling_something_else(flight, deployment):
        return _watch_other_rollout(view, flight, deployment)
    # An autoscaler's new pods need time to start, so only the replicas that were there count.
    if deployment.available < min(deployment.replicas, flight.replicas):
        return _watch_unhealthy(view, flight, deployment)
    if flight.unhealthy_since is not None:
        flight = replace(flight, unhealthy_since=None)
    if view.now >= flight.deadline:
        return _live(view, flight)
    return Decision(replace(view.policy.status, in_flight=flight), requeue_after=_until(view, flight.deadline))


def _watch_unhealthy(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus]:
    since = flight.unhealthy_since or times.moment(view.now)
    if view.now - since >= UNHEALTHY_FOR:
        why = _fault(deployment, "Unhealthy")
        return _return(view, flight, deployment, why, f"pods fail after the rollout: {_progress(deployment)}")
    status = replace(view.policy.status, in_flight=replace(flight, unhealthy_since=since))
    return Decision(status, requeue_after=_until(view, times.later(since, UNHEALTHY_FOR)))


def _rolling_something_else(flight: InFlight, deployment: DeploymentView) -> bool:
    """Tell whether somebody's change of the template (an image from Git, say) is being rolled out."""
    underway = (
        not is_observed(deployment) or deployment.updated < deployment.replicas or deployment.total > deployment.updated
    )
    return deployment.template_hash != flight.template_hash and underway


def _watch_other_rollout(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus]:
    """Kubernetes judges the other rollout by its own deadline; we wait for its end, though not for ever."""
    given_up = times.later(flight.deadline, rollout_patience(deployment))
    if view.now >= given_up:
        return _return(
            view, flight, deployment, "ConcurrentChange", f"another rollout does not end: {_progress(deployment)}"
        )
    return Decision(view.policy.status, requeue_after=_until(view, given_up))


def _live(view: PolicyView, flight: InFlight) -> Decision[PolicyStatus]:
    """The watch passed (row D16)."""
    status = memory.gone_live(view.policy.status, flight, view.now)
    message = f"'{flight.to.version}' is live"
    landed = memory.landed(status, flight, "Succeeded", "WatchPassed", message, view.now)
    return Decision(landed, (Emit("Normal", "Promoted", f"promotion '{flight.promotion}': {message}"),))


def _return(
    view: PolicyView, flight: InFlight, deployment: DeploymentView, why: str, message: str
) -> Decision[PolicyStatus]:
    """Go back (rows D11, D14, D15): the intent first, then the old keys with the next epoch."""
    if deployment.template_hash != flight.template_hash:
        why, message = "ConcurrentChange", f"{message}; the pod template was changed by somebody else meanwhile"
    status, now = view.policy.status, times.moment(view.now)
    returning = replace(
        flight,
        phase="Returning",
        why=why,
        message=message[: limits.CONSUMED_MESSAGE],
        epoch=_next_epoch(status, deployment),
        generation=deployment.generation,
        phase_since=now,
        deadline=times.later(now, rollout_patience(deployment)),
        unhealthy_since=None,
    )
    back = "no version" if flight.back is None else f"'{flight.back.version}'"
    event = Emit("Warning", "Returning", f"promotion '{flight.promotion}': {why}, back to {back}: {message}")
    return Decision(
        replace(status, in_flight=returning, epoch=returning.epoch),
        (*_apply_if_ours(view, deployment, flight.back, returning.epoch), event),
        _until(view, returning.deadline),
    )


def _returning(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus]:
    back, overdue = keys_of(flight.back), view.now >= flight.deadline
    # Even where the old keys never left, one apply moves the resourceVersion, so that no apply of the flight
    # that is still on its way from a paused process can commit after the flight.
    fenced = epoch_of(deployment) >= flight.epoch
    if deployment.keys == back and (fenced or overdue):
        if flight.back is None or deployment.settled:
            return _returned(view, flight)
    elif not fenced and (deployment.keys.absent or deployment.keys in (back, keys_of(flight.to))):
        return _apply_again(view, flight, deployment, flight.back)
    else:
        return _foreign_on_return(view, flight, deployment)
    if overdue and any(promotion.spec.release_hold for promotion in candidates(view.policy, view.promotions)):
        return _returned(view, flight, "; the old version was not available again when the next promotion took over")
    return Decision(view.policy.status, requeue_after=_until(view, flight.deadline))


def _returned(view: PolicyView, flight: InFlight, remark: str = "") -> Decision[PolicyStatus]:
    """The old version serves again, or nothing does as before (row D18)."""
    status = _back_on_record(view.policy.status, flight, view.now)
    message = f"{flight.message}{remark}"
    landed = memory.landed(status, flight, "RolledBack", flight.why, message, view.now)
    text = f"promotion '{flight.promotion}' to '{flight.to.version}' was rolled back: {flight.why}: {message}"
    held = memory.held(landed, FIELD_MANAGER, "RolledBack", text, view.now)
    return Decision(held, (Emit("Warning", "RolledBack", text),))


def _back_on_record(status: PolicyStatus, flight: InFlight, now: datetime) -> PolicyStatus:
    live, back = status.live, flight.back
    if back is None:
        status = replace(status, live=None)
    else:
        same = live is not None and live.sha256 == back.sha256
        since = live.since if live is not None and same else now
        status = replace(status, live=memory.as_live(back, flight.epoch, since))
    return _quarantined_if_at_fault(status, flight, now)


def _quarantined_if_at_fault(status: PolicyStatus, flight: InFlight, now: datetime) -> PolicyStatus:
    return memory.quarantined(status, flight.to, flight.why, now) if flight.why in FAULTS else status


def _foreign(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus]:
    """Somebody else wrote or removed the keys in mid-flight (row D12): hands off."""
    message = f"{_seen(deployment)} while '{flight.to.version}' was {flight.phase.lower()}"
    return _give_up(view, flight, "ConcurrentWriter", message, written_by_others(deployment))


def _foreign_on_return(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus]:
    message = f"{_seen(deployment)} on the way back from '{flight.to.version}' ({flight.why})"
    return _give_up(view, flight, "ConcurrentWriter", message, written_by_others(deployment))


def _give_up(view: PolicyView, flight: InFlight, reason: str, message: str, by: str | None) -> Decision[PolicyStatus]:
    status = _quarantined_if_at_fault(view.policy.status, flight, view.now)
    landed = memory.landed(status, flight, "Failed", reason, message, view.now)
    held = memory.held(landed, by or "unknown", "External", message, view.now)
    return Decision(held, (Emit("Warning", reason, f"promotion '{flight.promotion}': {message}"),))


def _seen(deployment: DeploymentView) -> str:
    what = "the keys were removed" if deployment.keys.absent else f"the keys were set to '{deployment.keys.version}'"
    return f"{what} by {manager_in_words(deployment)}"


def _target_gone(view: PolicyView, flight: InFlight) -> Decision[PolicyStatus]:
    """The Deployment is gone or another one of that name (row D13); live stays as recorded, and row D5 follows."""
    status = view.policy.status
    message = f"Deployment '{view.policy.spec.deployment}' was deleted or replaced while {flight.phase.lower()}"
    if flight.phase == "Returning":
        return _returned(view, flight, f"; {message}")
    landed = memory.landed(status, flight, "Failed", "TargetGone", message, view.now)
    return Decision(landed, (Emit("Warning", "TargetGone", f"promotion '{flight.promotion}': {message}"),))


def _deadline_reported(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> bool:
    settled_in = view.now - flight.phase_since >= REPORT_LAG
    return deployment.deadline_exceeded and is_observed(deployment) and settled_in


def _next_look(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> datetime:
    lagging = times.later(flight.phase_since, REPORT_LAG)
    again = lagging if deployment.deadline_exceeded and view.now < lagging else times.later(view.now, LOOK_AGAIN)
    return min(again, flight.deadline)


def _next_epoch(status: PolicyStatus, deployment: DeploymentView) -> int:
    return max(status.epoch, epoch_of(deployment)) + 1


def _apply(deployment: DeploymentView, version: LiveVersion | None, epoch: int) -> ApplyKeys:
    keys = keys_of(version)
    return ApplyKeys(
        deployment.name, deployment.uid, deployment.resource_version, keys.version, keys.uri, keys.sha256, epoch
    )


def _apply_if_ours(
    view: PolicyView, deployment: DeploymentView, version: LiveVersion | None, epoch: int
) -> tuple[Action, ...]:
    """Nothing, where the Deployment has left our care (row D1); the flight then waits, and says so."""
    return () if forbids_writes(deployment_problem(view)) else (_apply(deployment, version, epoch),)


def _progress(deployment: DeploymentView | None) -> str:
    if deployment is None:
        return "the Deployment is gone"
    paused = ", paused" if deployment.paused else ""
    trouble = "" if deployment.trouble is None else f"; {deployment.trouble.reason}: {deployment.trouble.message}"
    replicas = f"{deployment.updated} of {deployment.replicas} replicas updated, {deployment.available} available"
    return f"{replicas}{paused}{trouble}"


def _until(view: PolicyView, moment: datetime) -> timedelta | None:
    """Return the time until `moment`, at least one second; None when it has passed and events decide."""
    left = moment - view.now
    return max(left, timedelta(seconds=1)) if left > timedelta(0) else None
