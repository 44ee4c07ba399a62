"""Whether a promotion may act now: a chain of pure checks, each with its reason and remedy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ...api.meta import find, is_true
from ...api.model_version import ModelVersion
from ...api.names import sha256_of
from ...api.policy import Outcome, Policy
from ...api.promotion import FINAL_PROMOTION_PHASES, Promotion, PromotionSpec
from ...api.value import canonical_json
from .. import deployment as target
from ..views import DeploymentView, Problem


@dataclass(frozen=True, slots=True)
class Proposal:
    """A promotion with all that its checks look at; `problem` is why the Deployment cannot be flipped at all."""

    promotion: Promotion
    policy: Policy
    versions: tuple[ModelVersion, ...]
    deployment: DeploymentView | None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A proposal whose version is found."""

    promotion: Promotion
    policy: Policy
    version: ModelVersion
    deployment: DeploymentView | None
    problem: Problem | None


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now; the promotion stays Pending."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Never; the promotion is consumed with this outcome."""

    outcome: Outcome
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Clear:
    """All checks passed: this version may be flipped to on this Deployment."""

    version: ModelVersion
    deployment: DeploymentView


Obstacle = Wait | Refuse
Check = Callable[[Case], Obstacle | None]


def spec_hash(spec: PromotionSpec) -> str:
    """Return 16 hex digits of the SHA-256 of the spec's canonical JSON: what `consumed` knows it by."""
    return sha256_of(canonical_json(spec))[:16]


def identity(promotion: Promotion) -> tuple[str, str]:
    """Return name and spec hash, by which a promotion is remembered beyond its object's life."""
    return promotion.metadata.name, spec_hash(promotion.spec)


def candidates(policy: Policy, promotions: tuple[Promotion, ...]) -> tuple[Promotion, ...]:
    """Return the policy's promotions that have not acted yet, oldest first; the one in flight is none of them.

    A promotion whose own status is final has acted even if `consumed`, which is bounded, forgot it.
    """
    done = {(entry.name, entry.spec_hash) for entry in policy.status.consumed}
    if policy.status.in_flight is not None:
        done.add((policy.status.in_flight.promotion, policy.status.in_flight.spec_hash))
    waiting = [
        promotion
        for promotion in promotions
        if promotion.spec.policy == policy.metadata.name
        and promotion.metadata.deletion_timestamp is None
        and promotion.status.phase not in FINAL_PROMOTION_PHASES
        and identity(promotion) not in done
    ]
    return tuple(sorted(waiting, key=_age))


def _age(promotion: Promotion) -> tuple[bool, float, str]:
    created = promotion.metadata.creation_timestamp
    return created is None, 0.0 if created is None else created.timestamp(), promotion.metadata.name


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
    replaced = found is not None and found.keys != target.keys_of(live)
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
        f"spec.from is {_quoted(wanted)}, but live is {_quoted(actual)}; "
        "to promote all the same, create a new promotion with what is live in spec.from",
    )


def _quoted(version: str | None) -> str:
    return "nothing" if version is None else f"'{version}'"


def was_live(policy: Policy, version: ModelVersion) -> bool:
    """Tell whether the version has served before: by this policy's memory, or by the version's own record.

    The record outlives a re-created policy, but another policy's approval is none here: it counts only for bases
    and for fine-tunes that passed by themselves.
    """
    live = () if policy.status.live is None else (policy.status.live,)
    if any(entry.sha256 == version.spec.artifact.sha256 for entry in (*live, *policy.status.last_good)):
        return True
    served = version.status.live_since is not None or version.status.last_live is not None
    return served and passed_by_itself(version)


def passed_by_itself(version: ModelVersion) -> bool:
    """Tell whether the object alone says that its version may serve: a verified base, or all gates passed."""
    if version.spec.type == "Base":
        return is_true(version.status.conditions, "Verified")
    return version.spec.evidence is not None and version.spec.evidence.verdict == "Pass"


def _eligible(case: Case) -> Obstacle | None:
    if case.version.spec.classes != case.policy.spec.classes:
        return _ineligible(case.version, "its classes differ from the policy's spec.classes")
    if case.version.spec.type == "Base":
        return _base_eligible(case.policy, case.version)
    return _tuned_eligible(case)


def _base_eligible(policy: Policy, version: ModelVersion) -> Obstacle | None:
    name = version.spec.version
    if not is_true(version.status.conditions, "Verified"):
        verified = find(version.status.conditions, "Verified")
        if verified is None or verified.status == "Unknown":
            return Wait("NotVerified", f"'{name}' is not verified yet; the promotion goes on when it is")
        return _ineligible(version, f"its verification failed ({verified.reason}: {verified.message}); import it anew")
    if policy.status.live is None or was_live(policy, version):
        return None
    return _ineligible(
        version, "a base goes live first, or again; while another version is live, promote a fine-tune of this base"
    )


def _tuned_eligible(case: Case) -> Obstacle | None:
    version = case.version
    evidence = version.spec.evidence
    if evidence is None:
        return _ineligible(version, "it carries no evidence; only a FineTuneRun can make a promotable fine-tune")
    if evidence.verdict in ("Reject", "Error"):
        return _ineligible(version, f"its verdict is {evidence.verdict}; that is never promoted")
    if was_live(case.policy, version):
        return None
    approval = case.promotion.spec.approval
    if evidence.verdict == "Review" and (approval is None or approval.evidence != evidence.digest):
        return _ineligible(version, f"its verdict is Review; spec.approval.evidence must name {evidence.digest}")
    return _evidence_current(case.policy, version, evidence.baseline)


def _evidence_current(policy: Policy, version: ModelVersion, baseline: str | None) -> Obstacle | None:
    """A verdict says something only against what was live when it was made (the base, where none is named)."""
    live = policy.status.live
    measured = baseline if baseline is not None else version.spec.base
    if live is None or measured in (live.version, live.sha256):
        return None
    return _ineligible(
        version, f"its evidence was measured against {_quoted(measured)}, but live is '{live.version}'; start a new run"
    )


def _ineligible(version: ModelVersion, why: str) -> Refuse:
    return Refuse("Failed", "NotEligible", f"'{version.spec.version}' cannot go live: {why}")


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
    recorded = found.keys == target.keys_of(case.policy.status.live)
    if recorded and target.written_by_others(found) is None:
        return None
    return Wait(
        "ForeignKeys",
        f"the operator's keys on Deployment '{found.name}' belong to {target.manager_in_words(found)}; "
        f"take them out of its manifest and let go of them: {target.letting_go(found.name)}",
    )


CHECKS: Final[tuple[Check, ...]] = (
    _not_quarantined,
    _not_live_already,
    _from_is_live,
    _eligible,
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
