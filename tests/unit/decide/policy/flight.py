"""A flight from base_v1 to ft_v1.1 at any point of it, for tests of its steps."""

from typing import Any

from msgspec.structs import replace

from finetune_operator.api.policy import Policy
from finetune_operator.api.policy_status import InFlight, PolicyStatus
from finetune_operator.decide.decision import Decision
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.views import DeploymentView, PolicyView
from unit.decide.policy.world import (
    NOW,
    base,
    deployment,
    keys,
    live,
    policy,
    promotion,
    seconds,
    tuned,
    view,
)

BASE, TUNED, OTHER = base(), tuned(), tuned("ft_v9.9")
ASKED = promotion("ft_v1.1", "base_v1")
VERSIONS = (BASE, TUNED)


def start(there: DeploymentView | None = None, of: Policy | None = None) -> Decision[PolicyStatus]:
    return decide(view(of or policy(live(BASE)), there or deployment(keys(BASE)), ASKED, versions=VERSIONS))


def flying(phase: str = "Flipping", *, first: bool = False, **changes: Any) -> Policy:
    """A policy in the middle of the flight from base_v1 (or from nothing) to ft_v1.1, begun at NOW as epoch 2."""
    status = PolicyStatus(epoch=1) if first else live(BASE)
    begun = start().status.in_flight
    assert begun is not None
    flight = replace(begun, phase=phase, **({"back": None} if first else {}), **changes)
    return policy(replace(status, in_flight=flight, epoch=flight.epoch))


def flight_of(decision: Decision[PolicyStatus]) -> InFlight:
    assert decision.status.in_flight is not None
    return decision.status.in_flight


def served(**changes: Any) -> DeploymentView:
    """The Deployment after the flip, still rolling out."""
    given: dict[str, Any] = {"epoch": 2, "updated": 1, "total": 3, "generation": 6, "observed_generation": 6}
    return deployment(keys(TUNED), **(given | changes))


def at(age: float, of: Policy, there: DeploymentView | None, **changes: Any) -> PolicyView:
    return view(of, there, ASKED, versions=VERSIONS, now=NOW + seconds(age), **changes)


COMPLETE: dict[str, Any] = {"updated": 2, "total": 2}


def watching(**changes: Any) -> Policy:
    """Watched since 20 s after NOW, until 80 s after it."""
    given: dict[str, Any] = {"replicas": 2, "phase_since": NOW + seconds(20), "deadline": NOW + seconds(80)}
    return flying("Watching", **(given | changes))
