"""The way back of a flight: Returning, and every other end than the good one (rows D11 to D13, D17 to D19)."""

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from ...api.policy_status import Brake, InFlight, LiveVersion, PolicyStatus, PromotionOutcome
from .. import limits, times
from ..commands import overruling, promoting, resuming
from ..decision import Decision, Emit
from ..deployment import epoch_of, keys_of, manager_in_words, rollout_patience, written_by_others
from ..promotion.eligibility import is_proven
from ..promotion.proposal import quoted
from ..promotion.release import is_about, newest_of
from ..promotion.waiting import candidates
from ..rejections import barred, rejection_of
from ..rejections import in_words as rejected_in_words
from ..text import cut, plain
from ..views import OBSERVED_STEP, DeploymentView, Fault, PolicyView
from . import holds, memory
from .blame import evidence, quarantined_if_at_fault
from .flight_clock import begun, clock
from .instead import instead
from .writes import apply_if_ours, as_met, given_up_at, next_epoch, progress, until

TAKEN_BACK: Final = "TakenBack"
"""Why a flight returns that a promotion ended."""

REJECTED: Final = "Rejected"
"""Why a flight returns whose version a person rejected before its keys were on the Deployment."""


def turn_back(
    view: PolicyView, flight: InFlight, deployment: DeploymentView, why: str, message: str, fault: Fault | None = None
) -> Decision[PolicyStatus]:
    """Go back (rows D11, D14, D15, D30): the intent first, then the old keys with the next epoch."""
    if deployment.template_hash != flight.template_hash and why not in (TAKEN_BACK, REJECTED):
        why, message = "ConcurrentChange", f"{message}; the pod template was changed by somebody else meanwhile"
    status, patience = view.policy.status, rollout_patience(deployment)
    if why != TAKEN_BACK:
        flight = replace(flight, back=_way_back(view, flight, deployment))
    returning = replace(
        begun(view, flight),
        phase="Returning",
        why=why,
        message=message[: limits.CAUSE],
        newest_promotion=newest_of(view.policy, view.promotions),
        evidence="" if fault is None else cut(evidence(fault), limits.EVIDENCE),
        epoch=next_epoch(status, deployment),
        generation=deployment.generation,
        deadline=times.later(times.moment(view.now), patience),
        unhealthy_since=None,
        missing_since=None,
    )
    back = quoted(flight.back_version)
    event = Emit("Warning", "Returning", f"promotion '{flight.promotion}': {why}, back to {back}: {message}")
    return Decision(
        replace(status, in_flight=returning, epoch=returning.epoch),
        (*apply_if_ours(view, deployment, flight.back, returning.epoch), event),
        min(patience, OBSERVED_STEP),
    )


def _way_back(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> LiveVersion | None:
    """Return what it goes back to by itself; live, whatever is known of it, if that never left: it serves (D230).

    What was said of versions since take-off counts (D79); nothing takes the last way back of what serves away.
    """
    live = view.policy.status.live
    if live is not None and deployment.keys == keys_of(live) != keys_of(flight.to):
        return memory.as_version(live)
    return way_back_or(view, flight, deployment, flight.back)


def way_back_or(
    view: PolicyView, flight: InFlight, deployment: DeploymentView, last: LiveVersion | None
) -> LiveVersion | None:
    """Return what a flight goes back to by itself, else `last`; not that where nothing was served, but None.

    Then it is no going back, and what was merely found or taken back is not put live for it (D263).
    """
    bare = is_bare(flight, deployment)
    back = way_back(view, flight.to, bare=bare)
    return back if bare else back or last


def way_back(view: PolicyView, to: LiveVersion, *, bare: bool) -> LiveVersion | None:
    """Return what a flight goes back to by itself (D44).

    `bare`: what is live did not serve when it began, or nothing does by now. Then it is no going back, but something is
    put live anew: only what would be put back without a flight (D5), or what was good, and nothing speaks against
    (D252, D266).
    """
    status = view.policy.status
    back, live = memory.way_back(status, to, view.versions), status.live
    if back is None or not bare or memory.is_spotless(status, back, view.versions):
        return back
    if live is None or keys_of(live) == keys_of(to) or not is_proven(view.policy, view.versions):
        return None
    return memory.as_version(live)


def is_bare(flight: InFlight, deployment: DeploymentView | None) -> bool:
    """Tell whether what is live on record did not serve when the flight began, or nothing serves by now."""
    return flight.bare or (deployment is not None and deployment.keys.absent)


def over_nothing(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> InFlight:
    """Return the flight as one over nothing, where what it met was removed before its own keys came (row D267)."""
    if flight.bare or not deployment.keys.absent:
        return flight
    return replace(flight, bare=True, back=way_back(view, flight.to, bare=True))


def _without_its_noes(view: PolicyView, flight: InFlight, sha256: str) -> LiveVersion | None:
    """Return what it would go back to by itself if nobody had rejected those bytes."""
    status = view.policy.status
    status = replace(status, rejected=tuple(no for no in status.rejected if no.sha256 != sha256))
    versions = tuple(version for version in view.versions if version.spec.artifact.sha256 != sha256)
    return memory.way_back(status, flight.to, versions)


def apply_again(
    view: PolicyView, flight: InFlight, deployment: DeploymentView, version: LiveVersion | None
) -> Decision[PolicyStatus]:
    """Repeat the apply that is due, as the same one only where it provably was not committed."""
    status = view.policy.status
    known = status.in_flight
    if deployment.generation != flight.generation or (known is not None and known.back != flight.back):
        flight = replace(flight, epoch=next_epoch(status, deployment), generation=deployment.generation)
    status = replace(status, in_flight=flight, epoch=max(status.epoch, flight.epoch))
    return Decision(status, apply_if_ours(view, deployment, version, flight.epoch), OBSERVED_STEP)


def led_elsewhere(view: PolicyView, flight: InFlight, deployment: DeploymentView | None) -> InFlight:
    """Return the flight with another way back, where a person rejected what it was to return to meanwhile (row D116).

    Where nothing was served, and nothing else may be put live, it leads to nothing (D263). Not where it is on the
    Deployment already: it serves, or is about to, and a no takes nothing down.
    """
    status, left = view.policy.status, flight.back
    if flight.phase != "Returning" or left is None or (deployment is not None and deployment.keys == keys_of(left)):
        return flight
    no, bare = barred(left.sha256, view.versions, status), is_bare(flight, deployment)
    back = way_back(view, flight.to, bare=bare)
    leads = bare if back is None else rejection_of(back.sha256, view.versions, status) is None
    if no is None or not leads:
        return _left_all_the_same(view, flight, deployment, back)
    message, brake = flight.message, flight.brake
    if brake is not None:
        goes, there = f"goes back to {quoted(left.version)}", quoted(None if back is None else back.version)
        led = f"goes back to {there}, for '{left.version}': {rejected_in_words(no, left.version)}"
        # As in D113: its word is about what it names.
        message, brake = cut(message.replace(goes, led), limits.CAUSE), replace(brake, corrects=False)
    return replace(flight, back=back, message=message, brake=brake)


def _left_all_the_same(
    view: PolicyView, flight: InFlight, deployment: DeploymentView | None, back: LiveVersion | None
) -> InFlight:
    """Return the flight with the way back that it has by itself, where what was to stay left the Deployment (row D251).

    An apply of the flight came late, or somebody removed the keys: to write the old ones is a going back by now.
    """
    left = flight.back
    stays = flight.brake is None and left is not None and keys_of(left) == keys_of(view.policy.status.live)
    if deployment is None or deployment.uid != flight.deployment_uid or not stays or left == back:
        return flight
    if not (deployment.keys.absent or deployment.keys == keys_of(flight.to)):
        return flight  # somebody else's keys: D12
    message = cut(f"{flight.message}; {quoted(flight.back_version)} had left the Deployment by then", limits.CAUSE)
    return replace(flight, back=back, message=message)


def returning(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus]:
    """Return the next step of the way back (rows D17 to D19)."""
    back, overdue = keys_of(flight.back), clock(view, flight) >= given_up_at(flight, deployment)
    # Even where the old keys never left, one apply moves the resourceVersion, so that no apply of the flight
    # that is still on its way from a paused process can commit after the flight.
    fenced = epoch_of(deployment) >= flight.epoch
    if deployment.keys == back and (fenced or overdue):
        if flight.back is None or deployment.settled or _left_as_it_was(flight, deployment):
            return _returned(view, flight)
    elif not fenced and _is_due(view, flight, deployment):
        return apply_again(view, flight, deployment, flight.back)
    else:
        return foreign(view, flight, deployment)
    waiting = candidates(view.policy, view.promotions)
    if overdue and any(
        p.spec.release_hold and is_about(p, flight.phase_since, flight.newest_promotion) for p in waiting
    ):
        return _returned(view, flight, "; the old version was not available again when the next promotion took over")
    return Decision(view.policy.status, requeue_after=until(view, flight, given_up_at(flight, deployment)))


def _left_as_it_was(flight: InFlight, deployment: DeploymentView) -> bool:
    """Tell whether neither the flight nor its end changed a pod: what was not whole before is not waited for (D199)."""
    return flight.why == REJECTED and deployment.generation == flight.generation


def _is_due(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> bool:
    """Tell whether the old keys are to be applied yet: a crash came before that, or before the flight's own apply."""
    if as_met(view.policy.status, flight, deployment.keys):
        return deployment.keys.absent or deployment.keys == keys_of(flight.back) or not written_by_others(deployment)
    return deployment.keys == keys_of(flight.to)


def stuck(view: PolicyView) -> str | None:
    """Return why a return cannot be completed although its deadline passed (row D19), or None."""
    flight = view.policy.status.in_flight
    if flight is None or flight.phase != "Returning":
        return None
    if clock(view, flight) < given_up_at(flight, view.deployment):
        return None
    back = quoted(flight.back_version)
    return (
        f"the way back to {back} is not complete: {progress(view.deployment)}; {_where_to_look(view)}"
        f"{_no_more_waiting(view, flight)}"
    )


def _where_to_look(view: PolicyView) -> str:
    name = view.policy.spec.deployment
    if view.deployment is not None and view.deployment.paused:
        return f"Deployment '{name}' is paused, run: {resuming(view.policy)}"
    return f"look at the pods of Deployment '{name}'"


def _no_more_waiting(view: PolicyView, flight: InFlight) -> str:
    """Return how a person ends the waiting; the promotion is judged then, with `back` as what is live."""
    if flight.back is None:
        return ""
    status = view.policy.status
    other = next(
        (v for v in status.last_good if v.sha256 not in (flight.back.sha256, flight.to.sha256)
         and not overruling(status, v.sha256) and rejection_of(v.sha256, view.versions, status) is None),
        flight.back,
    )  # fmt: skip
    against = overruling(status, other.sha256)
    command = promoting(view.policy, other.version, flight.back.version, release=True, despite=against)
    return f"; a promotion with releaseHold: true ends the waiting, this one makes '{other.version}' live: {command}"


def _returned(view: PolicyView, flight: InFlight, remark: str = "") -> Decision[PolicyStatus]:
    """The old version serves again, or nothing does as before (row D18)."""
    status = _back_on_record(view.policy.status, flight, view.now)
    if flight.brake is not None:
        left = view.policy.status.live if _goes_further(view, flight, flight.brake) else None
        status = memory.braked(status, flight, flight.brake, left=left, now=view.now)
    remark += _not_gone_back_to(view, flight)
    status = landed(status, flight, "RolledBack", flight.why, f"{flight.message}{remark}", view.now)
    text = (
        f"promotion '{flight.promotion}' to '{flight.to.version}' was rolled back: "
        f"{flight.why}: {flight.message}{remark}"
    )
    event = Emit("Warning", "RolledBack", text)
    if flight.brake is not None and flight.brake.release_hold:
        return Decision(memory.released(status), (event,))
    if flight.why == REJECTED and not flight.lifted_hold:
        # Nothing of it ever served, and there is nothing to mend; but a hold that it lifted was lifted for it (D198).
        return Decision(status, (event,))
    held, events = holds.rolled_back(view, status, flight, text)
    return Decision(held, events or (event,))


def _goes_further(view: PolicyView, flight: InFlight, brake: Brake) -> bool:
    """Tell whether it goes back to another version than the flight would have; to correct a taking back leaves none.

    A no to it that came on the way says nothing of what the flight would have done when the brake was pulled. Where it
    leaves nothing to go back to (D263), nobody left what was live.
    """
    if brake.corrects or flight.back is None:
        return False
    return flight.back != _without_its_noes(view, flight, flight.back.sha256)


def _not_gone_back_to(view: PolicyView, flight: InFlight) -> str:
    """Return why what was live is not what the flight went back to, where a person's no is why (D79)."""
    status, back = view.policy.status, flight.back
    live = status.live
    if live is None or back is None or live.sha256 in (back.sha256, flight.to.sha256) or flight.brake is not None:
        return ""
    no = rejection_of(live.sha256, view.versions, status)
    words = "" if no is None else rejected_in_words(no, live.version)
    return f"; it went back to '{back.version}', for '{live.version}' was live, but {words}" if words else ""


def _back_on_record(status: PolicyStatus, flight: InFlight, now: datetime) -> PolicyStatus:
    live, back = status.live, flight.back
    if back is None:
        status = replace(status, live=None)
    else:
        same = live is not None and live.sha256 == back.sha256
        since = live.since if live is not None and same else now
        status = replace(status, live=memory.as_live(back, flight.epoch, since))
    return quarantined_if_at_fault(status, flight, now)


def landed(
    status: PolicyStatus, flight: InFlight, outcome: PromotionOutcome, reason: str, message: str, now: datetime
) -> PolicyStatus:
    """Return `status` with the flight ended and its promotion consumed; that is the braking one, if one took over.

    What a brake ended was consumed when it came; going back is what the braking promotion asked for.
    """
    status, brake = replace(status, in_flight=None), flight.brake
    if brake is None:
        done = (flight.promotion, flight.spec_hash, flight.promotion_uid)
        return memory.consumed(status, done, outcome, reason, message, now, overrules=flight.overrules)
    done = (brake.promotion, brake.spec_hash, brake.promotion_uid)
    if outcome == "RolledBack":
        back = quoted(flight.back_version)
        # What a brake was led to instead (D113), its message says behind where it goes.
        instead = flight.message.partition(f"goes back to {back}")[2]
        outcome, reason, message = "Succeeded", "FlightEnded", f"went back to {back}{instead}"
    return memory.consumed(status, done, outcome, reason, message, now, overrules=brake.overrules)


def foreign(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus]:
    """Somebody else wrote or removed the keys in mid-flight (row D12): hands off."""
    set_to = f"the keys were set to '{plain(deployment.keys.version or '')}'"
    what = "the keys were removed" if deployment.keys.absent else set_to
    way = f"on the way back from '{flight.to.version}' ({flight.why})"
    moment = way if flight.phase == "Returning" else f"while '{flight.to.version}' was {flight.phase.lower()}"
    message = f"{what} by {manager_in_words(deployment)} {moment}"
    status = quarantined_if_at_fault(view.policy.status, flight, view.now)
    if deployment.keys != keys_of(status.live):  # else it serves, by their will: a no takes nothing down
        status, message = instead(view, status, flight, message)
    status = landed(status, flight, "Failed", "ConcurrentWriter", message, view.now)
    held, events = holds.external(view, status, deployment)
    event = Emit("Warning", "ConcurrentWriter", f"promotion '{flight.promotion}': {message}")
    return Decision(held, (event, *events))


def target_gone(view: PolicyView, flight: InFlight) -> Decision[PolicyStatus]:
    """The Deployment is gone or another one of that name (row D13); row D5 puts back what is recorded as live."""
    message = f"Deployment '{view.policy.spec.deployment}' was deleted or replaced while {flight.phase.lower()}"
    if flight.phase == "Returning":
        return _returned(view, flight, f"; {message}")
    status, message = instead(view, view.policy.status, flight, message)
    status, text = landed(status, flight, "Failed", "TargetGone", message, view.now), f"promotion '{flight.promotion}'"
    event = Emit("Warning", "TargetGone", f"{text}: {message}")
    if not flight.lifted_hold:
        return Decision(status, (event,))
    held, events = holds.rolled_back(view, status, flight, f"{text} to '{flight.to.version}' failed: {message}")
    return Decision(held, (event, *events))
