"""Whether a promotion may act now: a chain of pure checks, each with its reason and remedy."""

from typing import Final

from ...api.model_version import ModelVersion
from ..deployment import keys_of, letting_go, manager_in_words, written_by_others
from .eligibility import eligible, not_taken_back, was_live
from .proposal import Check, CheckContext, Clear, Obstacle, Proposal, Refuse, Wait, quoted


def judge(proposal: Proposal) -> Clear | Obstacle:
    """Return the first obstacle in the order of docs/develop/state-machines.md, or that the way is clear."""
    version = _find_version(proposal)
    if not isinstance(version, ModelVersion):
        return version
    context = CheckContext(proposal.promotion, proposal.policy, version, proposal.deployment, proposal.problem)
    for check in CHECKS:
        obstacle = check(context)
        if obstacle is not None:
            return obstacle
    if proposal.deployment is None:
        # Unreachable behind _target; a total function does not lean on that.
        return Wait("TargetNotReady", "the Deployment is not there")
    return Clear(version, proposal.deployment)


def _find_version(proposal: Proposal) -> ModelVersion | Wait:
    wanted, model = proposal.promotion.spec.version, proposal.policy.spec.model
    named = [
        version
        for version in proposal.versions
        if version.spec.version == wanted and version.metadata.deletion_timestamp is None
    ]
    ours = [version for version in named if version.spec.model == model]
    if len(ours) == 1:
        return ours[0]
    if ours:
        names = ", ".join(sorted(version.metadata.name for version in ours))
        return Wait("VersionAmbiguous", f"model '{model}' has '{wanted}' in several ModelVersions ({names}); keep one")
    if named:
        # Waits, for the version of the right model may still be on its way; every model has its base_v1.
        return Wait(
            "VersionOfOtherModel",
            f"ModelVersion '{named[0].metadata.name}' with version '{wanted}' is of model '{named[0].spec.model}', "
            f"the policy serves '{model}'",
        )
    return Wait(
        "VersionNotFound",
        f"no ModelVersion of model '{model}' has version '{wanted}'; import it, or create a promotion of another one",
    )


def _not_quarantined(context: CheckContext) -> Obstacle | None:
    sha256 = context.version.spec.artifact.sha256
    entry = context.policy.status.quarantine_of(sha256)
    if entry is None:
        return None
    return Refuse(
        "Failed",
        "Quarantined",
        f"'{context.version.spec.version}' failed in production here ({entry.reason}, "
        f"{entry.since:%Y-%m-%d %H:%M} UTC); promote another version",
    )


def _not_live_already(context: CheckContext) -> Obstacle | None:
    live, deployment = context.policy.status.live, context.deployment
    spec = context.version.spec
    same = live is not None and (live.version, live.sha256) == (spec.version, spec.artifact.sha256)
    replaced = deployment is not None and deployment.keys != keys_of(live)
    if not same or replaced:
        return None
    return Refuse("Succeeded", "AlreadyLive", f"'{spec.version}' is what is live")


def _from_is_live(context: CheckContext) -> Obstacle | None:
    status = context.policy.status
    wanted, actual = context.promotion.spec.from_version, None if status.live is None else status.live.version
    if wanted == actual:
        return None
    if not status.remembers and _not_held(context) is not None:
        return None  # what is live is not known yet (D39, D40): it waits for that below
    return Refuse(
        "Superseded",
        "FromIsNotLive",
        f"spec.from is {quoted(wanted)}, but live is {quoted(actual)}; "
        "to promote all the same, create a new promotion with what is live in spec.from",
    )


def _not_held(context: CheckContext) -> Obstacle | None:
    hold = context.policy.status.hold
    if hold is None or context.promotion.spec.release_hold:
        return None
    return Wait(
        "Held",
        f"the policy is held ({hold.reason}: {hold.message}); a promotion with releaseHold: true lifts the hold",
    )


def _not_suspended(context: CheckContext) -> Obstacle | None:
    if not context.policy.spec.suspend:
        return None
    return Wait("Suspended", "the policy is suspended; set its spec.suspend to false")


def _target_ready(context: CheckContext) -> Obstacle | None:
    if context.problem is not None:
        return Wait("TargetNotReady", context.problem.message)
    if context.deployment is None:
        return Wait("TargetNotReady", f"Deployment '{context.policy.spec.deployment}' is not there")
    return None


def _not_paused(context: CheckContext) -> Obstacle | None:
    deployment = context.deployment
    if deployment is None or not deployment.paused:
        return None
    return Wait(
        "Paused", f"Deployment '{deployment.name}' is paused; run: kubectl rollout resume deployment {deployment.name}"
    )


def _has_replicas(context: CheckContext) -> Obstacle | None:
    deployment = context.deployment
    if deployment is None or deployment.replicas > 0:
        return None
    return Wait("NoReplicas", f"Deployment '{deployment.name}' is scaled to zero, so no pod could prove the version")


def _settled(context: CheckContext) -> Obstacle | None:
    """Something live must stand firm first, so that trouble afterwards is the flip's; going back need not wait."""
    deployment = context.deployment
    if (
        deployment is None
        or deployment.settled
        or context.policy.status.live is None
        or was_live(context.policy, context.version)
    ):
        return None
    return Wait(
        "NotSettled",
        f"Deployment '{deployment.name}' is in the middle of a rollout ({deployment.updated} updated, "
        f"{deployment.available} available of {deployment.replicas}); the promotion goes on when it is complete",
    )


def _can_surge(context: CheckContext) -> Obstacle | None:
    deployment = context.deployment
    if deployment is None or deployment.can_surge or context.policy.spec.rollout.capacity == "AllowDowntime":
        return None
    return Wait(
        "NoSurge",
        f"Deployment '{deployment.name}' cannot start a new pod before an old one stops; allow a surge in its "
        "strategy, or set the policy's spec.rollout.capacity to AllowDowntime",
    )


def _keys_are_ours(context: CheckContext) -> Obstacle | None:
    deployment = context.deployment
    if deployment is None or deployment.keys.absent or context.promotion.spec.release_hold:
        return None
    recorded = deployment.keys == keys_of(context.policy.status.live)
    if recorded and written_by_others(deployment) is None:
        return None
    return Wait(
        "ForeignKeys",
        f"the operator's keys on Deployment '{deployment.name}' belong to {manager_in_words(deployment)}; "
        f"take them out of its manifest and let go of them: {letting_go(deployment.name)}",
    )


CHECKS: Final[tuple[Check, ...]] = (
    _not_quarantined,
    not_taken_back,
    _not_live_already,
    _from_is_live,
    eligible,
    _not_held,
    _not_suspended,
    _target_ready,
    _not_paused,
    _has_replicas,
    _settled,
    _can_surge,
    _keys_are_ours,
)
"""In this order: what makes a promotion senseless for ever first, then what it merely waits for."""
