"""What every step of a flight shares: epochs, applies of the keys, and how the Deployment stands, in words."""

from datetime import datetime, timedelta

from ...api.policy_status import InFlight, LiveVersion, PolicyStatus
from .. import times
from ..decision import Action, ApplyKeys
from ..deployment import counted_epoch, deployment_problem, forbids_writes, keys_of, rollout_patience
from ..views import OBSERVED_STEP, DeploymentView, PolicyView, ServedKeys
from .flight_clock import clock


def next_epoch(status: PolicyStatus, deployment: DeploymentView) -> int:
    """Return an epoch above all that were given out and all that the Deployment shows and can be counted on from."""
    return max(status.epoch, counted_epoch(deployment)) + 1


def as_met(status: PolicyStatus, flight: InFlight, keys: ServedKeys) -> bool:
    """Tell whether the keys are as the flight met them: none, those of live, or those that it goes back to.

    These two differ where live is no way back, or a promotion chose another one.
    """
    return keys.absent or keys in (keys_of(flight.back), keys_of(status.live))


def apply_keys(deployment: DeploymentView, version: LiveVersion | None, epoch: int) -> ApplyKeys:
    """Return the apply of a version's keys; None releases them."""
    keys = keys_of(version)
    return ApplyKeys(
        deployment.name, deployment.uid, deployment.resource_version, keys.version, keys.uri, keys.sha256, epoch
    )


def apply_if_ours(
    view: PolicyView, deployment: DeploymentView, version: LiveVersion | None, epoch: int
) -> tuple[Action, ...]:
    """Return the apply; nothing, where the Deployment has left our care (row D1): the flight waits, and says so."""
    return () if forbids_writes(deployment_problem(view)) else (apply_keys(deployment, version, epoch),)


def given_up_at(flight: InFlight, deployment: DeploymentView | None) -> datetime:
    """Return our own deadline for the rollout that is under way: later, where it has more pods to make by now."""
    if deployment is None:
        return flight.deadline
    return max(flight.deadline, times.later(flight.phase_since, rollout_patience(deployment)))


def progress(deployment: DeploymentView | None) -> str:
    """Return how far a rollout is, and what ails its pods."""
    if deployment is None:
        return "the Deployment is gone"
    paused = ", paused" if deployment.paused else ""
    replicas = f"{deployment.updated} of {deployment.replicas} replicas updated, {deployment.available} available"
    return f"{replicas}{paused}{ailing(deployment)}"


def ailing(deployment: DeploymentView | None) -> str:
    """Return what ails the pods, to be put behind a sentence; empty where nothing is known to."""
    trouble = None if deployment is None else deployment.trouble
    return "" if trouble is None else f"; {trouble.reason}: {trouble.message}"


def until(view: PolicyView, flight: InFlight, moment: datetime) -> timedelta | None:
    """Return when to look again on the way to `moment` of the flight's clock; None when it has passed.

    After that events decide. What nobody looks at does not count, so it is looked at all the way.
    """
    left = moment - clock(view, flight)
    return min(max(left, timedelta(seconds=1)), OBSERVED_STEP) if left > timedelta(0) else None
