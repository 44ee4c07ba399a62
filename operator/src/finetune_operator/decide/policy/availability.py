"""Whether what is live is served by as many pods as are wanted, while no promotion is in flight (rows D45, D46)."""

from ...api.meta import ConditionStatus, find
from ..views import DeploymentView, PolicyView

Fact = tuple[ConditionStatus, str, str]


def available(view: PolicyView) -> Fact:
    """Return status, reason and message of the condition `Available`, for the status in `view`."""
    status, deployment = view.policy.status, view.deployment
    if status.in_flight is not None:
        return "Unknown", status.in_flight.phase, f"promotion '{status.in_flight.promotion}' is in flight"
    if view.rivals:
        return "Unknown", "DeploymentTaken", ""
    if status.live is None:
        return "Unknown", "NothingLive", "nothing is live yet"
    if deployment is None or deployment.deleting:
        return "Unknown", "DeploymentNotFound", ""
    if deployment.replicas == 0:
        return "Unknown", "NoReplicas", f"Deployment '{deployment.name}' is scaled to zero"
    if deployment.available >= deployment.replicas:
        return "True", "ReplicasAvailable", ""
    return _short(view, deployment)


def _short(view: PolicyView, deployment: DeploymentView) -> Fact:
    """Return why pods are missing. While nothing ails them (they are starting), the last word stands.

    Of the same trouble the first message stays: the words of pods have counts, names and times in them, and every
    other one would be a write.
    """
    before, trouble = find(view.policy.status.conditions, "Available"), deployment.trouble
    said = None if before is None or before.status == "Unknown" else (before.status, before.reason, before.message)
    if trouble is None:
        return said or ("Unknown", "Starting", f"pods of Deployment '{deployment.name}' are starting")
    if said is not None and said[:2] == ("False", trouble.reason):
        return said
    text = f"Deployment '{deployment.name}' has fewer pods available than it wants; {trouble.reason}: {trouble.message}"
    return "False", trouble.reason, text
