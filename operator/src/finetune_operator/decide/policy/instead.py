"""What counts as live, and is put back, where what was is served no more and a person rejected it (D115 to D118)."""

from collections.abc import Iterable

from msgspec.structs import replace

from ...api.policy_status import InFlight, LiveVersion, PolicyStatus
from ..decision import Decision, Emit
from ..deployment import keys_of
from ..promotion.eligibility import is_proven
from ..rejections import barred, in_words, rejection_of
from ..views import PolicyView, ServedKeys
from . import holds, memory


def instead(view: PolicyView, status: PolicyStatus, flight: InFlight, message: str) -> tuple[PolicyStatus, str]:
    """Return what is live after a flight that nothing led back, and serves no more, with `message` (row D115).

    It is what was live, so that lost keys are put back, and also once others let go of theirs. Where a person rejected
    that (D110) it is what the flight would go back to, or else what it went to, if that was good before, as far as
    nothing speaks against it either: to serve anew is no going on.
    """
    forward = flight.phase != "Returning"
    chosen = None if forward else flight.back
    ahead = flight.to if forward and status.is_good(flight.to.sha256) else None
    others = (chosen, memory.way_back(status, flight.to, view.versions), ahead)
    led, why = _led_elsewhere(view, status, others, flight.epoch)
    return led, f"{message}; {why}" if why else message


def put_aside(view: PolicyView, status: PolicyStatus) -> Decision[PolicyStatus]:
    """Return `status`, which knows what people rejected by now, after a no to live where nothing is served (row D117).

    What serves goes on, and is put back when its keys are lost later. Where they are not there when the no is said, or
    there is no Deployment, what comes back is a choice. What an adopted version may do is told by row D65.
    """
    live, hold, before = status.live, status.hold, view.policy.status
    if live is None or status.in_flight is not None or view.rivals or (hold is not None and hold.reason == "Adopted"):
        return Decision(status)
    said_now = before.rejected_of(live.sha256) is None and status.rejected_of(live.sha256) is not None
    if not said_now or (view.deployment is not None and not view.deployment.keys.absent):
        return Decision(status)
    led, why = _led_elsewhere(view, status, (memory.way_back(status, live, view.versions),), live.epoch)
    if not why:
        return Decision(status)
    if hold is not None:
        policy = replace(view.policy, status=led)
        message = "; ".join((holds.cause_of(hold), why, *holds.lifting(policy)))
        led = memory.held(led, hold.by, hold.reason, message, view.now)
    return Decision(led, (Emit("Warning", "LiveRejected", why),))


def given_up(view: PolicyView, status: PolicyStatus, there: ServedKeys) -> tuple[PolicyStatus, str]:
    """Return what is live where somebody else's keys are on the Deployment, and why it is not what was (row D118).

    What a person rejected, before or since, serves no more: to put it back once they let go of their keys is no going
    on, also where the Deployment is out of our care meanwhile. What was adopted is told by row D65.
    """
    live = status.live
    if live is None or there == keys_of(live) or view.rivals or not status.is_good(live.sha256):
        return status, ""
    # Whoever put another good one there, by `rollout undo` say, has chosen.
    chosen = next((good for good in status.last_good if keys_of(good) == there), None)
    return _led_elsewhere(view, status, (chosen, memory.way_back(status, live, view.versions)), live.epoch)


def _led_elsewhere(
    view: PolicyView, status: PolicyStatus, others: Iterable[LiveVersion | None], epoch: int
) -> tuple[PolicyStatus, str]:
    """Return the status with the first of the others live that is proven and not rejected, and why; else as it is."""
    live = status.live
    if live is None or (no := barred(live.sha256, view.versions, status)) is None:
        return status, ""
    for other in filter(None, others):
        led = replace(status, live=memory.as_live(other, epoch, view.now))
        if _is_proven(view, led, other):
            words = in_words(no, live.version)
            return led, f"'{other.version}' counts as live, for '{live.version}' was, but {words}"
    return status, ""


def _is_proven(view: PolicyView, status: PolicyStatus, version: LiveVersion) -> bool:
    no = rejection_of(version.sha256, view.versions, status)
    return no is None and is_proven(replace(view.policy, status=status), view.versions)
