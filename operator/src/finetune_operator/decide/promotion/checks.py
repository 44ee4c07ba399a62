"""Whether a promotion may act now: a chain of pure checks, each with its reason and remedy."""

from typing import Final

from ...api.meta import Artifact, FileReference, ObjectMeta
from ...api.model_version import ModelVersion, VersionSpec
from ...api.names import base_version, series_of
from ...api.policy import Policy
from ...api.policy_status import LiveVersion
from ...api.promotion import Overruled, Promotion
from ...api.value import canonical_json, complete
from ..commands import letting_go, overruling, promoting, resuming, scaling
from ..deployment import keys_of, manager_in_words, written_by_others
from ..serving import SERVING_DIFFERS, serving_difference
from ..text import plain
from ..views import ServedKeys
from .eligibility import (
    eligible,
    is_proven,
    never_promoted,
    not_taken_back,
    nothing_comes,
    rejected_by_a_person,
    was_live,
)
from .proposal import VERSION_NOT_FOUND, Check, CheckContext, Clear, Obstacle, Proposal, Refuse, Wait, quoted
from .release import lifts


def judge(proposal: Proposal) -> Clear | Obstacle:
    """Return the first obstacle in the order of docs/develop/state-machines.md, or that the way is clear."""
    named = _find_version(proposal)
    version: ModelVersion | Obstacle = named
    if isinstance(named, Wait) or _has_only_the_name(named, proposal):
        version = (
            _stays_without_its_object(proposal) or _remembered(proposal, named) or _rejected(proposal, named) or named
        )
    if not isinstance(version, ModelVersion):
        return version
    context = CheckContext(
        proposal.promotion,
        proposal.policy,
        version,
        proposal.deployment,
        proposal.problem,
        proposal.versions,
        is_remembered=version is not named,
    )
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
    way = "import it, or create a promotion of another one"
    if wanted != base_version(series_of(wanted) or 0):
        name, namespace = proposal.promotion.metadata.name, proposal.policy.metadata.namespace
        way = (
            "if it was deleted, restore it from a backup, or let a new run train one; to wait for it no longer: "
            f"kubectl delete modelpromotion {name} -n {namespace}"
        )
    return Wait(VERSION_NOT_FOUND, f"no ModelVersion of model '{model}' has version '{wanted}'; {way}")


def _has_only_the_name(named: ModelVersion, proposal: Proposal) -> bool:
    """Tell whether other bytes served here under that name, and those of the object never did.

    A base that is imported anew under its name could not go live beside what is, and what is meant is what served.
    """
    policy = proposal.policy
    is_known = any(entry.version == named.spec.version for entry in _known(proposal))
    return is_known and policy.status.live is not None and not was_live(policy, named)


def _known(proposal: Proposal) -> tuple[LiveVersion, ...]:
    """Return what was good, and what is live and serves: to stay with that puts nothing live, proven or not."""
    status, deployment = proposal.policy.status, proposal.deployment
    live = status.live
    serves = live is not None and deployment is not None and deployment.keys == keys_of(live)
    return (*status.last_good, live) if live is not None and serves else status.last_good


def _remembered(proposal: Proposal, named: ModelVersion | Wait) -> ModelVersion | None:
    """Return what the policy remembers of a good version whose ModelVersion was deleted: it is a way back all the same.

    What is known against those bytes, the policy remembers as well. What was only found may have an object on its way,
    but not where another one has its name.
    """
    policy, wanted = proposal.policy, proposal.promotion.spec.version
    known = policy.status.last_good if isinstance(named, Wait) else _known(proposal)
    good = next((entry for entry in known if entry.version == wanted), None)
    claimed = isinstance(named, Wait) and named.reason not in (VERSION_NOT_FOUND, "VersionOfOtherModel")
    if good is None or claimed:
        return None
    spec = VersionSpec(
        model=policy.spec.model,
        version=good.version,
        type="FineTuned",
        artifact=Artifact(uri=good.uri, sha256=good.sha256),
        checkpoint=FileReference(uri=good.uri, sha256=good.sha256),
        classes=policy.spec.classes,
        serving=policy.spec.serving,
    )
    metadata = ObjectMeta(name=good.model_version, namespace=policy.metadata.namespace, uid="")
    return ModelVersion(metadata=metadata, spec=spec)


def _rejected(proposal: Proposal, named: ModelVersion | Wait) -> Refuse | None:
    """Refuse a fine-tune that a person rejected, and whose ModelVersion was deleted: its number never comes back.

    A run whose promotion waits for such an object would wait with it, for a refusal that it was told of.
    """
    wanted = proposal.promotion.spec.version
    is_gone = isinstance(named, Wait) and named.reason == VERSION_NOT_FOUND
    if not is_gone or wanted == base_version(series_of(wanted) or 0):
        return None
    no = next((entry for entry in proposal.policy.status.rejected if entry.version == wanted), None)
    return None if no is None else Refuse("Failed", "NotEligible", never_promoted(wanted, no))


def _stays_without_its_object(proposal: Proposal) -> Refuse | None:
    """What is live stays live without its ModelVersion (V7), and so does the way to lift a hold and stay with it."""
    promotion, live, deployment = proposal.promotion, proposal.policy.status.live, proposal.deployment
    lifted = promotion.spec.release_hold and lifts(promotion, proposal.policy.status.hold)
    if live is None or not lifted or deployment is None or deployment.keys != keys_of(live):
        return None
    if {promotion.spec.version, promotion.spec.from_version} != {live.version}:
        return None
    status = proposal.policy.status
    if not status.is_good(live.sha256) or overruling(status, live.sha256):
        return None  # what was only found may have an object on its way that says more
    return Refuse("Succeeded", "AlreadyLive", f"'{live.version}' is what is live")


def overrules(promotion: Promotion, check: Overruled) -> bool:
    """Tell whether the promotion goes ahead knowingly, whatever that check says."""
    return promotion.spec.despite is not None and check in promotion.spec.despite.checks


def _again(
    context: CheckContext, *, release: bool = False, despite: Overruled | None = None, current: bool = False
) -> str:
    """Return the command of the same promotion once more, with what lets it pass; `current`: from what is live."""
    spec, live = context.promotion.spec, context.policy.status.live
    came_from = (None if live is None else live.version) if current else spec.from_version
    checks = () if spec.despite is None else spec.despite.checks
    if despite is not None and despite not in checks:
        checks = (*checks, despite)
    return promoting(
        context.policy,
        spec.version,
        came_from,
        release=release or spec.release_hold,
        despite=checks,
        approval=spec.approval,
    )


def _not_quarantined(context: CheckContext) -> Obstacle | None:
    version = context.version.spec
    entry = context.policy.status.quarantine_of(version.artifact.sha256)
    if entry is None or overrules(context.promotion, "Quarantined"):
        return None
    ground = f": {entry.evidence}" if entry.evidence else ""
    held, never = context.policy.status.hold is not None, rejected_by_a_person(context)
    command = _again(context, release=held, despite="Quarantined", current=True)
    way = f"; or, to make '{version.version}' live all the same and lift that: {command}"
    return Refuse(
        "Failed",
        "Quarantined",
        f"'{version.version}' failed in production here ({entry.reason}, {entry.since:%Y-%m-%d %H:%M} UTC)"
        f"{ground}; promote another version{f'; {never.message}' if never is not None else way}",
    )


def _not_live_already(context: CheckContext) -> Obstacle | None:
    live, deployment = context.policy.status.live, context.deployment
    spec = context.version.spec
    same = live is not None and (live.version, live.sha256) == (spec.version, spec.artifact.sha256)
    replaced = deployment is not None and deployment.keys != keys_of(live)
    if not same or replaced:
        return None
    asked, hold = context.promotion, context.policy.status.hold
    if asked.spec.release_hold and not lifts(asked, hold):
        return None  # it would end as if it had lifted a hold that it does not mean
    return Refuse("Succeeded", "AlreadyLive", f"'{spec.version}' is what is live")


def _from_is_live(context: CheckContext) -> Obstacle | None:
    status = context.policy.status
    wanted, actual = context.promotion.spec.from_version, None if status.live is None else status.live.version
    if wanted == actual:
        return None
    if not status.remembers and _not_held(context) is not None:
        return None  # what is live is not known yet (D39, D40): it waits for that below
    never = eligible(context)
    way = (
        never.message
        if isinstance(never, Refuse)
        else f"to make '{context.promotion.spec.version}' live all the same: "
        f"{_again(context, release=status.hold is not None, current=True)}"
    )
    return Refuse("Superseded", "FromIsNotLive", f"spec.from is {quoted(wanted)}, but live is {quoted(actual)}; {way}")


def _served_as_judged(context: CheckContext) -> Obstacle | None:
    """The settings travel in the artifact; a version that served here is gone back to as it was (R85)."""
    version, policy = context.version, context.policy
    differs = serving_difference(version.spec.serving, policy.spec.serving)
    if differs is None or was_live(policy, version):
        return None
    settings = canonical_json({"spec": {"serving": complete(version.spec.serving)}}).decode()
    return Wait(
        SERVING_DIFFERS,
        f"'{version.spec.version}' was judged with other serving settings than the policy has: {differs}; make a new "
        f"run, or set the policy to what it was judged with: {_patching(policy, settings)}",
    )


def _not_held(context: CheckContext) -> Obstacle | None:
    hold = context.policy.status.hold
    if hold is None or lifts(context.promotion, hold):
        return None
    early = context.promotion.spec.release_hold
    before = ", after this promotion was made, so it is not the one that it lifts" if early else ""
    # While it is not known what is live, a promotion that lifts the hold comes from nothing (D39, D40).
    command = _again(context, release=True, current=not context.policy.status.remembers)
    return Wait(
        "Held",
        f"the policy is held ({hold.reason}, by {plain(hold.by)}; its status.hold says why){before}; a promotion with "
        f"releaseHold: true lifts the hold, this one makes '{context.version.spec.version}' live: {command}",
    )


def _not_suspended(context: CheckContext) -> Obstacle | None:
    if not context.policy.spec.suspend:
        return None
    resume = _patching(context.policy, '{"spec":{"suspend":false}}')
    return Wait("Suspended", f"the policy is suspended; set its spec.suspend to false: {resume}")


def _patching(policy: Policy, patch: str) -> str:
    name, namespace = policy.metadata.name, policy.metadata.namespace
    return f"kubectl patch finetunepolicy {name} -n {namespace} --type=merge -p '{patch}'"


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
    return Wait("Paused", f"Deployment '{deployment.name}' is paused; run: {resuming(context.policy)}")


def _has_replicas(context: CheckContext) -> Obstacle | None:
    deployment = context.deployment
    if deployment is None or deployment.replicas > 0:
        return None
    command = scaling(context.policy, 1)
    why = f"Deployment '{deployment.name}' is scaled to zero, so no pod could prove the version"
    return Wait("NoReplicas", f"{why}; it waits until somebody scales it up: {command}")


def _settled(context: CheckContext) -> Obstacle | None:
    """Something live must stand firm first, so that trouble afterwards is the flip's; going back need not wait."""
    deployment, live = context.deployment, context.policy.status.live
    if deployment is None or deployment.settled or live is None:
        return None
    if was_live(context.policy, context.version) or overrules(context.promotion, "NotSettled"):
        return None
    if nothing_comes(context.policy, deployment, context.versions):
        return None
    ails = "" if deployment.trouble is None else f"; {deployment.trouble.reason}: {deployment.trouble.message}"
    room = ""
    if 0 < deployment.available < deployment.replicas:
        scale = scaling(context.policy, deployment.available)
        room = f"; where the rest finds no room, scale to what does: {scale}"
    held = context.policy.status.hold is not None
    return Wait(
        "NotSettled",
        f"Deployment '{deployment.name}' is not whole ({deployment.updated} updated, "
        f"{deployment.available} available of {deployment.replicas}){ails}; the promotion goes on when it is{room}; "
        f"to make '{context.version.spec.version}' live at once (then trouble of the flip cannot be told from what "
        f"is there now: nobody is quarantined, and the way back leads to '{live.version}' as it is): "
        f"{_again(context, release=held, despite='NotSettled')}",
    )


def _can_surge(context: CheckContext) -> Obstacle | None:
    """Where nobody serves, a flip takes nobody away: neither a first version nor a way back from what crashes waits."""
    deployment = context.deployment
    if deployment is None or deployment.can_surge or deployment.available == 0:
        return None
    if context.policy.spec.rollout.capacity == "AllowDowntime":
        return None
    allow = _patching(context.policy, '{"spec":{"rollout":{"capacity":"AllowDowntime"}}}')
    return Wait(
        "NoSurge",
        f"Deployment '{deployment.name}' may stop every old pod before a new one serves; allow a surge in its strategy "
        "(maxSurge) and fewer pods to be unavailable than it has (maxUnavailable), or set the policy's "
        f"spec.rollout.capacity to AllowDowntime, which may leave nobody serving for a moment: {allow}",
    )


def _keys_are_ours(context: CheckContext) -> Obstacle | None:
    """An apply over another manager's keys would be refused; what is there already needs none."""
    deployment, live, spec = context.deployment, context.policy.status.live, context.version.spec
    if deployment is None or deployment.keys.absent:
        return None
    foreign = written_by_others(deployment)
    there = deployment.keys == ServedKeys(spec.version, spec.artifact.uri, spec.artifact.sha256)
    if context.promotion.spec.release_hold:
        if foreign is None or there:
            return None
    elif foreign is None and deployment.keys == keys_of(live):
        return None
    back = f"nothing is served until '{spec.version}' goes live"
    if live is not None and is_proven(context.policy, context.versions):
        then = "" if live.version == spec.version else f", and '{spec.version}' goes live"
        back = f"'{live.version}', on record as live, is put back then{then}"
    return Wait(
        "ForeignKeys",
        f"the operator's keys on Deployment '{deployment.name}' belong to {manager_in_words(deployment)}; take them "
        f"out of its manifest and let go of them ({back}): {letting_go(context.policy)}",
    )


CHECKS: Final[tuple[Check, ...]] = (
    _not_quarantined,
    not_taken_back,
    _not_live_already,
    _from_is_live,
    eligible,
    _served_as_judged,
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
