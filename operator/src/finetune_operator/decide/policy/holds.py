"""Holds with every way out: each carries its command whole, and says what it makes live."""

from datetime import timedelta
from typing import Final

from msgspec.structs import replace

from ...api.names import FIELD_MANAGER
from ...api.policy import Policy
from ...api.policy_status import Hold, InFlight, PolicyStatus
from ...api.promotion import Approval, Despite, Promotion, PromotionSpec
from ..commands import letting_go, overruling, promoting, releasing, said_whole
from ..decision import Emit
from ..deployment import manager_in_words, owner_in_words, written_by_others
from ..promotion.checks import judge
from ..promotion.eligibility import what_comes_back
from ..promotion.proposal import Proposal, Refuse, quoted
from ..promotion.release import newest_of
from ..text import plain
from ..views import DeploymentView, PolicyView, ServedKeys
from . import memory

UNDONE: Final = "; since then they are as recorded again"

SEEN_LATE: Final = timedelta(minutes=1)
"""For how long a cache may show a Deployment as it was."""

Held = tuple[PolicyStatus, tuple[Emit, ...]]
"""The status with its hold, and the Events that say so; none where the hold stood already."""


def hold(view: PolicyView, status: PolicyStatus, by: str, reason: str, cause: str, ways: tuple[str, ...]) -> Held:
    """Hold, and say why and how out of it."""
    held = memory.held(status, by, reason, "; ".join((cause, *ways)), view.now, newest_of(view.policy, view.promotions))
    return held, () if held.hold == status.hold else said_whole(reason, cause, ways)


def cause_of(standing: Hold) -> str:
    """Return why a hold stands, without its ways out: the first of them begins with "to"."""
    return standing.message.partition("; to ")[0]


def external(view: PolicyView, status: PolicyStatus, deployment: DeploymentView, why: str = "") -> Held:
    """Somebody else changed or removed the keys (rows D6, D12); `why` says what counts as live since then (D118)."""
    live = None if status.live is None else status.live.version
    served = plain(deployment.keys.version or "")
    set_to = "lost the operator's keys" if deployment.keys.absent else f"was set to '{served}'"
    what = f"Deployment '{deployment.name}' {set_to} by {manager_in_words(deployment)}"
    said = "" if status.hold is None else cause_of(status.hold)
    known = said.removeprefix(f"{what}; ") if said.startswith(f"{what}; {quoted(live)} counts as live, ") else ""
    cause = f"{what}; {why or known}" if why or known else f"{what}, recorded as live is {quoted(live)}"
    by = written_by_others(deployment) or "unknown"
    return hold(view, status, by, "External", cause, _ways_out(view, replace(view.policy, status=status), deployment))


def _ways_out(view: PolicyView, policy: Policy, deployment: DeploymentView) -> tuple[str, ...]:
    undo = f"to undo that, let go of the keys ({what_comes_back(policy, view.versions)}): {letting_go(policy)}"
    undoing = () if deployment.keys.absent else (undo,)
    return (*_keeping(view, policy, deployment), *undoing, *_staying(view, policy))


def _staying(view: PolicyView, policy: Policy) -> tuple[str, ...]:
    """Return the way that stays with what is live; none where such a promotion would be refused (D236)."""
    live = policy.status.live
    finding = None if live is None else releasing_for(view, policy, live.version, live.sha256)
    return () if isinstance(finding, Refuse) and finding.outcome == "Failed" else lifting(policy)


def _keeping(view: PolicyView, policy: Policy, deployment: DeploymentView) -> tuple[str, ...]:
    """Return the way that makes official what is there; none where such a promotion would be refused."""
    for version in view.versions:
        spec = version.spec
        if ServedKeys(spec.version, spec.artifact.uri, spec.artifact.sha256) != deployment.keys:
            continue
        if memory.is_quarantined(policy.status, spec.artifact.sha256):
            return ()
        command = releasing_for(view, policy, spec.version, spec.artifact.sha256)
        if not isinstance(command, Refuse):
            return (f"to keep '{spec.version}' as what is live, and lift the hold: {command}",)
    return ()


def releasing_for(
    view: PolicyView, policy: Policy, version: str, sha256: str, approval: Approval | None = None
) -> str | Refuse:
    """Return the command that makes a version live and lifts the hold, or why such a promotion would be refused."""
    live = None if policy.status.live is None else policy.status.live.version
    against = overruling(policy.status, sha256)
    wanted = PromotionSpec(
        policy=policy.metadata.name,
        version=version,
        from_version=live,
        release_hold=True,
        despite=Despite(checks=against, reason="") if against else None,
        approval=approval,
    )
    asked = Promotion(metadata=replace(policy.metadata, creation_timestamp=view.now), spec=wanted)
    finding = judge(Proposal(asked, policy, view.versions, view.deployment))
    if isinstance(finding, Refuse):
        return finding
    return promoting(policy, version, live, release=True, despite=against, approval=approval)


def _approval_of(view: PolicyView, flight: InFlight) -> Approval | None:
    """Return the person's approval that the flight's promotion stood on, as long as that one is there."""
    return next((p.spec.approval for p in view.promotions if p.metadata.uid == flight.promotion_uid), None)


def lifting(policy: Policy) -> tuple[str, ...]:
    """Return the way that lifts the hold and leaves live what is live; none while nothing is."""
    command, live = releasing(policy), policy.status.live
    return () if command is None or live is None else (f"to lift the hold and stay with '{live.version}': {command}",)


def field_owned(view: PolicyView, status: PolicyStatus, flight: InFlight | None, owner: str) -> Held:
    """An apply met a field of ours that somebody else owns (row D20)."""
    policy = replace(view.policy, status=status)
    cause = owner_in_words(owner, view.policy.spec.deployment)
    live = None if status.live is None else status.live.version
    wanted = None if flight is None else flight.back if flight.phase == "Returning" else flight.to
    first = lifting(policy)
    if flight is not None and wanted is not None and wanted.version != live:
        again = releasing_for(view, policy, wanted.version, wanted.sha256, _approval_of(view, flight))
        if not isinstance(again, Refuse) and not memory.is_quarantined(status, wanted.sha256):
            first = (f"to make '{wanted.version}' live once they are let go of, and lift the hold: {again}",)
    return hold(view, status, owner, "FieldOwned", cause, (*first, _out_of_the_manifest(view, policy)))


def still_owned(view: PolicyView, status: PolicyStatus, why: str) -> PolicyStatus:
    """Return `status` with the hold (FieldOwned) that stands saying what counts as live since then (row D118)."""
    standing, policy = status.hold, replace(view.policy, status=status)
    if standing is None:
        return status
    ways = (*lifting(policy), _out_of_the_manifest(view, policy))
    return memory.held(status, standing.by, standing.reason, "; ".join((cause_of(standing), why, *ways)), view.now)


def _out_of_the_manifest(view: PolicyView, policy: Policy) -> str:
    back = what_comes_back(policy, view.versions)
    return f"take the keys out of that manifest and let go of them ({back}): {letting_go(policy)}"


def rolled_back(view: PolicyView, status: PolicyStatus, flight: InFlight, cause: str) -> Held:
    """A version was taken back (row D18): how to try again, and how to go on without it."""
    policy, to = replace(view.policy, status=status), flight.to.version
    again = releasing_for(view, policy, to, flight.to.sha256, _approval_of(view, flight))
    if isinstance(again, Refuse):
        way = f"it cannot be tried again as it is: {again.message}"
    elif memory.is_quarantined(status, flight.to.sha256):
        way = f"'{to}' is quarantined; to make it live all the same, which lifts that and the hold: {again}"
    else:
        way = f"to try '{to}' again once that is mended, and lift the hold: {again}"
    held, events = hold(view, status, FIELD_MANAGER, "RolledBack", cause, (way, *lifting(policy)))
    if held.hold is None or not events or flight.phase != "Returning":
        return held, events
    # It is there since the way back began: who promotes on meanwhile knows of it.
    return replace(
        held, hold=replace(held.hold, since=flight.phase_since, newest_promotion=flight.newest_promotion)
    ), events


def undone(view: PolicyView, status: PolicyStatus, deployment: DeploymentView) -> PolicyStatus:
    """Return `status` with its hold saying that the keys are those of live again: nothing is to be kept or let go of.

    One that stands because an apply was refused (FieldOwned) goes on as External once the operator alone is known to
    own the keys (D276); a cache may show that for a moment after the refusal, too.
    """
    standing = status.hold
    if standing is None or written_by_others(deployment) is not None:
        return status
    if standing.reason == "FieldOwned":
        if deployment.keys_manager != FIELD_MANAGER or view.now - standing.since < SEEN_LATE:
            return status
        standing = replace(standing, reason="External")
    if standing.reason != "External":
        return status
    cause = f"{cause_of(standing).removesuffix(UNDONE)}{UNDONE}"
    message = "; ".join((cause, *lifting(replace(view.policy, status=status))))
    return memory.held(replace(status, hold=standing), standing.by, "External", message, view.now)


def is_kept(status: PolicyStatus, deployment: DeploymentView) -> bool:
    """Tell whether the hold that stands says more of foreign keys than another one would."""
    standing = status.hold
    owner = written_by_others(deployment)
    return standing is not None and standing.reason == "FieldOwned" and standing.by == owner
