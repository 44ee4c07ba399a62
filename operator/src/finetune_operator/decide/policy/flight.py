"""The flight of one promotion: take-off, Flipping, and who sees to the rest (rows D7, D9 to D11, D33).

A status with the flight in it is always written before the keys it speaks of, under the policy's resourceVersion;
every apply carries the Deployment's uid and resourceVersion, and an epoch above the one that the Deployment shows.
So a decision from a stale view can repeat an apply that is due, but never undo a later one.
"""

from dataclasses import replace as with_changes
from datetime import timedelta
from typing import Final, assert_never

from msgspec.structs import replace

from ...api.meta import find
from ...api.policy_status import InFlight, LiveVersion, PolicyStatus
from ...api.promotion import Promotion
from .. import limits, times
from ..decision import Action, Decision, Emit
from ..deployment import epoch_of, is_rolled_out, keys_of, rollout_patience, written_by_others
from ..promotion.eligibility import takes_back
from ..promotion.proposal import Clear
from ..promotion.release import lifts, newest_of
from ..promotion.waiting import identity
from ..refusal import REMEDIES
from ..rejections import barred, in_words
from ..text import cut
from ..views import OBSERVED_STEP, DeploymentView, PolicyView, flight_clock
from . import memory
from .blame import fault_of, surroundings
from .brake import brake
from .flight_clock import begun, clock, counted_if_due, in_all
from .returning import (
    REJECTED,
    apply_again,
    foreign,
    led_elsewhere,
    over_nothing,
    returning,
    target_gone,
    turn_back,
    way_back,
)
from .watching import REPORT_LAG, deadline_reported, watch, watching
from .writes import apply_keys, as_met, given_up_at, next_epoch, progress, until

NEVER_APPLIED: Final = timedelta(hours=1)
"""A flight whose keys could not be applied for so long is given up."""


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
    lifted = status.hold is not None and lifts(promotion, status.hold)
    bare = status.live is None or deployment.keys != keys_of(status.live)
    flight = InFlight(
        takes_back=takes_back(view.policy, promotion, clear.version),
        reason=cut(promotion.spec.reason, limits.MARK),
        promotion=name,
        promotion_uid=promotion.metadata.uid,
        spec_hash=spec_hash,
        overrules=promotion.overrules,
        lifted_hold=lifted,
        phase="Flipping",
        to=to,
        bare=bare,
        back=way_back(view, to, bare=bare),
        epoch=next_epoch(status, deployment),
        deployment_uid=deployment.uid,
        template_hash=deployment.template_hash,
        generation=deployment.generation,
        started_at=now,
        newest_promotion=newest_of(view.policy, view.promotions),
        phase_since=now,
        deadline=times.later(now, rollout_patience(deployment)),
        unsettled=not deployment.settled and status.live is not None,
        replicas=max(deployment.available, 0),
    )
    status, lifting = _overruled(view, promotion, to)
    flying = replace(memory.released(status) if lifted else status, in_flight=flight, epoch=flight.epoch)
    applied: tuple[Action, ...] = ()
    if deployment.keys != keys_of(to):
        applied = (apply_keys(deployment, to, flight.epoch),)
    event = Emit("Normal", "Flipping", f"promotion '{name}': flipping to '{to.version}'")
    return Decision(flying, (*applied, *lifting, event), OBSERVED_STEP)


def _overruled(view: PolicyView, promotion: Promotion, to: LiveVersion) -> tuple[PolicyStatus, tuple[Emit, ...]]:
    """Lift the quarantine that the promotion overrules (row D34), and say so."""
    status, despite = view.policy.status, promotion.spec.despite
    entry = status.quarantine_of(to.sha256)
    if despite is None or entry is None or "Quarantined" not in despite.checks:
        return status, ()
    name = promotion.metadata.name
    text = f"promotion '{name}' lifts the quarantine of '{to.version}' ({entry.reason}): {despite.reason}"
    return memory.lifted(status, to.sha256, name, despite.reason, view.now), (
        Emit("Warning", "QuarantineLifted", text),
    )


def advance(view: PolicyView, flight: InFlight) -> Decision[PolicyStatus]:
    """Return the next step of the flight; a promotion that ends it comes before what it would do by itself."""
    deployment = view.deployment
    flight = led_elsewhere(view, flight, deployment)
    if deployment is None or deployment.deleting or deployment.uid != flight.deployment_uid:
        return target_gone(view, flight)
    if flight.phase == "Flipping":
        flight = over_nothing(view, flight, deployment)
        view = _flown_by(view, flight)
    decision = brake(view, flight, deployment) or _advance(view, flight, deployment)
    after = decision.status.in_flight
    if after is None or flight_clock(after) != flight_clock(flight):
        return decision
    return with_changes(decision, status=replace(decision.status, in_flight=counted_if_due(view, after)))


def _flown_by(view: PolicyView, flight: InFlight) -> PolicyView:
    """Return the view with that flight in it: what a promotion may end it by goes by where it leads."""
    policy = view.policy
    if policy.status.in_flight == flight:
        return view
    return with_changes(view, policy=replace(policy, status=replace(policy.status, in_flight=flight)))


def _advance(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus]:
    match flight.phase:
        case "Flipping":
            return _flipping(view, flight, deployment)
        case "Watching":
            return watching(view, flight, deployment)
        case "Returning":
            return returning(view, flight, deployment)
        case _:
            assert_never(flight.phase)


def _flipping(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus]:
    if deployment.keys != keys_of(flight.to):
        if not _unapplied(view.policy.status, flight, deployment):
            return foreign(view, flight, deployment)
        return _rejected_meanwhile(view, flight, deployment) or _apply_late(view, flight, deployment)
    if is_rolled_out(deployment) or _as_far_as_it_was(flight, deployment):
        return watch(view, flight, deployment)
    reported = deadline_reported(view, flight, deployment)
    if not view.read_anew or not (reported or clock(view, flight) >= given_up_at(flight, deployment)):
        return Decision(view.policy.status, requeue_after=_next_look(view, flight, deployment))
    fault = fault_of(view, flight, deployment)
    why = surroundings(deployment, "RolloutTimedOut") if fault is None else "RolloutFailed"
    message = f"{'no progress' if reported else 'not complete in time'}: {progress(deployment)}"
    return turn_back(view, flight, deployment, why, message, fault)


def _as_far_as_it_was(flight: InFlight, deployment: DeploymentView) -> bool:
    """Tell whether a flight that began unsettled is as far as the Deployment was then: the rest finds no node (D33)."""
    return (
        flight.unsettled
        and 0 < flight.replicas <= deployment.available
        and deployment.observed_generation >= deployment.generation
        and deployment.updated == deployment.replicas == deployment.total
        and deployment.trouble is not None
        and deployment.trouble.reason == "Unschedulable"
    )


def _unapplied(status: PolicyStatus, flight: InFlight, deployment: DeploymentView) -> bool:
    """Tell whether the Deployment is still as the flight met it, so that a crash came before the apply.

    After `rollout undo` it looks the same but for who wrote the keys.
    """
    untouched = as_met(status, flight, deployment.keys)
    return untouched and epoch_of(deployment) < flight.epoch and written_by_others(deployment) is None


def _rejected_meanwhile(
    view: PolicyView, flight: InFlight, deployment: DeploymentView
) -> Decision[PolicyStatus] | None:
    """Give up a flight that a person rejected before its keys were there (row D119); nothing of it serves yet."""
    no = barred(flight.to.sha256, view.versions, view.policy.status)
    if no is None:
        return None
    message = f"{in_words(no, flight.to.version)}, and its keys were not on the Deployment yet"
    return turn_back(view, flight, deployment, REJECTED, message)


def _apply_late(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus]:
    """Apply the keys after a crash or a conflict (row D9); time counts from when they can be applied."""
    if clock(view, flight) >= flight.deadline:
        if in_all(view, flight) >= NEVER_APPLIED:
            why = f"the keys could not be applied to the Deployment{_refused(view)}"
            return turn_back(view, flight, deployment, "RolloutTimedOut", why)
        flight = begun(view, flight)
        flight = replace(flight, deadline=times.later(flight.phase_since, rollout_patience(deployment)))
    return apply_again(view, flight, deployment, flight.to)


def _refused(view: PolicyView) -> str:
    """Return the API server's words, where it refuses the apply: `Ready` has them since the last try."""
    ready = find(view.policy.status.conditions, "Ready")
    if ready is None or ready.status != "False" or ready.reason not in REMEDIES:
        return ""
    return f": {ready.message.partition('; tried again by itself')[0]}"


def _next_look(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> timedelta:
    lagging = times.later(flight.phase_since, REPORT_LAG)
    ahead = [given_up_at(flight, deployment), *((lagging,) if deployment.deadline_exceeded else ())]
    looks = (until(view, flight, moment) for moment in ahead)
    return times.soonest(*looks) or OBSERVED_STEP
