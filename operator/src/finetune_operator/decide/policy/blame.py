"""Who is to blame for a rollout that did not end well: the version, only on evidence; else its surroundings (D28)."""

from datetime import datetime
from typing import Final

from ...api.policy import InFlight, PolicyStatus
from ..deployment import keys_of, time_to_load
from ..times import stamp
from ..views import DeploymentView, Fault, PolicyView
from . import memory
from .flight_clock import in_all

FAULTS: Final = frozenset(("RolloutFailed", "Unhealthy"))
"""Reasons to return that are the version's own, and quarantine it."""


def fault_of(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Fault | None:
    """Return what the version may be blamed for; a server that still loads has half of the deadline for that.

    It must have been looked at for so long, too: when its container began is said by another clock than ours.
    """
    fault = deployment.fault
    if fault is None or fault.kind != "NotReady":
        return fault
    loads = time_to_load(deployment)
    begun = fault.since is not None and view.now - fault.since >= loads
    return fault if begun and in_all(view, flight) >= loads else None


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
