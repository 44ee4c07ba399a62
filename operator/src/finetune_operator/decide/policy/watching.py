"""The watch over a version that is rolled out: what means back, what is waited for, when it is live (D14 to D16)."""

from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from ...api.policy_status import InFlight, PolicyStatus
from .. import times
from ..decision import Decision, Emit
from ..deployment import is_observed, keys_of, rollout_patience
from ..views import OBSERVED_STEP, DeploymentView, PolicyView
from . import memory
from .blame import fault_of, surroundings
from .by_series import series_in_words, worse
from .flight_clock import begun, clock, counted, flown
from .returning import foreign, landed, turn_back
from .writes import progress, until

UNHEALTHY_FOR: Final = timedelta(seconds=30)
"""A container may fail for so long while watching (row D14)."""

CRASHES: Final = 3
"""A server that restarted so often is sick, however fast it is back; what it did before it was ready is no fault."""

WORSE: Final = "WorseInProduction"
"""Why a flight returns whose version's own series are worse than their lines. It blames nobody for good: what came in
may have changed, and series are others' word."""

REPORT_LAG: Final = timedelta(seconds=10)
"""A missed deadline reported earlier than this after a change is that of the rollout before."""


def watch(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus]:
    """The rollout is complete (row D10): begin to watch, for as long as the policy says now."""
    seconds = timedelta(seconds=max(view.policy.spec.watch.seconds, 0))
    replicas = min(deployment.replicas, deployment.available)
    watching = replace(begun(view, flight), phase="Watching", replicas=replicas)
    watching = replace(watching, deadline=times.later(watching.phase_since, seconds))
    text = f"'{flight.to.version}' is rolled out; watching it for {seconds.total_seconds():.0f} s"
    status = replace(view.policy.status, in_flight=watching)
    return Decision(status, (Emit("Normal", "Watching", text),), min(max(seconds, timedelta(seconds=1)), OBSERVED_STEP))


def watching(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus]:
    """Return the next step of the watch."""
    if deployment.keys != keys_of(flight.to):
        return foreign(view, flight, deployment)
    if deployment.template_hash != flight.template_hash:
        if view.read_anew and deadline_reported(view, flight, deployment):
            why = f"a rollout made no progress: {progress(deployment)}"
            return turn_back(view, flight, deployment, "ConcurrentChange", why)
        if _is_underway(deployment):
            return _watch_other_rollout(view, flight, deployment)
    if deployment.replicas == 0:
        return _watch_nothing(view, flight)
    flight = replace(flight, idle=False) if flight.idle else flight
    # An autoscaler's new pods need time to start, so only the replicas that were there count.
    if deployment.available < min(deployment.replicas, flight.replicas):
        return _watch_missing(view, flight, deployment)
    flight = _whole_again(flight, clock(view, flight))
    bad = worse(view, flight) if view.read_anew else None
    if bad is not None:
        return turn_back(view, flight, deployment, WORSE, f"worse than its lines in the last half hour: {bad}")
    if view.read_anew and clock(view, flight) >= flight.deadline:
        return _live(view, flight)
    again = until(view, flight, flight.deadline) or OBSERVED_STEP
    return Decision(replace(view.policy.status, in_flight=flight), requeue_after=again)


def deadline_reported(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> bool:
    """Tell whether Kubernetes says of this very rollout that it made no progress."""
    settled_in = flown(view, flight) >= REPORT_LAG
    return deployment.deadline_exceeded and is_observed(deployment) and settled_in


def _watch_missing(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus]:
    """A container that fails is sickness (D14); a pod that is on its way is waited for like a rollout (D29)."""
    now = clock(view, flight)
    fault = fault_of(view, flight, deployment)
    beside = deployment.trouble is not None and deployment.trouble.reason == "SidecarFails"
    missing = flight.missing_since or times.moment(now)
    sick = (flight.unhealthy_since or times.moment(now)) if fault is not None or beside else None
    if not view.read_anew:
        return Decision(view.policy.status, requeue_after=OBSERVED_STEP)
    if (fault is not None and fault.restarts >= CRASHES) or (sick is not None and now - sick >= UNHEALTHY_FOR):
        why = "Unhealthy" if fault is not None else "SidecarFails"
        message = f"pods fail after the rollout: {progress(deployment)}"
        return turn_back(view, flight, deployment, why, message, fault)
    given_up = times.later(missing, rollout_patience(deployment))
    if now >= given_up:
        message = f"pods did not come back: {progress(deployment)}"
        return turn_back(view, flight, deployment, surroundings(deployment, "ReplicasMissing"), message)
    flight = replace(flight, missing_since=missing, unhealthy_since=sick)
    judged = given_up if sick is None else times.later(sick, UNHEALTHY_FOR)
    return Decision(replace(view.policy.status, in_flight=flight), requeue_after=until(view, flight, judged))


def _watch_nothing(view: PolicyView, flight: InFlight) -> Decision[PolicyStatus]:
    """Scaled to zero, by its owner's will: nothing serves, so no time of the watch goes by (row D60)."""
    if flight.idle:
        return Decision(view.policy.status)
    idle = replace(_whole_again(counted(view, flight), clock(view, flight)), idle=True)
    text = f"the Deployment is scaled to zero: the watch over '{flight.to.version}' stands until it has replicas"
    return Decision(replace(view.policy.status, in_flight=idle), (Emit("Normal", "WatchStands", text),))


def _whole_again(flight: InFlight, now: datetime) -> InFlight:
    """Return the flight with the watch longer by the time in which replicas were missing, up to `now` of its clock."""
    since = flight.missing_since or flight.unhealthy_since
    if since is None:
        return flight
    gap = max(times.moment(now) - since, timedelta(0))
    return replace(flight, deadline=times.later(flight.deadline, gap), missing_since=None, unhealthy_since=None)


def _is_underway(deployment: DeploymentView) -> bool:
    """Tell whether somebody's change of the template (an image from Git, say) is being rolled out."""
    return (
        not is_observed(deployment) or deployment.updated < deployment.replicas or deployment.total > deployment.updated
    )


def _watch_other_rollout(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus]:
    """Kubernetes judges the other rollout by its own deadline; we wait for its end, though not for ever."""
    given_up = times.later(flight.deadline, rollout_patience(deployment))
    if view.read_anew and clock(view, flight) >= given_up:
        return turn_back(
            view, flight, deployment, "ConcurrentChange", f"another rollout does not end: {progress(deployment)}"
        )
    return Decision(view.policy.status, requeue_after=until(view, flight, given_up) or OBSERVED_STEP)


def _live(view: PolicyView, flight: InFlight) -> Decision[PolicyStatus]:
    """The watch passed (row D16); it has served since the watch began."""
    status = memory.gone_live(view.policy.status, flight, flight.phase_since)
    message = f"'{flight.to.version}' went live{series_in_words(view)}"
    status = landed(status, flight, "Succeeded", "WatchPassed", message, view.now)
    return Decision(status, (Emit("Normal", "Promoted", f"promotion '{flight.promotion}': {message}"),))
