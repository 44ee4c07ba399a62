"""Who is to blame for a rollout that did not end well: the version, only on evidence; else its surroundings (D28)."""

from datetime import datetime, timedelta
from typing import Final

from ...api.policy_status import InFlight, PolicyStatus
from ..deployment import keys_of, time_to_load
from ..times import stamp
from ..views import OBSERVED_STEP, DeploymentView, Fault, PolicyView
from . import memory
from .flight_clock import in_all

FAULTS: Final = frozenset(("RolloutFailed", "Unhealthy"))
"""Reasons to return that are the version's own, and quarantine it."""


def fault_of(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Fault | None:
    """Return what the version may be blamed for; a server that still loads has half of the deadline for that.

    When its container began is said by another clock than ours, and counts as far as it was looked at since.
    """
    fault = deployment.fault
    if fault is None or fault.kind != "NotReady":
        return fault
    loads = time_to_load(deployment)
    return fault if min(_runs_for(view, fault), in_all(view, flight)) >= loads else None


def _runs_for(view: PolicyView, fault: Fault) -> timedelta:
    """Return how long the container runs, by its node's clock: as it was observed, and one step more at most."""
    if fault.since is None:
        return timedelta()
    says, observed = view.now - fault.since, view.fault_observed
    return says if observed is None else max(observed, min(says, observed + OBSERVED_STEP))


def surroundings(deployment: DeploymentView, otherwise: str) -> str:
    """Return the reason under which a rollout failed that no version is to blame for."""
    return otherwise if deployment.trouble is None else deployment.trouble.reason


def evidence(fault: Fault) -> str:
    """Return what a quarantine stands on."""
    since = "" if fault.since is None else f"{stamp(fault.since)}: "
    return f"{since}{fault.message}"


def quarantined_if_at_fault(status: PolicyStatus, flight: InFlight, now: datetime) -> PolicyStatus:
    """Return `status` with the flight's version quarantined, where it is to blame.

    What began unsettled blames nobody: trouble of before cannot be told from trouble of the flip. Nor does a flight to
    bytes that are good here under another name: its place is at fault, and a quarantine would take the good one away.
    """
    if flight.why not in FAULTS or flight.unsettled or _is_good_elsewhere(status, flight):
        return status
    return memory.quarantined(status, flight.to, flight.why, now, flight.evidence)


def _is_good_elsewhere(status: PolicyStatus, flight: InFlight) -> bool:
    known = (*((flight.back,) if flight.back is not None else ()), *status.last_good)
    return any(good.sha256 == flight.to.sha256 and keys_of(good) != keys_of(flight.to) for good in known)
