"""Holds with every way out: each carries its command whole, and says what it makes live."""

from msgspec.structs import replace

from ...api.names import FIELD_MANAGER
from ...api.policy import InFlight, Policy, PolicyStatus
from ..commands import letting_go, overruling, promoting, releasing, said_whole
from ..decision import Emit
from ..deployment import keys_of, manager_in_words, written_by_others
from ..promotion.proposal import quoted
from ..views import DeploymentView, PolicyView
from . import memory

Held = tuple[PolicyStatus, tuple[Emit, ...]]
"""The status with its hold, and the Events that say so; none where the hold stood already."""


def hold(view: PolicyView, status: PolicyStatus, by: str, reason: str, cause: str, ways: tuple[str, ...]) -> Held:
    """Hold, and say why and how out of it."""
    held = memory.held(status, by, reason, "; ".join((cause, *ways)), view.now)
    return held, () if held.hold == status.hold else said_whole(reason, cause, ways)


def external(view: PolicyView, status: PolicyStatus, deployment: DeploymentView) -> Held:
    """Somebody else changed or removed the keys (rows D6, D12)."""
    live = None if status.live is None else status.live.version
    served = (deployment.keys.version or "")[:64]
    set_to = "lost the operator's keys" if deployment.keys.absent else f"was set to '{served}'"
    cause = (
        f"Deployment '{deployment.name}' {set_to} by {manager_in_words(deployment)}, recorded as live is {quoted(live)}"
    )
    by = written_by_others(deployment) or "unknown"
    return hold(view, status, by, "External", cause, _ways_out(view, replace(view.policy, status=status), deployment))


def _ways_out(view: PolicyView, policy: Policy, deployment: DeploymentView) -> tuple[str, ...]:
    live = policy.status.live
    there = next(
        (v.spec for v in view.versions if _triple(v.spec.version, v.spec.artifact.uri, v.spec.artifact.sha256)
         == _triple(deployment.keys.version, deployment.keys.uri, deployment.keys.sha256)),
        None,
    )  # fmt: skip
    recorded = None if live is None else live.version
    ways: list[str] = []
    if there is not None and policy.status.quarantine_of(there.artifact.sha256) is None:
        against = overruling(policy.status, there.artifact.sha256)
        keep = promoting(policy, there.version, recorded, release=True, despite=against)
        ways.append(f"to keep '{there.version}' as what is live, and lift the hold: {keep}")
    back = "nothing is served then" if live is None else f"the operator puts '{live.version}' back then"
    if not deployment.keys.absent:
        ways.append(f"to undo that, let go of the keys ({back}): {letting_go(policy)}")
    ways += lifting(policy)
    return tuple(ways)


def _triple(*keys: str | None) -> tuple[str | None, ...]:
    return keys


def lifting(policy: Policy) -> tuple[str, ...]:
    """Return the way that lifts the hold and leaves live what is live; none while nothing is."""
    command, live = releasing(policy), policy.status.live
    return () if command is None or live is None else (f"to lift the hold and stay with '{live.version}': {command}",)


def field_owned(view: PolicyView, status: PolicyStatus, flight: InFlight | None, owner: str) -> Held:
    """An apply met a field of ours that somebody else owns (row D20)."""
    policy = replace(view.policy, status=status)
    cause = f"field manager '{owner}' owns a field of the operator on Deployment '{view.policy.spec.deployment}'"
    live = None if status.live is None else status.live.version
    first = lifting(policy)
    if flight is not None and not memory.is_quarantined(status, flight.to.sha256):
        against = overruling(status, flight.to.sha256)
        again = promoting(policy, flight.to.version, live, release=True, despite=against)
        first = (f"to make '{flight.to.version}' live once they are let go of, and lift the hold: {again}",)
    let_go = (
        f"take the keys out of that manifest and let go of them (live on record is {quoted(live)}, which is put back "
        f"then): {letting_go(policy)}"
    )
    return hold(view, status, owner, "FieldOwned", cause, (*first, let_go))


def rolled_back(view: PolicyView, status: PolicyStatus, flight: InFlight, cause: str) -> Held:
    """A version was taken back (row D18): how to try again, and how to go on without it."""
    policy, to = replace(view.policy, status=status), flight.to.version
    live = None if status.live is None else status.live.version
    against = overruling(status, flight.to.sha256)
    again = promoting(policy, to, live, release=True, despite=against)
    if memory.is_quarantined(status, flight.to.sha256):
        way = f"'{to}' is quarantined; to make it live all the same, which lifts that and the hold: {again}"
    else:
        way = f"to try '{to}' again once that is mended, and lift the hold: {again}"
    return hold(view, status, FIELD_MANAGER, "RolledBack", cause, (way, *lifting(policy)))


def is_kept(status: PolicyStatus, deployment: DeploymentView) -> bool:
    """Tell whether the hold that stands says more of foreign keys than another one would."""
    standing = status.hold
    owner = written_by_others(deployment)
    return standing is not None and standing.reason == "FieldOwned" and standing.by == owner


def differs(status: PolicyStatus, deployment: DeploymentView) -> bool:
    """Tell whether the Deployment carries keys that are not those of live."""
    return not deployment.keys.absent and deployment.keys != keys_of(status.live)
