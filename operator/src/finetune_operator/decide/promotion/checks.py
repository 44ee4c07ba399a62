"""Whether a promotion may act now: a chain of pure checks, each with its reason and remedy."""

from typing import Final

from ...api.model_version import ModelVersion
from ..deployment import keys_of, letting_go, manager_in_words, written_by_others
from .eligibility import eligible, was_live
from .proposal import Case, Check, Clear, Obstacle, Proposal, Refuse, Wait, quoted


def judge(proposal: Proposal) -> Clear | Obstacle:
    """Return the first obstacle in the order of docs/state-machines.md, or that the way is clear."""
    version = _find_version(proposal)
    if not isinstance(version, ModelVersion):
        return version
    case = Case(proposal.promotion, proposal.policy, version, proposal.deployment, proposal.problem)
    for check in CHECKS:
        obstacle = check(case)
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


def _not_quarantined(case: Case) -> Obstacle | None:
    sha256 = case.version.spec.artifact.sha256
    entry = next((e for e in case.policy.status.quarantined if e.sha256 == sha256), None)
    if entry is None:
        return None
    return Refuse(
        "Failed",
        "Quarantined",
        f"'{case.version.spec.version}' failed in production here ({entry.reason}, {entry.since:%Y-%m-%d %H:%M} UTC); "
        "promote another version",
    )


def _not_live_already(case: Case) -> Obstacle | None:
    live, found = case.policy.status.live, case.deployment
    spec = case.version.spec
    same = live is not None and (live.version, live.sha256) == (spec.version, spec.artifact.sha256)
    replaced = found is not None and found.keys != keys_of(live)
    if not same or replaced:
        return None
    return Refuse("Succeeded", "AlreadyLive", f"'{spec.version}' is what is live")


def _from_is_live(case: Case) -> Obstacle | None:
    live = case.policy.status.live
    wanted, actual = case.promotion.spec.from_version, None if live is None else live.version
    if wanted == actual:
        return None
    return Refuse(
        "Superseded",
        "FromIsNotLive",
        f"spec.from is {quoted(wanted)}, but live is {quoted(actual)}; "
        "to promote all the same, create a new promotion with what is live in spec.from",
    )


def _not_held(case: Case) -> Obstacle | None:
    hold = case.policy.status.hold
    if hold is None or case.promotion.spec.release_hold:
        return None
    return Wait(
        "Held",
        f"the policy is held ({hold.reason}: {hold.message}); a promotion with releaseHold: true lifts the hold",
    )


def _not_suspended(case: Case) -> Obstacle | None:
    if not case.policy.spec.suspend:
        return None
    return Wait("Suspended", "the policy is suspended; set its spec.suspend to false")


def _target_ready(case: Case) -> Obstacle | None:
    if case.problem is not None:
        return Wait("TargetNotReady", case.problem.message)
    if case.deployment is None:
        return Wait("TargetNotReady", f"Deployment '{case.policy.spec.deployment}' is not there")
    return None


def _not_paused(case: Case) -> Obstacle | None:
    found = case.deployment
    if found is None or not found.paused:
        return None
    return Wait("Paused", f"Deployment '{found.name}' is paused; run: kubectl rollout resume deployment {found.name}")


def _has_replicas(case: Case) -> Obstacle | None:
    found = case.deployment
    if found is None or found.replicas > 0:
        return None
    return Wait("NoReplicas", f"Deployment '{found.name}' is scaled to zero, so no pod could prove the version")


def _settled(case: Case) -> Obstacle | None:
    """Something live must stand firm first, so that trouble afterwards is the flip's; going back need not wait."""
    found = case.deployment
    if found is None or found.settled or case.policy.status.live is None or was_live(case.policy, case.version):
        return None
    return Wait(
        "NotSettled",
        f"Deployment '{found.name}' is in the middle of a rollout ({found.updated} updated, {found.available} "
        f"available of {found.replicas}); the promotion goes on when it is complete",
    )


def _can_surge(case: Case) -> Obstacle | None:
    found = case.deployment
    if found is None or found.can_surge or case.policy.spec.rollout.capacity == "AllowDowntime":
        return None
    return Wait(
        "NoSurge",
        f"Deployment '{found.name}' cannot start a new pod before an old one stops; allow a surge in its strategy, "
        "or set the policy's spec.rollout.capacity to AllowDowntime",
    )


def _keys_are_ours(case: Case) -> Obstacle | None:
    found = case.deployment
    if found is None or found.keys.absent or case.promotion.spec.release_hold:
        return None
    recorded = found.keys == keys_of(case.policy.status.live)
    if recorded and written_by_others(found) is None:
        return None
    return Wait(
        "ForeignKeys",
        f"the operator's keys on Deployment '{found.name}' belong to {manager_in_words(found)}; "
        f"take them out of its manifest and let go of them: {letting_go(found.name)}",
    )


CHECKS: Final[tuple[Check, ...]] = (
    _not_quarantined,
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
