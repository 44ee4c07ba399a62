"""The inference Deployment as a target: what keeps it from being flipped, and how a rollout on it stands."""

from datetime import timedelta
from typing import Final

from ..api.names import (
    FIELD_MANAGER,
    MANAGED_LABEL,
)
from ..api.policy_status import LiveVersion
from .text import plain
from .views import DeploymentView, PolicyView, Problem, ServedKeys

NOBODY: Final = "before-first-apply"
"""What an API server calls the manager of fields of which it is not known any more who set them."""

NO_DEADLINE: Final = 2**31 - 1
"""What Kubernetes takes for `progressDeadlineSeconds: never`."""

HIGHEST_EPOCH: Final = 2**52
"""An epoch beyond is nobody's count of flips but a foreign text, and would not fit into a status."""

HIGHEST_FOREIGN_EPOCH: Final = 2**51
"""From here on nobody else's epoch is counted on from: ours would be beyond all that are read before long."""

DEFAULT_PROGRESS_DEADLINE: Final = 600
LONGEST_PROGRESS_DEADLINE: Final = 86_400
SLACK: Final = 60
"""Seconds that Kubernetes gets on top to report a missed progress deadline before we call it ourselves."""


def deployment_problem(view: PolicyView) -> Problem | None:
    """Return why the policy's Deployment must not be written to (rows D1), or None."""
    name, namespace = view.policy.spec.deployment, view.policy.metadata.namespace
    deployment = view.deployment
    if deployment is None or deployment.deleting:
        return Problem(
            "DeploymentNotFound",
            f"Deployment '{name}' is not there; create it, or correct spec.deployment in a new policy",
        )
    if view.rivals:
        return Problem(
            "DeploymentTaken",
            f"Deployment '{name}' already belongs to the older policy '{view.rivals[0]}'; "
            "one policy per Deployment: delete one of the two policies",
        )
    if not deployment.managed:
        return Problem(
            "DeploymentNotManaged",
            f"Deployment '{name}' has not opted in; run: kubectl label deployment {name} -n {namespace} "
            f"{MANAGED_LABEL}=true",
        )
    if deployment.null_annotations:
        return Problem(
            "AnnotationsNull",
            f"Deployment '{name}' was applied with a null map at spec.template.metadata.annotations, which would "
            "sweep the operator's keys at the next apply; leave the map out, or give it one annotation",
        )
    return None


def forbids_writes(deployment: Problem | None) -> bool:
    """Tell whether even the end of a flight must not write: the Deployment is not ours to touch.

    A null annotations map is no such reason: a bad version must be taken back even if the map may be swept later.
    """
    return deployment is not None and deployment.reason != "AnnotationsNull"


def keys_of(version: LiveVersion | None) -> ServedKeys:
    """Return the keys by which a Deployment serves `version`; all absent for None."""
    if version is None:
        return ServedKeys()
    return ServedKeys(version.version, version.uri, version.sha256)


def written_by_others(deployment: DeploymentView) -> str | None:
    """Return the foreign field manager that owns one of our keys, if there is one."""
    return deployment.keys_manager if deployment.keys_manager not in (None, FIELD_MANAGER) else None


def manager_in_words(deployment: DeploymentView) -> str:
    """Return who last wrote our keys, for messages."""
    foreign = written_by_others(deployment)
    return f"field manager '{plain(foreign)}'" if foreign else "an unknown writer"


def owner_in_words(manager: str, deployment: str) -> str:
    """Return who owns a field of ours by an apply that was refused (row D20), and where that is nobody (row D240)."""
    said = f"field manager '{plain(manager)}' owns a field of the operator on Deployment '{deployment}'"
    if manager != NOBODY:
        return said
    return f"{said}, which is nobody: its metadata.managedFields were emptied, by admission or by who edited it"


def epoch_of(deployment: DeploymentView) -> int:
    """Return the number of the last flip that the Deployment shows; 0 where it shows none that can be."""
    return deployment.epoch if deployment.epoch is not None and 0 <= deployment.epoch <= HIGHEST_EPOCH else 0


def counted_epoch(deployment: DeploymentView) -> int:
    """Return the epoch from which the next flip counts on; 0 where the Deployment shows none to count on from."""
    epoch = epoch_of(deployment)
    return epoch if epoch <= HIGHEST_FOREIGN_EPOCH else 0


def is_observed(deployment: DeploymentView) -> bool:
    """Tell whether the Deployment's status speaks of its current spec."""
    return deployment.observed_generation >= deployment.generation


def is_rolled_out(deployment: DeploymentView) -> bool:
    """Tell whether the current template is proven: complete, and by at least one replica."""
    return deployment.settled and deployment.replicas > 0


def time_to_load(deployment: DeploymentView) -> timedelta:
    """Return how long a server may run without being ready before that is its own fault: half of its deadline.

    The deadline also has to do for the node, the image and the fetch.
    """
    return timedelta(seconds=_progress_deadline(deployment) / 2)


def _progress_deadline(deployment: DeploymentView) -> int:
    seconds = deployment.progress_deadline_seconds
    if seconds >= NO_DEADLINE or seconds <= 0:
        return DEFAULT_PROGRESS_DEADLINE
    return min(seconds, LONGEST_PROGRESS_DEADLINE)


def rollout_patience(deployment: DeploymentView) -> timedelta:
    """Return how long one rollout may take before we call it ourselves.

    Kubernetes counts progressDeadlineSeconds from the last sign of progress, so a rollout of n replicas may
    rightly take n times as long. This is the last resort where Kubernetes says nothing: paused, scaled to zero,
    no deadline set, controller away.
    """
    steps = min(max(deployment.replicas, 1), 1000)
    late = min(max(deployment.min_ready_seconds, 0), LONGEST_PROGRESS_DEADLINE)
    # A ready pod counts as available, which is progress, only minReadySeconds later.
    one = max(_progress_deadline(deployment), late + DEFAULT_PROGRESS_DEADLINE if late else 0)
    return timedelta(seconds=one * steps + SLACK)
